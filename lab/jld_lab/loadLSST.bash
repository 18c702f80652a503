# Loads the stack that this file lies in: `. loadLSST.bash`, in bash; then `setup lsst_distrib`.
#
# `setup`, `unsetup` and `eups list` do what EUPS does, and fail as it does, for the one product that is here.
# As after a real stack's loadLSST.bash nothing of the product is on PATH before it is set up.

EUPS_PATH=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
export EUPS_PATH

_lsst_usage() {
  echo "$1: $2" >&2
  echo "Usage: $1 product [version]" >&2
  return 3
}

setup() {
  local product=${1:-} version=${2:-} here
  case $product in
    '') _lsst_usage setup "please specify at least a product name"; return ;;
    -*) _lsst_usage setup "this stack knows no option $product"; return ;;
  esac
  here=$(<"$EUPS_PATH/version")
  if [[ $product != lsst_distrib && -z $version ]]; then
    echo "Unable to find an acceptable version of $product" >&2
    return 1
  elif [[ $product != lsst_distrib || ${version:-$here} != "$here" ]]; then
    echo "Failed to setup $product $version: Product $product $version not found" >&2
    return 1
  fi
  if [[ -n ${LSST_DISTRIB_DIR:-} ]]; then
    unsetup lsst_distrib
  fi
  export LSST_DISTRIB_DIR=$EUPS_PATH/env
  export SETUP_LSST_DISTRIB="lsst_distrib $here -f $(uname -s)64 -Z $EUPS_PATH"
  PATH=$LSST_DISTRIB_DIR/bin:$PATH
  hash -r
}

unsetup() {
  local product=${1:-}
  case $product in
    '') _lsst_usage unsetup "please specify at least a product name"; return ;;
    -*) _lsst_usage unsetup "this stack knows no option $product"; return ;;
  esac
  if [[ $product != lsst_distrib || -z ${LSST_DISTRIB_DIR:-} ]]; then
    echo "Failed to unsetup $product: Product $product not found" >&2
    return 1
  fi
  PATH=:$PATH:
  PATH=${PATH//":$LSST_DISTRIB_DIR/bin:"/:}
  PATH=${PATH#:}
  PATH=${PATH%:}
  unset LSST_DISTRIB_DIR SETUP_LSST_DISTRIB
  hash -r
}

eups() {
  if [[ ${1:-} != list ]]; then
    echo "eups: this stack knows only: eups list [product]" >&2
    return 3
  elif [[ ${2:-lsst_distrib} != lsst_distrib ]]; then
    echo "eups list: Unable to find product $2" >&2
    return 1
  fi
  printf '%-21s %-10s \tcurrent%s\n' lsst_distrib "$(<"$EUPS_PATH/version")" \
    "${SETUP_LSST_DISTRIB:+ setup}"
}
