"""What was measured: rounds of runs, tables of medians, and the machine they hold for."""

import os
import platform
import re
import statistics
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from measured import say

Figures = dict[str, float]
"""Of one run, by name; sides may lack some."""


@dataclass
class Table:
    """A comparison.

    Attributes:
        title: what is compared.
        columns: headings and formats of the figures, by name.
        runs: of each side, one after another.
    """

    title: str
    columns: dict[str, tuple[str, str]]
    runs: dict[str, list[Figures]] = field(default_factory=dict)

    def measure(self, count: int, sides: Mapping[str, Callable[[], Figures]]) -> None:
        """Run all sides in turn, so many times.

        The machine's mood, which changes with the minutes, is then in the figures of all.
        """
        for number in range(count):
            for side, run in sides.items():
                figures = run()
                self.runs.setdefault(side, []).append(figures)
                told = ", ".join(
                    f"{self.columns[name][0]} {value:{self.columns[name][1]}}" for name, value in figures.items()
                )
                say(f"{self.title}: {side}, {number + 1} of {count}: {told}")

    def markdown(self) -> str:
        """Write medians, with the least and the most where there are several."""
        lines = [
            " | ".join(["", *(heading for heading, _ in self.columns.values())]),
            " | ".join(["---"] * (1 + len(self.columns))),
        ]
        for side, found in self.runs.items():
            cells = [
                _cell([run[name] for run in found if name in run], form) for name, (_, form) in self.columns.items()
            ]
            lines.append(" | ".join([side, *cells]))
        return f"### {self.title}\n\n" + "".join(f"| {line} |\n" for line in lines)


def _cell(values: list[float], form: str) -> str:
    if not values:
        return ""
    median, least, most = (f"{value:{form}}" for value in (statistics.median(values), min(values), max(values)))
    return median if least == most else f"{median} ({least} to {most})"


def machine() -> dict[str, str]:
    """Describe this machine and what is on it."""
    model = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    commit = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    brokers = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*"))
    return {
        "CPU": model[1] if model else platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GiB",
        "kernel": platform.release(),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "ours": subprocess.run(commit, capture_output=True, text=True, check=False).stdout.strip(),
        "RabbitMQ": brokers[-1].name.rpartition("-")[2] if brokers else "",
    }
