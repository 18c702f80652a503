"""RabbitMQ as the development stack has it: who may do what, what stays, and what a wrong setting says."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import jld_broker.__main__ as program
import pika
import pika.exceptions
import psutil
import pytest
from broker import PASSWORD, Broker, arrivals
from stack import until

pytestmark = pytest.mark.rabbitmq


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Start a broker once."""
    with Broker(tmp_path_factory.mktemp("broker")) as running:
        yield running


def publish(broker: Broker, *lines: str) -> None:
    """Publish events as the collector does, and wait for the confirm of each."""
    with pika.BlockingConnection(broker.parameters("logstash")) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for line in lines:
            event = json.dumps({"message": line, "event": {"id": line}})
            channel.basic_publish("logs", "jld", event.encode(), mandatory=True)


def test_events_stay_for_every_reader_and_over_a_kill(broker: Broker) -> None:
    """Each reader gets all events, also after the broker was killed with -9."""
    publish(broker, "first", "second")
    for _ in range(2):
        with arrivals(broker.parameters()) as reader:
            until("both events", lambda: reader.messages[:2] == ["first", "second"])
    broker.kill()
    broker.start()
    with arrivals(broker.parameters()) as reader:
        until("both events", lambda: reader.messages[:2] == ["first", "second"])


def test_who_publishes_cannot_read(broker: Broker) -> None:
    """The publisher is refused the queue."""
    with pika.BlockingConnection(broker.parameters("logstash")) as connection:
        channel = connection.channel()
        channel.basic_qos(prefetch_count=1)
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"):
            channel.basic_consume("logs", lambda *_: None, arguments={"x-stream-offset": "first"})


def test_who_reads_cannot_publish(broker: Broker) -> None:
    """The reader is refused the exchange."""
    with pika.BlockingConnection(broker.parameters("reader")) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="ACCESS_REFUSED"):
            channel.basic_publish("logs", "jld", b"{}")


@pytest.mark.parametrize(("user", "password"), [("guest", "guest"), ("logstash", "wrong")])
def test_others_are_refused(broker: Broker, user: str, password: str) -> None:
    """Neither RabbitMQ's well-known user nor a wrong password gets in."""
    parameters = broker.parameters(user)
    parameters.credentials = pika.PlainCredentials(user, password)
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        pika.BlockingConnection(parameters)


def test_listens_on_the_loopback_only(broker: Broker) -> None:
    """No port of the broker or of its port mapper is open to other machines."""
    assert broker.process
    ports = range(broker.port, broker.port + 4)
    found = [connection.laddr for connection in psutil.net_connections("tcp") if connection.status == "LISTEN"]
    listening = [address for address in found if address and address.port in ports]
    assert {address.port for address in listening} == set(ports)
    assert {address.ip for address in listening} <= {"127.0.0.1", "::1"}


def test_metrics(broker: Broker) -> None:
    """Prometheus finds RabbitMQ's metrics."""
    assert "rabbitmq_identity_info" in httpx.get(f"http://127.0.0.1:{broker.port + 1}/metrics").text


def test_lines_have_the_names_of_logstash(broker: Broker) -> None:
    """The broker's log is JSON with time and message under the names that all services use, without the password."""
    lines = [json.loads(line) for line in broker.log.read_text().splitlines() if line.startswith("{")]
    assert lines
    assert all({"@timestamp", "message", "level"} == set(line) for line in lines)
    assert PASSWORD not in broker.log.read_text()


def test_is_one_process(broker: Broker) -> None:
    """What was started is RabbitMQ itself, which gets the signals."""
    assert broker.process
    assert psutil.Process(broker.process.pid).name() == "beam.smp"


def run(environment: dict[str, str]) -> tuple[int, str]:
    """Start it with settings that are expected to be refused."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "jld_broker"], env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("BROKER_PORT", "0", "BROKER_PORT=0: should be greater than or equal to 1"),
        (
            "BROKER_KEY_FILE",
            "/nowhere",
            "BROKER_KEY_FILE=/nowhere: should be a file to read (No such file or directory)",
        ),
        ("BROKER_STATE_DIR", "here", "BROKER_STATE_DIR=here: should be an absolute path"),
        ("BROKER_READER_PASSWORD_FILE", "", "BROKER_READER_PASSWORD=: required"),
    ],
)
def test_a_wrong_setting(tmp_path: Path, name: str, value: str, line: str) -> None:
    """A wrong setting is one line that says what would be right, and status 78."""
    environment = Broker(tmp_path).environment | {name: value}
    assert run(environment) == (78, f"jld_broker: {line}\n")


def test_without_rabbitmq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where RabbitMQ is not installed, one line says so and how to get it."""
    monkeypatch.setattr(program, "PROGRAMS", str(tmp_path))
    monkeypatch.setattr(os, "umask", lambda _: 0)  # the tests after this one go on in this process
    for variable, value in Broker(tmp_path).environment.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="69"):
        program.main()


def test_a_state_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A state folder that cannot be made is one line, and status 74."""
    environment = Broker(tmp_path).environment | {"BROKER_STATE_DIR": "/proc/nowhere"}
    assert run(environment) == (
        74,
        "jld_broker: BROKER_STATE_DIR=/proc/nowhere: /proc/nowhere: No such file or directory\n",
    )
