"""The shipper as a process: start, refusal to start, probes, end, kill -9."""

import gzip
import itertools
import re
import shutil
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from jld_embedded.certificates import Authority
from jld_filebeat.__main__ import main
from stack import until

Launch = Callable[..., Any]


def test_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The program takes no arguments."""
    monkeypatch.setattr("sys.argv", ["jld_filebeat", "--help"])
    assert main() == 64
    assert capsys.readouterr().err == "usage: python -m jld_filebeat\n"


def test_bad_setting(launch: Launch) -> None:
    """A bad setting ends the start with one line and EX_CONFIG."""
    status, errors = launch(FILEBEAT_CA_FILE="/nowhere/ca.pem").end()
    assert status == 78
    assert errors == (
        "jld_filebeat: FILEBEAT_CA_FILE=/nowhere/ca.pem: should be a file to read (No such file or directory)\n"
    )


def test_busy_port(launch: Launch) -> None:
    """A busy port ends the start with one line and EX_UNAVAILABLE."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, errors = launch(FILEBEAT_PORT=str(port)).end()
    assert status == 69
    assert errors == (
        f"jld_filebeat: FILEBEAT_PORT={port}: should be a free port of 127.0.0.1 (Address already in use)\n"
    )


def test_second_shipper(launch: Launch, environment: dict[str, str]) -> None:
    """A second shipper with the same state ends with one line and EX_UNAVAILABLE."""
    launch().port()
    status, errors = launch().end()
    assert status == 69
    assert errors == (
        f"jld_filebeat: FILEBEAT_STATE_DIR={environment['FILEBEAT_STATE_DIR']}: "
        "should be used by one shipper only, and another one runs\n"
    )


def test_life(launch: Launch, collector: Any, logs: Path, authority: Authority) -> None:
    """It answers probes, ships, ends cleanly on SIGTERM, and does not log what it ships."""
    (logs / "app.log").write_text("one\n")
    program = launch()
    url = f"http://127.0.0.1:{program.port()}"
    collector.wait_for("one")
    assert httpx.get(f"{url}/healthz").status_code == 200
    until("it is ready", lambda: httpx.get(f"{url}/readyz").status_code == 200)
    until("it is counted", lambda: "filebeat_events_acknowledged_total 1.0" in httpx.get(f"{url}/metrics").text)
    text = httpx.get(f"{url}/metrics").text
    for name in ("events_sent_total 1.0", "bytes_read_total 4.0", "files_open 1.0", "lag_bytes 0.0", "connected 1.0"):
        assert f"filebeat_{name}\n" in text
    shown = x509.load_pem_x509_certificate(authority.issue("collector").certificate.read_bytes())
    ends = re.search(r"^filebeat_collector_certificate_expiry_timestamp_seconds (\S+)$", text, re.MULTILINE)
    assert ends
    assert float(ends[1]) == shown.not_valid_after_utc.timestamp()
    program.process.send_signal(signal.SIGTERM)
    assert program.end() == (0, "")
    collector.go_away()
    messages = [line["message"] for line in program.lines()]
    assert messages == ["listens", f"127.0.0.1:{collector.port} takes events", "ends"]


def test_sigterm_waits_for_acknowledgements(launch: Launch, collector: Any, logs: Path, tmp_path: Path) -> None:
    """At SIGTERM acknowledgements that are on their way are waited for and kept, so that nothing is repeated."""
    (logs / "app.log").write_text("one\n")
    ending = threading.Event()

    def late(connection: Any, count: int) -> None:
        assert ending.wait(10)
        connection.ack(count)

    collector.answer = late
    program = launch()
    collector.wait_for("one")
    program.process.send_signal(signal.SIGTERM)
    until("it says that it ends", lambda: program.lines()[-1]["message"] == "ends")
    ending.set()
    assert program.end() == (0, "")
    assert '"offset": 4' in (tmp_path / "state" / "registry.json").read_text()


def test_memory_is_bounded(launch: Launch, collector: Any, logs: Path) -> None:
    """However much waits, the memory is what README.md says: a base, and four windows."""
    free = threading.Event()

    def wait(connection: Any, count: int) -> None:
        assert free.wait(20)
        connection.ack(count)

    collector.answer = wait
    line = "a line of a usual length, with a number of words, and what else a program says about itself"
    content = "".join(f"{line} {number}\n" for number in range(10_000))
    for name in range(40):
        (logs / f"{name}.log").write_text(content)
    program = launch()
    collector.wait(lambda: len(collector.sizes) == 1, "a window")
    free.set()
    collector.wait(lambda: len(collector.events) > 20_000, "some more", 20)
    status = Path(f"/proc/{program.process.pid}/status").read_text()
    peak = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    assert peak
    assert int(peak[1]) < 80_000


def rename(log: Path, number: int) -> None:
    """Rotate a log as most programs do."""
    log.rename(log.with_name(f"{log.name}.{number}"))


def copy(log: Path, number: int) -> None:
    """Rotate a log as logrotate's copytruncate does."""
    shutil.copy(log, log.with_name(f"{log.name}.{number}"))
    log.write_text("")


def compress(log: Path, number: int) -> None:
    """Rotate a log as the kubelet does, which compresses the one that was rotated before."""
    before = log.with_name(f"{log.name}.{number - 1}")
    if before.exists():
        aside = before.with_name(f"{before.name}.tmp")
        aside.write_bytes(gzip.compress(before.read_bytes()))
        aside.rename(before.with_name(f"{before.name}.gz"))
        before.unlink()
    rename(log, number)


@pytest.mark.parametrize("rotate", [rename, copy, compress])
def test_kill_9(launch: Launch, collector: Any, logs: Path, rotate: Callable[[Path, int], None]) -> None:
    """Killed again and again while lines are written and logs rotate, it ships every line, each with one id."""
    written: list[str] = []
    stop = threading.Event()

    def write() -> None:
        for rotation in itertools.count():
            with (logs / "app.log").open("a") as log:
                for _ in range(30):
                    lines = [f"line {len(written) + number}" for number in range(10)]
                    log.write("".join(f"2026-01-02T03:04:05.1Z stdout F {line}\n" for line in lines))
                    log.flush()
                    written.extend(lines)
                    if stop.wait(0.001):
                        return
            rotate(logs / "app.log", rotation)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(4):
            program = launch(FILEBEAT_INPUTS=f"cri:{logs}/*.log*")
            enough = len(collector.events) + 1500
            collector.wait(lambda enough=enough: len(collector.events) >= enough, "lines arrive")
            program.process.kill()
            program.end()
    finally:
        stop.set()
        writer.join()
    launch(FILEBEAT_INPUTS=f"cri:{logs}/*.log*")
    collector.wait(lambda: set(written) <= set(collector.messages()), "every line arrives")
    ids = {(event["event"]["id"], event["message"]) for event in collector.events}
    assert len(ids) == len({identity for identity, _ in ids}) == len({message for _, message in ids}) == len(written)
