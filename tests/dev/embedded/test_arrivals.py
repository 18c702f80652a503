"""Events from a real broker, over its restart."""

import contextlib
import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pika
import pytest
from broker import Broker
from jld_embedded.arrivals import Broker as Place
from jld_embedded.arrivals import from_broker
from pika.exceptions import UnroutableError
from stack import until


def publish(broker: Broker, *lines: str) -> None:
    """Publish events as the collector does."""
    with pika.BlockingConnection(broker.parameters("logstash")) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for line in lines:
            channel.basic_publish("logs", "jld", json.dumps({"message": line}).encode(), mandatory=True)


def routed(broker: Broker, line: str) -> bool:
    """Publish an event; False where the exchange cannot find its queue yet."""
    try:
        publish(broker, line)
    except UnroutableError:
        return False
    return True


@pytest.mark.rabbitmq
def test_follows_over_a_kill(tmp_path: Path) -> None:
    """What was there comes first, then what arrives; after a kill of the broker it goes on without repeating."""
    told: list[str] = []
    with Broker(tmp_path) as broker:
        place = Place("127.0.0.1", broker.port, "localhost", Path(broker.ca), Path(broker.password_file))
        publish(broker, "one", "two")
        begin = datetime.now(UTC) - timedelta(minutes=1)
        with contextlib.closing(from_broker(lambda: place, begin, told.append)) as events:
            assert [event["message"] for event in itertools.islice(events, 2)] == ["one", "two"]
            publish(broker, "three")
            assert next(events)["message"] == "three"
            broker.kill()
            broker.start()
            until("the queue is back", lambda: routed(broker, "four"))
            assert next(events)["message"] == "four"
        assert told
