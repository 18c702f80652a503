"""The lab's word to the hub that it listens."""

import asyncio
import socket
import time
from collections.abc import Callable

import pytest
from jld_lab import announcement

from tests.lab.conftest import TOKEN, FakeHub, Lab, free_port

PATH = "/hub/api/announcement"


def test_comes_when_the_socket_accepts(new_lab: Callable[..., Lab], hub: FakeHub) -> None:
    """The hub hears of the lab no later than 0.2 s after its socket accepts, and never before."""
    lab = new_lab()
    accepted: list[bool] = []

    def try_to_connect() -> None:
        with socket.socket() as client:
            accepted.append(client.connect_ex(("127.0.0.1", lab.port)) == 0)

    hub.on_announcement = try_to_connect
    lab.start()
    while True:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", lab.port)) == 0:
                accepts_since = time.monotonic()
                break
        assert lab.process
        assert lab.process.poll() is None, lab.log.read_text()
    lab.ready()
    assert accepted == [True]
    assert hub.announced_at - accepts_since < 0.2
    assert ("POST", PATH, f"token {TOKEN}") in hub.seen


def test_is_left_out_where_nobody_asks(new_lab: Callable[..., Lab], hub: FakeHub) -> None:
    """Without an address to announce to, the lab serves and says nothing."""
    lab = new_lab(LAB_ANNOUNCE_URL=None).start()
    lab.wait_for_line("Jupyter Server")
    assert not [seen for seen in hub.seen if seen[1] == PATH]


def test_failure_is_not_fatal(new_lab: Callable[..., Lab], hub: FakeHub) -> None:
    """A lab whose announcement is refused says so in its log, and serves."""
    hub.announcement_statuses = [403]
    lab = new_lab().start().ready()
    assert lab.client.get("/api/status").status_code == 200
    assert lab.wait_for_line("could not tell the hub")["level"] == "ERROR"


async def test_tries_again(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors of the hub's and 429 are tried again until it says 204, and the loop goes on meanwhile."""
    monkeypatch.setattr(announcement, "FIRST_PAUSE", 0.01)
    hub.announcement_statuses = [500, 429, 503, 204]
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    turning = asyncio.create_task(turn())
    await announcement.announce(hub.url + PATH, TOKEN)
    turning.cancel()
    assert [seen[:2] for seen in hub.seen] == [("POST", PATH)] * 4
    assert turns > 10


@pytest.mark.parametrize("status", [302, 403, 404])
async def test_takes_no_for_an_answer(hub: FakeHub, caplog: pytest.LogCaptureFixture, status: int) -> None:
    """A refusal is logged and not tried again, and the token follows no redirect."""
    hub.announcement_statuses = [status]
    await announcement.announce(hub.url + PATH, TOKEN)
    assert len(hub.seen) == 1
    assert str(status) in caplog.text


async def test_gives_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A hub that cannot be reached is given up in the end, with a line in the log that does not show the token."""
    monkeypatch.setattr(announcement, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(announcement, "DEADLINE", 0.1)
    await announcement.announce(f"http://127.0.0.1:{free_port()}{PATH}", TOKEN)
    assert "could not tell the hub" in caplog.text
    assert TOKEN not in caplog.text
