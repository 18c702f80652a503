"""From the spool to a real RabbitMQ, whatever it does in between."""

import contextlib
import itertools
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from broker import Broker, arrivals
from jld_logstash import tls
from jld_logstash.broker import Backoff
from jld_logstash.metrics import Metrics
from jld_logstash.publisher import Publisher
from jld_logstash.settings import Settings
from publishing_events import confirmed, events
from stack import until
from vhost import Host

pytestmark = pytest.mark.rabbitmq

Collect = Callable[..., Any]
Target = dict[str, str | None]


def test_published(collect: Collect, to_host: Target, host: Host) -> None:
    """Each event is one persistent message with the routing key, its id and its time."""
    host.make_exchange()
    host.make_queue()
    collector = collect(**to_host, SHIPPER_NAME="über.all")
    with collector.shipper() as shipper:
        shipper.ship([*events(2), {"n": "no id", "@metadata": {}}])
    confirmed(collector, 3)
    (first, properties, event), second, third = host.take()
    assert (first.exchange, first.routing_key) == ("logs", "über.all")
    marks = {"shipper": "über.all", "shipper_certificate": "filebeat"}
    assert event == {"n": 0, "event": {"id": "id-0"}, **marks}
    assert (properties.message_id, properties.delivery_mode) == ("id-0", 2)
    assert properties.content_type == "application/json"
    assert abs(properties.timestamp - time.time()) < 60
    assert second[1].message_id == "id-1"
    assert third[2] == {"n": "no id", **marks}
    assert len(third[1].message_id) > 32
    assert collector.metric("logstash_broker_connected") == 1
    assert collector.metric("logstash_events_published_total") == 3
    assert collector.end() == 0
    assert collector.messages().count("events reach the broker") == 1


def test_many(collect: Collect, to_host: Target, host: Host) -> None:
    """Thousands of events arrive in their order, each once."""
    host.make_exchange()
    host.make_queue()
    collector = collect(**to_host)
    with collector.shipper() as shipper:
        for first in range(0, 6000, 2000):
            shipper.ship(events(2000, first))
    confirmed(collector, 6000)
    assert collector.metric("logstash_events_published_total") == 6000
    until("the spool is empty", lambda: collector.metric("logstash_spool_events") == 0)
    assert [event["n"] for _, _, event in host.take()] == list(range(6000))


def test_unroutable(collect: Collect, to_host: Target, host: Host) -> None:
    """Without a queue events come back and stay in the spool, which is said once; with one they arrive once each."""
    host.make_exchange()
    collector = collect(**to_host)
    with collector.shipper() as shipper:
        shipper.ship(events(500))
    until("some came back", lambda: collector.metric("logstash_events_returned_total") > 2)
    (said,) = (message for message in collector.messages() if "unroutable" in message)
    assert said.endswith("no queue is bound to the exchange logs for the routing key jupyterlabdemo")
    assert collector.metric("logstash_broker_unroutable") == 1
    assert collector.metric("logstash_events_confirmed_total") == 0
    assert collector.metric("logstash_spool_events") == 500
    host.make_queue()
    confirmed(collector, 500)
    assert sorted(event["n"] for _, _, event in host.take()) == list(range(500))
    assert collector.metric("logstash_spool_events") == 0


def test_refused(collect: Collect, to_host: Target, host: Host) -> None:
    """What the broker refuses with a nack is sent again until it takes it."""
    host.make_exchange()
    host.make_queue(x_max_length=5, x_overflow="reject-publish")
    collector = collect(**to_host)
    with collector.shipper() as shipper:
        shipper.ship(events(20))
    until("some are refused", lambda: collector.metric("logstash_events_nacked_total") > 1)
    assert collector.says("events stay in the spool: the broker refuses events: it sent a nack")
    found: set[int] = set()

    def drained() -> bool:
        found.update(event["n"] for _, _, event in host.take())
        return len(found) == 20

    until("all have arrived", drained)
    until("the spool is empty", lambda: collector.metric("logstash_spool_events") == 0)


def test_id_without_id_is_stable(collect: Collect, to_host: Target, host: Host) -> None:
    """An event without an id has the same one each time that it is sent, after a crash too."""
    host.make_exchange()
    host.make_queue(x_max_length=1, x_overflow="reject-publish")
    collector = collect(**to_host)
    with collector.shipper() as shipper:
        shipper.ship([{"n": number} for number in range(3)])
    until("the first is in the queue", lambda: collector.metric("logstash_events_confirmed_total") == 1)
    # Before the cursor is stored or after: both must do.
    collector.end(signal.SIGKILL)
    again = collect(**to_host)
    seen: dict[int, set[str]] = {}

    def drained() -> bool:
        for _, properties, event in host.take():
            seen.setdefault(event["n"], set()).add(properties.message_id)
        return not again.metric("logstash_spool_events")

    until("the spool is empty", drained)
    drained()
    assert set(seen) == {0, 1, 2}
    assert len(set(itertools.chain(*seen.values()))) == 3


def test_wrong_login(collect: Collect, to_broker: Target) -> None:
    """A wrong password, virtual host or authority is said without the password, and is no matter of readiness."""
    wrong: list[tuple[Target, str]] = [
        ({"RABBITMQ_TARGET_PASSWORD_FILE": None, "RABBITMQ_TARGET_PASSWORD": "hopeless"}, "ACCESS_REFUSED"),
        ({"RABBITMQ_TARGET_VHOST": "nowhere"}, "vhost nowhere not found"),
        ({"RABBITMQ_TARGET_CA_FILE": None}, "unable to get local issuer certificate"),
        (
            {"RABBITMQ_TARGET_HOST": "127.0.0.1", "RABBITMQ_TARGET_TLS": "false", "RABBITMQ_TARGET_CA_FILE": None},
            "away",
        ),
    ]
    for changes, reason in wrong:
        collector = collect(**to_broker | changes)
        until("it says why", lambda: collector.says(reason))  # noqa: B023 used at once
        assert collector.get("/readyz").status_code == 200
        assert collector.metric("logstash_broker_connected") == 0
        assert collector.end() == 0
        assert "hopeless" not in str(collector.log())
        assert [line for line in collector.log() if "stack_trace" in line] == []


def test_end_waits_for_confirms(collect: Collect, to_host: Target, host: Host) -> None:
    """SIGTERM lets what was sent be confirmed, so that the next start sends only what was not sent."""
    host.make_exchange()
    host.make_queue()
    collector = collect(**to_host)
    with collector.shipper() as shipper:
        for first in range(0, 4000, 2000):
            shipper.ship(events(2000, first))
        assert collector.end() == 0
    again = collect(**to_host)
    until("the spool is empty", lambda: again.metric("logstash_spool_events") == 0)
    assert [event["n"] for _, _, event in host.take()] == list(range(4000))


@pytest.fixture
def typed(settings: dict[str, str], to_broker: Target, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Give the settings for the shared broker, for a publisher in this process."""
    for name, value in (settings | to_broker).items():
        if value is not None:
            monkeypatch.setenv(name, value)
    return Settings.load()


@contextlib.contextmanager
def out_of_memory(broker: Broker) -> Iterator[None]:
    """Let the broker take nothing for want of memory."""
    broker.control("set_vm_memory_high_watermark", "0")
    try:
        yield
    finally:
        broker.control("set_vm_memory_high_watermark", "0.4")


def turn(publisher: Publisher) -> None:
    """Wait until a publisher has dealt with all that was in the spool when this was called."""
    for _ in range(2):  # when the second turn begins, the first is over
        publisher.wake()
        until("it is awake", lambda: publisher._session and not publisher._session._is_woken.is_set())


def test_blocked(typed: Settings, broker: Broker, spools: Any, caplog: pytest.LogCaptureFixture) -> None:
    """While the broker is out of memory it is sent nothing more, which is said; later all of it arrives."""
    with spools.open() as spool, arrivals(broker.parameters()) as arrived:
        metrics = Metrics(spool)
        publisher = Publisher(typed, tls.for_broker(typed), spool, metrics)
        spool.on_safe = publisher.wake
        publisher.start()
        spools.store(spool, "0")
        until("it is confirmed", lambda: spool.events == 0)
        with out_of_memory(broker):
            spools.store(spool, "1")
            until("it is told so", metrics.broker_blocked._value.get)
            spools.store(spool, *(f"{number}" for number in range(2, 102)))
            turn(publisher)
            assert metrics.published._value.get() == 2
        until("all are confirmed", lambda: spool.events == 0)
        assert not metrics.broker_blocked._value.get()
        until("all have arrived", lambda: {event["n"] for event in arrived.events} == set(map(str, range(102))))
        publisher.stop(3)
    assert "events stay in the spool: the broker takes nothing: low on memory" in caplog.messages


def test_end_while_nothing_goes_on(collect: Collect, to_host: Target, host: Host, broker: Broker) -> None:
    """With a full spool, a shipper that waits, and a broker that does not answer, the end comes within 5 s."""
    host.make_exchange()
    host.make_queue()
    collector = collect(**to_host, LOGSTASH_SPOOL_LIMIT="32M")
    with out_of_memory(broker), collector.shipper() as shipper:
        for number in range(12):
            shipper.send_window([{"n": number, "blob": "x" * 2**22}])
        until("it is full", lambda: collector.metric("logstash_spool_writable") == 0)
        until("the broker takes nothing", lambda: collector.metric("logstash_broker_blocked") == 1)
        assert 0 < collector.metric("logstash_broker_outstanding") <= collector.metric("logstash_backlog_events")
        begin = time.monotonic()
        assert collector.end() == 0
        assert time.monotonic() - begin < 5


def test_killed(
    typed: Settings, broker: Broker, spools: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """While the broker is killed and comes back, the spool takes events, and all of them arrive."""
    monkeypatch.setattr(Backoff, "LAST_SECONDS", 0.5)
    with spools.open() as spool, arrivals(broker.parameters()) as arrived:
        metrics = Metrics(spool)
        publisher = Publisher(typed, tls.for_broker(typed), spool, metrics)
        spool.on_safe = publisher.wake
        publisher.start()
        stored = [f"{number}" for number in range(2200)]
        spools.store(spool, *stored[:2000])
        broker.kill()
        spools.store(spool, *stored[2000:2100])
        until("it is seen", lambda: not metrics.broker_connected._value.get() and publisher._trouble.reason)
        broker.start()
        spools.store(spool, *stored[2100:])
        until("all have arrived", lambda: {event["n"] for event in arrived.events} == set(stored))
        until("the spool is empty", lambda: spool.events == 0)
        publisher.stop(3)
        assert not publisher.is_alive
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "the broker 127.0.0.1 is away: " in warnings[0]
    # Other things may be wrong while it comes: its queue is back after its port. Each is said once.
    assert len(set(warnings)) == len(warnings)


def test_thousands_on_their_way(typed: Settings, broker: Broker, spools: Any) -> None:
    """While a broker that took events before confirms nothing, 2,000 messages are on their way, and no more."""
    with spools.open() as spool, arrivals(broker.parameters()) as arrived:
        metrics = Metrics(spool)
        publisher = Publisher(typed, tls.for_broker(typed), spool, metrics)
        spool.on_safe = publisher.wake
        publisher.start()
        for number in range(12):  # each confirm doubles what may be on its way
            spools.store(spool, f"{number}")
            until("it is confirmed", lambda: spool.events == 0)
        assert broker.process
        broker.process.send_signal(signal.SIGSTOP)
        try:
            spools.store(spool, *(f"{number}" for number in range(12, 5012)))
            until("2,000 are on their way", lambda: metrics.broker_outstanding._value.get() == 2000)
            turn(publisher)
            assert metrics.broker_outstanding._value.get() == 2000
        finally:
            broker.process.send_signal(signal.SIGCONT)
        until("all have arrived", lambda: {event["n"] for event in arrived.events} == set(map(str, range(5012))))
        until("the spool is empty", lambda: spool.events == 0)
        publisher.stop(3)
