"""What the collector makes at the broker, and what its messages are."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from broker import Broker
from publishing_events import confirmed, events
from stack import until
from vhost import Host

pytestmark = pytest.mark.rabbitmq

Collect = Callable[..., Any]
Target = dict[str, str | None]


def test_missing_exchange(collect: Collect, to_host: Target, host: Host) -> None:
    """An exchange that is missing is said and made; with a queue for it the events arrive."""
    collector = collect(**to_host)
    with collector.shipper() as shipper:
        shipper.ship(events(10))
    until("it says what is missing", lambda: collector.says("NOT_FOUND - no exchange 'logs' in vhost"))
    until("there is no queue yet", lambda: collector.says("no queue is bound to the exchange logs"))
    assert collector.metric("logstash_broker_unroutable") == 1
    assert collector.metric("logstash_spool_events") == 10
    assert collector.get("/readyz").status_code == 200
    host.make_queue()
    confirmed(collector, 10)
    assert sorted(event["n"] for _, _, event in host.take()) == list(range(10))
    assert collector.metric("logstash_broker_unroutable") == 0
    assert collector.metric("logstash_broker_reconnects_total") == 0


@pytest.fixture
def restricted(broker: Broker, host: Host) -> Iterator[None]:
    """Let the collector only write to that host's exchange."""
    broker.control("set_permissions", "-p", host.name, "logstash", "^$", "^logs$", "^$")
    yield
    broker.control("set_permissions", "-p", host.name, "logstash", ".*", ".*", ".*")


@pytest.mark.usefixtures("restricted")
def test_missing_exchange_and_right(collect: Collect, to_host: Target, host: Host) -> None:
    """Where it may not make the exchange, which is said, the collector waits until somebody else has."""
    collector = collect(**to_host)
    with collector.shipper() as shipper:
        shipper.ship(events(10))
    until("it says what it may not do", lambda: collector.says("ACCESS_REFUSED"))
    host.make_exchange()
    host.make_queue()
    confirmed(collector, 10)
    assert [event["n"] for _, _, event in host.take()] == list(range(10))


@pytest.mark.usefixtures("restricted")
def test_right_to_write_is_enough(collect: Collect, to_host: Target, host: Host) -> None:
    """Where exchange and queue are there, the right to write to the exchange is all that the collector needs."""
    host.make_exchange()
    host.make_queue()
    collector = collect(**to_host)
    with collector.shipper() as shipper:
        shipper.ship(events(10))
    confirmed(collector, 10)
    assert not collector.says("refuse")


@pytest.mark.parametrize("kind", ["quorum", "classic"])
def test_queue(collect: Collect, to_host: Target, host: Host, broker: Broker, kind: str) -> None:
    """A queue that is named is made, of the type that is asked for, quorum by default, and bound."""
    asked = {} if kind == "quorum" else {"RABBITMQ_TARGET_QUEUE_TYPE": kind}
    collector = collect(**to_host, RABBITMQ_TARGET_QUEUE="q", **asked)
    with collector.shipper() as shipper:
        shipper.ship(events(10))
    confirmed(collector, 10)
    (queue,) = json.loads(broker.control("list_queues", "-p", host.name, "--formatter=json", "name", "type", "durable"))
    assert (queue["name"], queue["durable"]) == ("q", True)
    assert kind in queue["type"]
    assert [event["n"] for _, _, event in host.take()] == list(range(10))


def test_queue_is_deleted(collect: Collect, to_host: Target, host: Host) -> None:
    """A queue that is named and that somebody deletes or unbinds is made, or bound, again."""
    collector = collect(**to_host, RABBITMQ_TARGET_QUEUE="q")
    with collector.shipper() as shipper:
        shipper.ship(events(10))
        confirmed(collector, 10)
        host.delete_queue()
        shipper.ship(events(10, 10))
        confirmed(collector, 20)
        host.unbind_queue("jupyterlabdemo")
        shipper.ship(events(10, 20))
        confirmed(collector, 30)
    assert [event["n"] for _, _, event in host.take()] == list(range(10, 30))
    assert collector.metric("logstash_broker_unroutable") == 0
    assert collector.metric("logstash_broker_reconnects_total") == 0


def test_other_queue(collect: Collect, to_host: Target, host: Host) -> None:
    """A queue of another type is left as it is, which is said; the events stay in the spool."""
    host.make_exchange()
    host.make_queue()
    collector = collect(**to_host, RABBITMQ_TARGET_QUEUE="q")
    with collector.shipper() as shipper:
        shipper.ship(events(1))
    until("it is said", lambda: collector.says("PRECONDITION_FAILED"))
    assert collector.metric("logstash_spool_events") == 1


def test_several_events_in_a_message(collect: Collect, to_host: Target, host: Host) -> None:
    """Where events may share a message, one a line, all arrive; one without an id of its own has its own message."""
    host.make_exchange()
    host.make_queue()
    collector = collect(**to_host, RABBITMQ_TARGET_EVENTS_PER_MESSAGE="50")
    sent = [*events(400), {"n": 400}, {"n": 401}, *events(198, 402)]
    with collector.shipper() as shipper:
        shipper.ship(sent)
    confirmed(collector, 600)
    until("the spool is empty", lambda: collector.metric("logstash_spool_events") == 0)
    messages = host.take_bodies()
    assert len(messages) < 60
    found = [[json.loads(line) for line in body.split(b"\n")] for _, body in messages]
    assert [event["n"] for lines in found for event in lines] == list(range(600))
    for (properties, _), lines in zip(messages, found, strict=True):
        assert properties.content_type == "application/x-ndjson"
        assert len(lines) <= 50
        if lines[0]["n"] in {400, 401}:
            assert len(lines) == 1
            assert len(properties.message_id) > 32
        else:
            assert properties.message_id == lines[0]["event"]["id"]


def test_refused_together(collect: Collect, to_host: Target, host: Host) -> None:
    """Events that share a message which the broker refuses are all sent again until it takes them."""
    host.make_exchange()
    host.make_queue(x_max_length=2, x_overflow="reject-publish")
    collector = collect(**to_host, RABBITMQ_TARGET_EVENTS_PER_MESSAGE="10")
    with collector.shipper() as shipper:
        shipper.ship(events(60))
    until("some are refused", lambda: collector.metric("logstash_events_nacked_total") > 1)
    found: set[int] = set()

    def drained() -> bool:
        found.update(json.loads(line)["n"] for _, body in host.take_bodies() for line in body.split(b"\n"))
        return len(found) == 60

    until("all have arrived", drained)
    until("the spool is empty", lambda: collector.metric("logstash_spool_events") == 0)


def test_larger_than_a_frame(collect: Collect, to_host: Target, host: Host) -> None:
    """Events that take many frames of AMQP arrive whole, among small ones."""
    host.make_exchange()
    host.make_queue()
    collector = collect(**to_host)
    sizes = [0, 131_072, 3, 2**20, 10 * 2**20, 5]
    with collector.shipper() as shipper:
        shipper.ship([{"text": "x" * size} for size in sizes])
    confirmed(collector, len(sizes))
    assert [len(event["text"]) for _, _, event in host.take()] == sizes


def test_several_collectors(collect: Collect, to_host: Target, host: Host, tmp_path: Any) -> None:
    """What a shipper sends again to another collector is known by its id: each event is there, once by its id."""
    collectors = [collect(**to_host, RABBITMQ_TARGET_QUEUE="q", LOGSTASH_SPOOL_DIR=tmp_path / f"{n}") for n in range(3)]
    batches = [events(100, first) for first in range(0, 3000, 100)]
    for number, batch in enumerate(batches):
        with collectors[number % 3].shipper() as shipper:
            shipper.send_window(batch)
            if number % 4:
                assert shipper.acknowledged() == 100
        if not number % 4:  # the shipper never learns whether it was safe
            with collectors[(number + 1) % 3].shipper() as shipper:
                shipper.ship(batch)
    until("all spools are empty", lambda: not sum(found.metric("logstash_spool_events") for found in collectors))
    arrived = host.take()
    assert {properties.message_id for _, properties, _ in arrived} == {f"id-{number}" for number in range(3000)}
    assert {event["n"] for _, _, event in arrived} == set(range(3000))
    assert len(arrived) <= 3000 + 800
