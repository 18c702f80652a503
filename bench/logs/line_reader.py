"""Takes lines off the queue as they come: `line_reader.py PORT COUNT`.

It prints `first` when the line comes that is there before, and when all others have come, one JSON object: how many
nanoseconds each took, by number. A repeat counts for nothing.
"""

import json
import re
import sys
import time
from typing import Any

import pika
from latency import FIRST
from rabbit import QUEUE

WRITTEN = re.compile(rb"written=(\d+) number=(-?\d+)")


def main() -> None:
    """Read as the arguments say."""
    port, count = map(int, sys.argv[1:])
    taken: dict[int, int] = {}

    def on_message(channel: Any, _method: Any, _properties: Any, body: bytes) -> None:
        now = time.time_ns()
        for written, digits in WRITTEN.findall(body):
            number = int(digits)
            if number == FIRST:
                print("first", flush=True)
            else:
                taken.setdefault(number, now - int(written))
        if len(taken) == count:
            channel.stop_consuming()

    with pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port)) as connection:
        channel = connection.channel()
        channel.basic_consume(QUEUE, on_message, auto_ack=True)
        channel.start_consuming()
    print(json.dumps(taken))


if __name__ == "__main__":
    main()
