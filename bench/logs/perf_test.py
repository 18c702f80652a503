"""RabbitMQ's own PerfTest: what a broker can take of one producer that waits for confirms."""

import re
import time
from pathlib import Path

from measured import Command, Program, until, usage
from rabbit import EXCHANGE, KEY, QUEUE, Broker
from report import Figures

SAID = re.compile(r"confirmed: ([\d.,]+) msg/s")
"""What it says of each second."""

LEAST_SECONDS = 5


def command(jars: Path, port: int, window: int, size: int) -> Command:
    """Give what publishes, as one producer.

    Args:
        jars: folder of its parts.
        port: the broker's.
        window: messages on their way at the same time.
        size: bytes of a message.
    """
    words = [
        *("java", "-cp", f"{jars}/*", "com.rabbitmq.perf.PerfTest"),
        *("--uri", f"amqp://guest:guest@127.0.0.1:{port}/%2f", "--id", "bench"),
        *("--producers", "1", "--consumers", "0", "--confirm", str(window), "--size", str(size)),
        *("--flag", "persistent", "--flag", "mandatory", "--exchange", EXCHANGE, "--type", "topic"),
        *("--queue", QUEUE, "--routing-key", KEY, "--predeclared"),
    ]
    return Command(words)


def publish(publisher: Command, folder: Path, broker: Broker, seconds: int) -> Figures:
    """Publish, and give what was seen between the end of the first second and that of the last.

    In the first its machine starts, and nothing of it is in the figures.

    Args:
        publisher: what publishes.
        folder: for what it prints.
        broker: where to.
        seconds: for how long.
    """
    with Program(publisher, folder) as program:

        def wait_for(second: int) -> list[str]:
            return until(
                f"PerfTest's second {second}",
                lambda: found if len(found := SAID.findall(program.output.read_text())) >= second else [],
                program,
            )

        wait_for(1)
        begin, before, broker_before = time.monotonic(), usage([program.pid]), usage([broker.pid])
        rates = wait_for(max(seconds, LEAST_SECONDS))[1:]
        passed, after, broker_after = time.monotonic() - begin, usage([program.pid]), usage([broker.pid])
    rate = sum(float(rate.replace(",", "")) for rate in rates) / len(rates)
    events = rate * passed
    return {
        "rate": rate,
        "cpu_us": (after.cpu - before.cpu) / events * 1e6,
        "broker_cpu_us": (broker_after.cpu - broker_before.cpu) / events * 1e6,
        "memory": after.memory,
    }
