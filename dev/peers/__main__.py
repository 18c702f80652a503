"""Build or fetch programs, and print where they are: `python -m dev.peers filebeat receiver …`."""

import os
import sys
import time

from . import PeerError, filebeat, perf_test, receiver, sender, syslog_ng

PEERS = {
    "filebeat": filebeat,
    "receiver": receiver,
    "sender": sender,
    "perf-test": perf_test,
    "syslog-ng": syslog_ng,
}


def main() -> int:
    """Do it one after another, and give the exit status."""
    names = sys.argv[1:]
    if not names or not PEERS.keys() >= set(names):
        sys.stderr.write(f"usage: python -m dev.peers {{{','.join(PEERS)}}} ...\n")
        return os.EX_USAGE
    for name in names:
        sys.stderr.write(f"{name} ...")
        sys.stderr.flush()
        begun = time.monotonic()
        try:
            found = PEERS[name]()
        except PeerError as error:
            sys.stderr.write(f"\ndev.peers: {name}: {error}\n")
            return os.EX_UNAVAILABLE if error.missing else 1
        except KeyboardInterrupt:
            sys.stderr.write("\ndev.peers: interrupted; the next run begins this one anew\n")
            return 130
        sys.stderr.write(f" {time.monotonic() - begun:.1f} s\n")
        print(found, flush=True)  # noqa: T201 - what it is called for
    return 0


if __name__ == "__main__":
    sys.exit(main())
