"""Runs the shipper on a disk that forgets: `python -m soak.shipper FOLDER BESIDE JOURNAL [MUTANT]`.

The mutant breaks it on purpose: whoever looks for losses has to find one then.
"""

import runpy
from collections.abc import Callable, Iterable
from dataclasses import replace

from jld_filebeat.client import Client
from jld_filebeat.entry import Entry
from jld_filebeat.registry import Registry

from . import disk


def register_before_acknowledgement() -> None:
    """Have the registry tell what was read, not what was acknowledged."""
    write = Registry.write

    def ahead(self: Registry, entries: Iterable[Entry]) -> None:
        write(self, [replace(entry, offset=entry.read, done=entry.read) for entry in entries])

    Registry.write = ahead  # type: ignore[method-assign] # that is the point


MUTANTS: dict[str, Callable[[], None]] = {"register-before-acknowledgement": register_before_acknowledgement}


def main() -> None:
    """Become the shipper."""
    # Dead connections are noticed sooner, so that a round takes seconds.
    Client.SILENT_SECONDS = 6
    Client.PROGRESS_SECONDS = 15
    Client.BACKOFF_SECONDS = (0.1, 2)
    mutant = disk.install({})
    if mutant in MUTANTS:
        MUTANTS[mutant]()
    runpy.run_module("jld_filebeat", run_name="__main__")


if __name__ == "__main__":
    main()
