# A stack of one product, whose Python is the lab's own: enough to see that a kernel comes from here.
setup() {
  [ "$1" = lsst_distrib ] || return 1
  export STAND_IN_SETUP="$1" PATH=/opt/jld/bin:$PATH
}
export STAND_IN_LOADED=${BASH_SOURCE[0]}
