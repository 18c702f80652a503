# Opens a terminal: shows the lab's notices, then becomes the member's shell.
[ -s "$JUPYTER_RUNTIME_DIR/notices" ] && cat "$JUPYTER_RUNTIME_DIR/notices"
exec "${SHELL:-/bin/bash}" -l
