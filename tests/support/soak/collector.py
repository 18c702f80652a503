"""Runs the collector on a disk that forgets: `python -m soak.collector FOLDER BESIDE JOURNAL [MUTANT]`.

The mutant breaks it on purpose: whoever looks for losses has to find one then.
"""

import runpy
from collections.abc import Callable

from jld_logstash import broker
from jld_logstash.backlog import Backlog
from jld_logstash.records import Record
from jld_logstash.spool import Batch, Spool

from . import disk

LATE_SECONDS = {"acknowledge-before-sync": 5}
"""How long after its acknowledgement a mutant has an event on disk."""


def forget_before_confirmation() -> None:
    """Have the spool forget what was sent, not what was confirmed."""
    take = Backlog.take

    def taken(self: Backlog, count: int) -> list[Record]:
        found = take(self, count)
        self.confirm(found)
        return found

    Backlog.take = taken  # type: ignore[method-assign] # that is the point


def acknowledge_before_write() -> None:
    """Have the spool tell that events are safe when it is given them."""
    append = Spool.append

    def appended(self: Spool, batch: Batch) -> None:
        batch.safe.set_result(None)
        append(self, batch)

    Spool.append = appended  # type: ignore[method-assign] # that is the point


MUTANTS: dict[str, Callable[[], None]] = {
    "acknowledge-before-write": acknowledge_before_write,
    "forget-before-confirmation": forget_before_confirmation,
}


def main() -> None:
    """Become the collector."""
    broker.HEARTBEAT_SECONDS = 6  # dead connections are noticed sooner, so that a round takes seconds
    mutant = disk.install(LATE_SECONDS)
    if mutant in MUTANTS:
        MUTANTS[mutant]()
    runpy.run_module("jld_logstash", run_name="__main__")


if __name__ == "__main__":
    main()
