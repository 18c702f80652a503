"""Click to usable lab: ours beside stock JupyterHub and JupyterLab, interleaved, on the same machine.

A lab is usable when its page answers 200. Each time is split by watching from outside, in the same way for both:
until the server's process exists (hub), until its port accepts connections (server), until the page is there (page).
"""

import argparse
import json
import os
import platform
import socket
import statistics
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import stock
from member import Member, follow_start
from stack import EmbeddedStack


@dataclass(frozen=True)
class Start:
    """One start, in seconds since the click.

    Attributes:
        usable: Until the lab page answered 200.
        hub: Until the server's process existed.
        server: From there until it listened.
        page: From there until the page was there.
    """

    usable: float
    hub: float
    server: float
    page: float


class Watch(threading.Thread):
    """Finds the server of a member by its environment, and the moment its port accepts.

    Args:
        login: The member.
        ignore: Processes that were there before.
    """

    def __init__(self, login: str, ignore: set[str]) -> None:
        super().__init__(daemon=True)
        self.mark = f"JUPYTERHUB_USER={login}".encode()
        self.ignore = ignore
        self.born = self.listens = 0.0
        self.stopped = threading.Event()

    def run(self) -> None:
        """Look every 5 ms; the two moments are on time.monotonic's clock."""
        address = None
        while not self.listens and not self.stopped.wait(0.005):
            if address is None:
                address = self._find()
                continue
            with suppress(OSError):
                socket.create_connection(address, timeout=1).close()
                self.listens = time.monotonic()

    def _find(self) -> tuple[str, int] | None:
        for name in _processes() - self.ignore:
            with suppress(OSError):
                variables = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
                if self.mark in variables:
                    url = next(v for v in variables if v.startswith(b"JUPYTERHUB_SERVICE_URL=")).decode()
                    self.born = time.monotonic()
                    place = urlsplit(url.partition("=")[2])
                    return place.hostname or "", place.port or 0
        return None


def _processes() -> set[str]:
    return {name for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208 - called every 5 ms


class Ours:
    """Our embedded stack with alice signed in."""

    login = "alice"

    def __init__(self) -> None:
        self.stack = EmbeddedStack()
        self.stack.up()
        self.member = Member(self.stack, self.login)
        self.member.sign_in()
        self.web = self.member.web

    def click(self) -> httpx.Response:
        """Press Start on the image menu, which is open already."""
        return self.member.start_lab(menu=self.menu)

    def open_menu(self) -> None:
        """Open the menu."""
        self.menu = self.web.get(f"{self.stack.url}/hub/spawn")

    def stop_lab(self) -> None:
        """Stop the lab and wait until it has ended."""
        self.member.stop_lab()

    def close(self) -> None:
        """End the stack."""
        self.stack.down()


def measure(login: str, web: httpx.Client, click: Callable[[], httpx.Response]) -> Start:
    """Start a lab once and time it."""
    watch = Watch(login, _processes())
    watch.start()
    clicked = time.monotonic()
    page = follow_start(web, click())
    usable = time.monotonic()
    watch.stopped.set()
    watch.join()
    assert page.status_code == httpx.codes.OK, page.text
    assert watch.listens, "the server was not seen to listen"
    assert urlsplit(str(page.url)).path.startswith(f"/user/{login}/lab"), page.url
    return Start(usable - clicked, watch.born - clicked, watch.listens - watch.born, usable - watch.listens)


def summary(name: str, starts: list[Start]) -> str:
    """Return a line of the table: medians, and the worst of the whole."""
    median = {key: statistics.median(asdict(start)[key] for start in starts) for key in asdict(starts[0])}
    whole = [start.usable for start in starts]
    return (
        f"{name:<8} {len(starts):>6} {median['usable']:>8.2f} {min(whole):>8.2f} {max(whole):>8.2f}"
        f" {median['hub']:>8.2f} {median['server']:>8.2f} {median['page']:>8.2f}"
    )


def main() -> None:
    """Measure, print a table, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=10, help="counted starts of each (default 10)")
    parser.add_argument("--json", type=Path, help="file for every single figure")
    arguments = parser.parse_args()

    stock.install()
    figures: dict[str, list[Start]] = {"ours": [], "stock": []}
    with closing(Ours()) as ours, closing(stock.StockHub()) as peer:
        for number in range(arguments.starts + 1):
            ours.open_menu()
            one = measure(ours.login, ours.web, ours.click)
            ours.stop_lab()
            other = measure(peer.login, peer.web, peer.click)
            peer.stop_lab()
            if number:  # the first of each warms the file cache
                figures["ours"].append(one)
                figures["stock"].append(other)
                print(f"{number}: ours {one.usable:.2f} s, stock {other.usable:.2f} s", flush=True)

    print(f"\nclick to usable lab, seconds; {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print(f"{'':<8} {'starts':>6} {'median':>8} {'best':>8} {'worst':>8} {'hub':>8} {'server':>8} {'page':>8}")
    for name, starts in figures.items():
        print(summary(name, starts))
    mine, theirs = ([start.usable for start in figures[name]] for name in ("ours", "stock"))
    print(f"ratio of medians {statistics.median(mine) / statistics.median(theirs):.2f}", end=", ")
    print(f"of the worst {max(mine) / max(theirs):.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({k: [asdict(s) for s in v] for k, v in figures.items()}, indent=1))


if __name__ == "__main__":
    main()
