"""Ways between the parts, cut by the kernel's packet filter; only ever in a network namespace of its own."""

import random
import subprocess

REJECTIONS = ("tcp-reset", "icmp-port-unreachable")

TO, FROM = "--dport", "--sport"


def filter_packets(*words: str) -> None:
    """Call iptables."""
    subprocess.run(["iptables", "--wait", *words], check=True, stdout=subprocess.DEVNULL)


class Wire:
    """The way to a part that listens.

    Args:
        address: where it listens; of nobody else but those who are to be cut off.
        port: likewise.
    """

    def __init__(self, address: str, port: int) -> None:
        self._ends = {TO: ("--destination", address, TO, str(port)), FROM: ("--source", address, FROM, str(port))}
        self._rules: list[tuple[str, ...]] = []

    def cut(self, chance: random.Random, target: str) -> str:
        """Cut it, in one direction or both, and say how.

        Args:
            chance: chooses.
            target: REJECT or DROP.
        """
        directions = chance.choice(((TO,), (FROM,), (TO, FROM), (TO, FROM)))
        how = ["--reject-with", chance.choice(REJECTIONS)] if target == "REJECT" else []
        for direction in directions:
            self._add(direction, target, *how)
        return " ".join((*directions, *how))

    def lose(self) -> None:
        """Have what is on it go nowhere any more: one of the machines at its ends is gone."""
        for direction in (TO, FROM):
            self._add(direction, "REJECT", "--reject-with", "tcp-reset")

    def _add(self, direction: str, *target: str) -> None:
        rule = ("INPUT", "--protocol", "tcp", *self._ends[direction], "--jump", *target)
        filter_packets("--append", *rule)
        self._rules.append(rule)

    def mend(self) -> None:
        """Make it whole again."""
        while self._rules:
            filter_packets("--delete", *self._rules.pop())
