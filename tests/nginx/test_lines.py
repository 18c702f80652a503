"""nginx's messages, made fit for a log."""

import asyncio
import logging
import time

import pytest
from jld_nginx.lines import QUIET_SECONDS, Messages, parse, pass_on

BEGIN = "2026/11/23 07:31:00 [error] 12#12: *5 "

REQUEST = ', client: 192.0.2.1, server: _, request: "GET /hub/oauth_callback?code=geheim HTTP/2.0"'

REST = (
    ', upstream: "http://127.0.0.1:8000/hub/oauth_callback?code=geheim", host: "localhost:8443",'
    ' referrer: "https://github.com/login?state=geheim"'
)


def test_message_of_a_request() -> None:
    """Of a request its client, method and path are kept, and nothing of its query."""
    refused = "connect() failed (111: Connection refused) while connecting to upstream"
    about = {"client": "192.0.2.1", "method": "GET", "path": "/hub/oauth_callback"}
    assert parse(BEGIN + refused + REQUEST + REST) == ("error", refused, about)


@pytest.mark.parametrize(
    "line",
    [
        # nginx cuts its messages at 2048 bytes, wherever that is.
        BEGIN + "connect() failed" + REQUEST[:-12],
        BEGIN + "connect() failed" + ', client: 192.0.2.1, server: _, request: "GET /?a=b geheim HTTP/1.1"',
        BEGIN + "connect() failed" + ', client: 192.0.2.1, server: _, request: "geheim"',
        BEGIN + "connect() failed" + ', client: 192.0.2.1, server: _, request: "GET /#geheim HTTP/1.1"',
        BEGIN + 'upstream sent invalid header: "Set-Cookie\\x20: geheim..." while reading' + REQUEST + REST,
        BEGIN + 'client sent invalid header line: "Authorization\\x00: geheim' + REQUEST,
        BEGIN + 'upstream sent invalid header: "a, client: 1, request: "GET /?x=geheim"' + REQUEST,
        '2026/11/23 07:31:00 [alert] 12#12: open socket for "/x?code=geheim" left',
        "something else with /x?code=geheim",
    ],
)
def test_secrets_are_left_out(line: str) -> None:
    """Nothing that a client or the proxy sent is logged, but for method and path."""
    assert "geheim" not in str(parse(line))


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        ('2026/11/23 07:31:00 [emerg] 1#1: open() "/tmp/x" failed', "emerg", 'open() "/tmp/x" failed'),
        ("nginx: [emerg] bind() to 0.0.0.0:8443 failed", "emerg", "bind() to 0.0.0.0:8443 failed"),
        ("Segmentation fault", "notice", "Segmentation fault"),
    ],
)
def test_other_messages(line: str, level: str, text: str) -> None:
    """A message that is about no request is kept as it is."""
    assert parse(line) == (level, text, {})


@pytest.mark.parametrize("length", [16, 17, 20, 100])
async def test_endless_line(capsys: pytest.CaptureFixture[str], length: int) -> None:
    """A line beyond the reader's limit is left out, and those around it are not."""
    reader = asyncio.StreamReader(16)
    passing = asyncio.create_task(pass_on(reader))
    for data in (b"first\n", b"x" * length, b"x\nsecond\n", b"x" * (length + 1) + b"\nthird\nfourth"):
        reader.feed_data(data)
        await asyncio.sleep(0)
    reader.feed_eof()
    await passing
    assert capsys.readouterr().out == "first\nsecond\nthird\nfourth"


def test_same_message_once_a_minute(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same message, whoever brought it about, is logged once a minute."""
    caplog.set_level(logging.INFO)
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    messages = Messages()
    for client in ("192.0.2.1", "192.0.2.2"):
        messages.log_one(f"{BEGIN}connect() failed, client: {client}, server: _")
    messages.log_one(f"{BEGIN}something else")
    assert [record.message for record in caplog.records] == ["nginx: connect() failed", "nginx: something else"]
    now += QUIET_SECONDS
    messages.log_one(f"{BEGIN}connect() failed, client: 192.0.2.3, server: _")
    assert len(caplog.records) == 3
    assert caplog.records[-1].levelname == "ERROR"
