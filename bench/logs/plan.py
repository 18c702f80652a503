"""What is to be measured, and with which peers."""

from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from measured import say

from dev import peers


class Peers:
    """The programs that ours are compared with, each built or fetched when it is first asked for."""

    @cached_property
    def filebeat(self) -> Path:
        """Elastic's Filebeat."""
        say(f"Filebeat {peers.FILEBEAT} ...")
        return peers.filebeat()

    @cached_property
    def receiver(self) -> Path:
        """The counting server."""
        say("a server of Elastic's protocol library ...")
        return peers.receiver()

    @cached_property
    def perf_test(self) -> Path:
        """The folder of PerfTest's jars."""
        say(f"PerfTest {peers.PERF_TEST} ...")
        return peers.perf_test()

    @cached_property
    def syslog_ng(self) -> Path:
        """The folder that syslog-ng is unpacked in."""
        say("syslog-ng ...")
        return peers.syslog_ng()

    def versions(self) -> dict[str, str]:
        """Give the versions of those that were asked for."""
        asked = vars(self)
        found = {}
        if "filebeat" in asked:
            found["Filebeat"] = peers.FILEBEAT
        if "perf_test" in asked:
            found["PerfTest"] = peers.PERF_TEST
        if "syslog_ng" in asked:
            found["syslog-ng"] = self.syslog_ng.name.removeprefix("syslog-ng-")
        return found


class Plan(NamedTuple):
    """How much is measured.

    Attributes:
        peers: what with.
        runs: of each side.
        lines: of the first comparison; the others have a part of them.
        seconds: of what is measured over time.
    """

    peers: Peers
    runs: int
    lines: int
    seconds: int
