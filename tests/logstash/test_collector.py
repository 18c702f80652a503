"""The collector as a process: from a shipper to a file, refusals to start, crashes, the end."""

import contextlib
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from jld_logstash.collector import run
from jld_logstash.errors import BadSettingError
from shipper import event, window
from stack import free_ports, until

BROKER = {"RABBITMQ_TARGET_HOST": "x", "RABBITMQ_TARGET_USER": "x", "RABBITMQ_TARGET_PASSWORD": "x"}

Collect = Callable[..., Any]
Launch = Callable[..., subprocess.Popen[str]]
Written = Callable[[], list[dict[str, Any]]]


def test_from_shipper_to_file(collect: Collect, written: Written, certificates: Any) -> None:
    """What a shipper sends is in the file, with its name and its certificate's, and without `@metadata`."""
    collector = collect(SHIPPER_NAME="somewhere")
    with collector.shipper() as shipper:
        shipper.ship([{"message": "a", "@metadata": {"beat": "filebeat"}}, {"message": "b", "shipper": "another"}])
        shipper.ship([{"message": "c"}], first=3, compress=False)
        until("all are written", lambda: len(written()) == 3)
        assert collector.metric("logstash_connections") == 1
        shown = x509.load_pem_x509_certificate(certificates.client.certificate.read_bytes())
        ends = collector.metric('logstash_shipper_certificate_expiry_timestamp_seconds{shipper="filebeat"}')
        assert ends == shown.not_valid_after_utc.timestamp()
    assert written() == [
        {"message": "a", "shipper": "somewhere", "shipper_certificate": "filebeat"},
        {"message": "b", "shipper": "another", "shipper_certificate": "filebeat"},
        {"message": "c", "shipper": "somewhere", "shipper_certificate": "filebeat"},
    ]
    for name in ("received", "acknowledged", "published", "confirmed"):
        assert collector.metric(f"logstash_events_{name}_total") == 3
    until("they left the spool", lambda: collector.metric("logstash_spool_events") == 0)
    assert collector.metric("logstash_spool_write_seconds_count") == 2
    assert collector.metric("logstash_spool_writable") == 1
    assert collector.end() == 0
    assert collector.messages() == ["listens", "shipper filebeat is connected", "shipper filebeat is gone", "ends"]


def test_health(collect: Collect) -> None:
    """It answers probes, and says nothing about them."""
    collector = collect()
    for path in ("/healthz", "/readyz"):
        answer = collector.get(path)
        assert (answer.status_code, answer.json()) == (200, {"status": "ok"})
    assert "# TYPE logstash_events_received_total counter" in collector.get("/metrics").text
    assert collector.get("/").status_code == 404
    with socket.create_connection(("127.0.0.1", collector.started()["port"])) as connection:
        connection.sendall(b"no HTTP\0\r\n\r\n")
        assert b" 400 " in connection.recv(100)
    assert collector.end(signal.SIGINT) == 0
    assert collector.messages() == ["listens", "ends"]


def test_memory_of_many_connections(collect: Collect, certificates: Any) -> None:
    """Five hundred shippers, each in the middle of a window, take less memory than what containers have."""
    collector = collect()
    context = certificates.context(certificates.client)
    port = collector.started()["beats_port"]
    text = event(1, {"text": "x" * 2**17})
    with contextlib.ExitStack() as stack:
        shippers = [stack.enter_context(certificates.shipper(port, context)) for _ in range(500)]
        for shipper in shippers:
            shipper.send(window(3) + text + text + text[: 2**15])
        until("all are heard", lambda: collector.metric("logstash_events_received_total") >= 200)
        for shipper in shippers:
            shipper.send(text[2**15 :])
        assert {shipper.acknowledged() for shipper in shippers} == {1}
    status = Path(f"/proc/{collector.process.pid}/status").read_text()
    peak = int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])  # type: ignore[index] # the kernel writes it
    assert peak < 400_000


def test_full_spool(collect: Collect, to_nowhere: dict[str, str | None]) -> None:
    """A full spool takes nothing more and is not ready, and still has all that it acknowledged."""
    collector = collect(**to_nowhere, LOGSTASH_SPOOL_LIMIT="32M")
    blob = "x" * 2**22
    acknowledged = 0

    def ship() -> None:
        nonlocal acknowledged
        with contextlib.suppress(OSError), collector.shipper() as shipper:
            while True:
                shipper.send_window([{"n": acknowledged, "blob": blob}], compress=False)
                acknowledged += shipper.acknowledged()

    shipping = threading.Thread(target=ship)
    shipping.start()
    until("it is full", lambda: collector.metric("logstash_spool_writable") == 0)
    assert 4 < acknowledged < 8
    assert collector.get("/readyz").status_code == 503
    assert collector.get("/readyz").json()["error"] == "not-ready"
    assert collector.get("/healthz").status_code == 200
    assert collector.metric("logstash_spool_events") == acknowledged
    assert collector.metric("logstash_intake_size_bytes") > 2**22
    assert collector.metric("logstash_backlog_events") == 0
    assert 0 < collector.metric("logstash_spool_size_bytes") < collector.metric("logstash_spool_limit_bytes")
    assert collector.end() == 0
    shipping.join(10)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"LOGSTASH_CA_FILE": None}, "LOGSTASH_CA_FILE=: required"),
        ({"LOGSTASH_CA_FILE": "/none"}, "LOGSTASH_CA_FILE=/none: should be a file to read (No such file or directory)"),
        ({"LOGSTASH_CA_FILE": "/"}, "LOGSTASH_CA_FILE=/: should be a file of PEM certificates"),
        ({"LOGSTASH_KEY_FILE": "stranger"}, "{key}: should be the PEM key, without a passphrase, of LOGSTASH_CERT"),
        (
            {"LOGSTASH_CERTIFICATE_FILE": "/dev/null"},
            "LOGSTASH_CERTIFICATE_FILE=/dev/null: should be a file of PEM cer",
        ),
        (
            {"LOGSTASH_EVENTS_FILE": "/none/events"},
            "LOGSTASH_EVENTS_FILE=/none/events: should be a file that can be wr",
        ),
        (
            {"LOGSTASH_EVENTS_FILE": None, "RABBITMQ_TARGET_CA_FILE": "/none", **BROKER},
            "RABBITMQ_TARGET_CA_FILE=/none: should be a file to read (No such file or directory)",
        ),
        ({"LOGSTASH_SPOOL_DIR": "/none/spool"}, "LOGSTASH_SPOOL_DIR=/none/spool: should be a folder to keep events in"),
    ],
)
async def test_bad_setting(
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    certificates: Any,
    changes: dict[str, str | None],
    line: str,
) -> None:
    """A setting that cannot be used ends the start with one line that names it."""
    stranger = str(certificates.stranger.key)
    for name, value in (settings | changes).items():
        monkeypatch.setenv(name, stranger if value == "stranger" else value or "")
    with pytest.raises(BadSettingError) as refusal:
        await run()
    assert str(refusal.value).startswith(line.format(key=f"LOGSTASH_KEY_FILE={stranger}"))
    assert "\n" not in str(refusal.value)


def test_refusal(launch: Launch, settings: dict[str, str]) -> None:
    """A start that a setting prevents writes one line, and ends with EX_CONFIG."""
    process = launch(**settings | {"LOGSTASH_PORT": "often"})
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 78
    assert errors.startswith("jld_logstash: LOGSTASH_PORT=often: should be a valid integer")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("variable", ["LOGSTASH_PORT", "LOGSTASH_BEATS_PORT"])
def test_busy_port(launch: Launch, settings: dict[str, str], variable: str) -> None:
    """A busy port ends the start with one line and EX_UNAVAILABLE."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = launch(**settings | {variable: str(port)})
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 69
    assert errors == f"jld_logstash: {variable}={port}: should be a free port of 127.0.0.1 (Address already in use)\n"


def test_full_log(settings: dict[str, str], http: httpx.Client) -> None:
    """Standard output that takes nothing, as on a full disk, changes neither what is done nor the status at the end."""
    port = free_ports(1)

    def answers() -> bool:
        with contextlib.suppress(httpx.TransportError):
            return http.get(f"http://127.0.0.1:{port}/healthz").is_success
        return False

    with (
        Path("/dev/full").open("w") as full,
        subprocess.Popen(
            [sys.executable, "-m", "jld_logstash"],
            env=settings | {"LOGSTASH_PORT": str(port)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        try:
            until("it answers", answers)
            process.terminate()
            assert process.communicate(timeout=15)[1] == ""
        finally:
            process.kill()
    assert process.returncode == 0


def test_second_collector(collect: Collect, launch: Launch, settings: dict[str, str]) -> None:
    """A second collector on the same spool ends with one line and EX_UNAVAILABLE; the first goes on."""
    collector = collect()
    process = launch(**settings)
    _, errors = process.communicate(timeout=10)
    assert process.returncode == 69
    assert errors.startswith(f"jld_logstash: LOGSTASH_SPOOL_DIR={settings['LOGSTASH_SPOOL_DIR']}: should be a folder")
    assert errors.count("\n") == 1
    assert collector.get("/healthz").status_code == 200


class Stream:
    """A shipper that goes on for ever, and after a broken connection sends again what was not acknowledged.

    Attributes:
        acknowledged: number of the last event that was.
        port: where it ships to.
    """

    def __init__(self, certificates: Any, collector: Any) -> None:
        self.acknowledged = 0
        self.port = collector.started()["beats_port"]
        self._certificates = certificates
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._is_over.wait(0.01):
            with contextlib.suppress(OSError), self._certificates.shipper(self.port) as shipper:
                while not self._is_over.is_set():
                    numbers = range(self.acknowledged + 1, self.acknowledged + 51)
                    shipper.send_window([{"n": number, "event": {"id": f"{number}"}} for number in numbers])
                    self.acknowledged += shipper.acknowledged()

    def end(self) -> int:
        """Stop, and give the number of the last event that was acknowledged."""
        self._is_over.set()
        self._thread.join(10)
        return self.acknowledged


def test_killed(collect: Collect, written: Written, certificates: Any) -> None:
    """However often the collector is killed, nothing that it acknowledged is lost."""
    collector = collect()
    stream = Stream(certificates, collector)
    for _ in range(3):
        before = stream.acknowledged
        until("more is acknowledged", lambda: stream.acknowledged > before + 200)  # noqa: B023 used at once
        assert collector.end(signal.SIGKILL) == -9
        collector = collect()
        stream.port = collector.started()["beats_port"]
    last = stream.end()
    until("the spool is empty", lambda: collector.metric("logstash_spool_events") == 0)
    assert {event["n"] for event in written()} >= set(range(1, last + 1))
    assert collector.end() == 0


def test_ended_in_the_middle(collect: Collect, written: Written, certificates: Any) -> None:
    """SIGTERM in the middle of a stream ends it cleanly, and what was acknowledged is kept."""
    collector = collect()
    stream = Stream(certificates, collector)
    until("some is acknowledged", lambda: stream.acknowledged > 200)
    assert collector.end() == 0
    last = stream.end()
    assert [line for line in collector.log() if "stack_trace" in line] == []
    again = collect()
    until("the spool is empty", lambda: again.metric("logstash_spool_events") == 0)
    assert {event["n"] for event in written()} >= set(range(1, last + 1))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_disk_buffer_persistence(
    collect: Collect, written: Written, to_nowhere: dict[str, str | None], tmp_path: Path, number: signal.Signals
) -> None:
    """What could not be delivered is delivered after a restart, even to another target: all of it, each once.

    The case of vector-test-harness, which restarts cleanly and wants one of ten.
    """
    collector = collect(**to_nowhere)
    with collector.shipper() as shipper:
        shipper.ship([{"n": number} for number in range(100)])
    until(
        "it says why nothing is delivered", lambda: collector.says("the broker 127.0.0.1 is away: Connection refused")
    )
    assert collector.get("/readyz").status_code == 200
    assert collector.metric("logstash_broker_connected") == 0
    assert collector.end(number) == (0 if number == signal.SIGTERM else -number)
    assert not (tmp_path / "events").exists()
    again = collect()
    assert again.started()["waiting_events"] == 100
    until("the spool is empty", lambda: again.metric("logstash_spool_events") == 0)
    assert [event["n"] for event in written()] == list(range(100))
