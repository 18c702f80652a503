"""Logs, ours beside others: prints a report of tables, case by case.

a: file to a counting server, on all cores and on one; b: collector to broker; c: file to broker, and latency; d: as a,
with more files, and shorter and longer lines.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import chain
import perf_test
import publishing
import shipping
from plan import Peers, Plan
from report import Table, machine

from dev.peers import PeerError

CASES: dict[str, Callable[[Plan], Iterator[Table]]] = {
    "a": shipping.one_file,
    "b": publishing.tables,
    "c": chain.tables,
    "d": shipping.growth,
}

ENDS = (signal.SIGINT, signal.SIGTERM)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="bench/logs", description=__doc__)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="all by default")
    parser.add_argument("--runs", type=int, default=5, help="of each side, in turn (default 5)")
    parser.add_argument("--lines", type=int, default=1_000_000, help="of case a; others have a part of them")
    parser.add_argument("--seconds", type=int, default=10, help="of what is measured over time (default 10)")
    parser.add_argument("--json", type=Path, help="file for the figures of every run")
    found = parser.parse_args()
    if found.runs < 1:
        parser.error(f"--runs {found.runs}: should be 1 or more")
    if found.seconds < perf_test.LEAST_SECONDS:
        parser.error(f"--seconds {found.seconds}: PerfTest needs {perf_test.LEAST_SECONDS}")
    if found.lines < shipping.LEAST_LINES:
        parser.error(f"--lines {found.lines}: should be {shipping.LEAST_LINES} or more")
    return found


def stop(number: int, _: object) -> None:
    """End; what was started is ended on the way out, however often this is asked for."""
    for end in ENDS:
        signal.signal(end, signal.SIG_IGN)
    sys.exit(128 + number)


def measure(options: argparse.Namespace) -> None:
    """Measure, print each table when it is there, and write JSON where asked."""
    plan = Plan(Peers(), options.runs, options.lines, options.seconds)
    here = machine()
    figures: dict[str, Any] = {"machine": here, "runs": plan.runs, "tables": {}}
    print(f"## Logs: medians of {plan.runs} runs in turn, least and most in parentheses\n", flush=True)
    print("; ".join(f"{name}: {value}" for name, value in here.items()), flush=True)
    for case in options.cases:
        for table in CASES[case](plan):
            print(f"\n{table.markdown()}", end="", flush=True)
            figures["tables"][table.title] = table.runs
            figures["peers"] = plan.peers.versions()
            if options.json:
                options.json.write_text(json.dumps(figures, indent=1) + "\n")
    print("\n" + "; ".join(f"{name}: {version}" for name, version in plan.peers.versions().items()))


def main() -> int:
    """Do it, and give the exit status."""
    for number in ENDS:
        signal.signal(number, stop)
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="bench-logs-") as folder:
        # Others are made and removed in it: an interrupted removal of one of them is made good at the end.
        tempfile.tempdir = folder
        try:
            measure(options)
        except PeerError as error:
            print(f"bench/logs: {error}", file=sys.stderr)
            return os.EX_UNAVAILABLE if error.missing else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
