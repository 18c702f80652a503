"""Click to usable lab: ours beside stock JupyterHub and JupyterLab, interleaved, on the same machine.

A lab is usable when its page answers 200. Each time is split by watching from outside, in the same way for both: until
the pod is there (hub), until the server's process exists (node; without pods that is hub), until its port accepts
connections (server), until the page is there (page).

Exit status 1 when the ratio of the medians is above the target's bound.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import ours
import stock
import stock_cluster
from member import follow_start
from ours import Ours
from stock import Stock
from watch import LabWatch

BOUNDS = {"embedded": 0.45, "cluster": 0.6}
"""What our median may be at the most, as a part of stock's; on a cluster both wait for the pod."""

Start = dict[str, float]
"""One start, in seconds: `usable` from the click on, and its parts one after another."""

PARTS = {"embedded": ("hub", "server", "page"), "cluster": ("hub", "node", "server", "page")}


@contextmanager
def embedded(_: argparse.Namespace) -> Iterator[tuple[Ours, Stock]]:
    """Run both as processes."""
    with ours.embedded() as mine, stock.embedded() as theirs:
        yield mine, theirs


@contextmanager
def cluster(arguments: argparse.Namespace) -> Iterator[tuple[Ours, Stock]]:
    """Run both on a cluster, with the same resources for labs."""
    stock_cluster.build(arguments.load)
    with ours.cluster() as mine:
        follow_start(mine.web, mine.click())
        resources = ours.resources()
        mine.stop_lab()
        host = httpx.URL(mine.stack.url).host
        with stock_cluster.cluster(host, ours.hub_image(), resources) as theirs:
            yield mine, theirs


TARGETS = {"embedded": embedded, "cluster": cluster}


def measure(site: Ours | Stock) -> Start:
    """Start a lab once, time it, and stop it."""
    watch = LabWatch(site.login)
    watch.start()
    clicked = time.monotonic()
    page = follow_start(site.web, site.click())
    usable = time.monotonic()
    watch.stopped.set()
    watch.join()
    site.stop_lab()
    assert page.status_code == httpx.codes.OK, page.text
    assert urlsplit(str(page.url)).path.startswith(f"/user/{site.login}/lab"), page.url
    assert watch.listens, "the server was not seen to listen: it must run on this machine"
    moments = {"hub": watch.born, "server": watch.listens, "page": usable}
    if site.pods:
        made = max(site.pods.made.values())
        assert made > clicked, "the pod was not seen"
        moments = {"hub": made, "node": watch.born, "server": watch.listens, "page": usable}
    start, before = {"usable": usable - clicked}, clicked
    for part, moment in moments.items():
        start[part], before = moment - before, moment
    return start


def table(figures: dict[str, list[Start]], parts: tuple[str, ...]) -> str:
    """Return a line for each side: medians, and the best and the worst of the whole."""
    lines = [["", "starts", "median", "best", "worst", *parts]]
    for name, starts in figures.items():
        whole = [start["usable"] for start in starts]
        medians = [statistics.median(start[part] for start in starts) for part in parts]
        shown = [statistics.median(whole), min(whole), max(whole), *medians]
        lines.append([name, str(len(starts)), *(f"{seconds:.2f}" for seconds in shown)])
    return "\n".join(f"{line[0]:<8}" + "".join(f"{cell:>8}" for cell in line[1:]) for line in lines)


def main() -> int:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", choices=TARGETS, default="embedded", help="what both run on (default embedded)")
    parser.add_argument("--starts", type=int, default=10, help="counted starts of each (default 10)")
    parser.add_argument("--load", default="", help="command that brings an image of Docker's to the cluster's nodes")
    parser.add_argument("--json", type=Path, help="file for every single figure")
    arguments = parser.parse_args()
    if arguments.target == "cluster" and not shutil.which("kubectl"):
        parser.error("--target=cluster: there is no kubectl on PATH")
    for end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(end, lambda number, _: sys.exit(128 + number))  # what was made is removed on the way out

    load = os.getloadavg()[0]
    figures: dict[str, list[Start]] = {"ours": [], "stock": []}
    with TARGETS[arguments.target](arguments) as (mine, theirs):
        for number in range(arguments.starts + 1):
            one, other = measure(mine), measure(theirs)
            if number:  # the first of each warms the file cache
                figures["ours"].append(one)
                figures["stock"].append(other)
                print(f"{number}: ours {one['usable']:.2f} s, stock {other['usable']:.2f} s", flush=True)

    machine = f"{os.cpu_count()} CPUs, load before {load:.1f}, Python {platform.python_version()}"
    print(f"\nclick to usable lab ({arguments.target}), seconds; {machine}")
    print(table(figures, PARTS[arguments.target]))
    own, others = ([start["usable"] for start in figures[name]] for name in ("ours", "stock"))
    ratio, bound = statistics.median(own) / statistics.median(others), BOUNDS[arguments.target]
    print(f"ratio of medians {ratio:.2f} (at most {bound}), of the worst {max(own) / max(others):.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))
    return int(ratio > bound)


if __name__ == "__main__":
    sys.exit(main())
