# Runs the LSST_Stack kernel: loads the stack, then becomes IPython's kernel on the stack's Python.
# Usage: launch.bash CONNECTION_FILE. Not under `set -eu`, which a real stack's loadLSST.bash does not bear.

stack=${LAB_STACK_DIR:-/opt/lsst/software/stack}

fail() {
  echo "LSST_Stack cannot be started: $*" >&2
  exit 69
}

# shellcheck source=/dev/null
. "$stack/loadLSST.bash" || fail "$stack/loadLSST.bash cannot be loaded."
setup lsst_distrib || fail "$stack has no product lsst_distrib."

# IPython keeps its history in SQLite, which does not work on NFS.
exec python -m ipykernel_launcher -f "$1" \
  --HistoryManager.hist_file="${JUPYTER_RUNTIME_DIR:-/tmp}/ipython-history.sqlite"
