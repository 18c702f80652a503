"""All that takes part: writers, shipper, collector, broker and receiver, with the ways between them.

It has a network, mounts and processes of its own (see `__main__`), so that its ports are fixed.
"""

import json
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Self

import httpx
import pika
from broker import Broker
from jld_embedded.certificates import LOOPBACK, Authority
from stack import until

from .ledger import Ledger
from .network import Wire
from .parts import Component, Part, RabbitMQ
from .receiver import QUEUE, Receiver
from .writers import Writers

BEATS_PORT, COLLECTOR_PORT, SHIPPER_PORT = 7001, 7002, 7003

LOSSES = ("filebeat_bytes_dropped_total", "logstash_spool_damaged_places")
"""Figures that have to be 0."""

WORK = ("filebeat_lag_bytes", "logstash_spool_events")
"""Figures that are 0 when there is nothing to do."""

BROKER_ADDRESS = "127.0.0.2"
"""The broker's for the collector alone: the receiver is not to be cut off with it."""

DISKS = {"shipper": "8M", "collector": "48M"}
"""Sizes of the file systems that can be filled."""

HEAL_SECONDS = 120
"""How long it may take until all has arrived when nothing is in the way any more. Usual are 1 to 5 s."""

TELL_SECONDS = 30
"""How long it may take until figures are told."""

IDLE_SECONDS = 3
"""When shipper and collector have had nothing to do for so long, nothing will arrive any more."""


class Rig:
    """All of it.

    Args:
        folder: for all that is kept.
        chance: chooses all that is left to chance.
        mutant: how shipper or collector are broken on purpose, if they are.
    """

    def __init__(self, folder: Path, chance: random.Random, mutant: str) -> None:
        self.folder = folder
        self.chance = chance
        self.mutant = mutant
        self.ledger = Ledger()
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        """Start all parts."""
        for name, size in DISKS.items():
            (self.folder / name).mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", name, self.folder / name], check=True)
            self._exits.callback(partial(subprocess.run, ["umount", "--lazy", self.folder / name], check=True))
            (self.folder / name / "state").mkdir()
            (self.folder / name / "kept").mkdir()
        Authority(self.folder).issue("broker", [*LOOPBACK, BROKER_ADDRESS])
        broker = Broker(self.folder)
        broker.environment["BROKER_HOST"] = "0.0.0.0"
        self.broker = RabbitMQ(broker)
        self.to_collector = Wire("127.0.0.1", BEATS_PORT)
        self.to_broker = Wire(BROKER_ADDRESS, broker.port)
        self.writers = Writers(self.folder / "logs", self.chance)
        self.collector = self._component("collector", self._collector(broker), [self.to_collector, self.to_broker])
        self.shipper = self._component("shipper", self._shipper(), [self.to_collector])
        self.parts: list[Part] = [self.broker, self.collector, self.shipper]
        self.broker.start()
        self._exits.callback(self._stop)
        until("the broker takes connections", self.broker.listens, seconds=90)
        self._make_host(broker)
        self.receiver = Receiver(self._parameters(broker), self.ledger)
        self.receiver.start()
        self._exits.callback(self.receiver.end)
        self.collector.start()
        self.shipper.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End all parts."""
        self._exits.close()

    def _stop(self) -> None:
        for part in self.parts:
            part.kill()

    def _component(self, name: str, environment: dict[str, str], wires: list[Wire]) -> Component:
        return Component(name, self.folder, environment, wires=wires, mutant=self.mutant)

    def _make_host(self, broker: Broker) -> None:
        """Make a virtual host where the collector may make a queue."""
        rights = {"vhost": QUEUE, "configure": ".*", "write": ".*", "read": ".*"}
        permissions = [{"user": user, **rights} for user in ("logstash", "reader")]
        definitions = self.folder / "definitions.json"
        definitions.write_text(json.dumps({"vhosts": [{"name": QUEUE}], "permissions": permissions}))
        broker.control("import_definitions", str(definitions))

    def _parameters(self, broker: Broker) -> pika.ConnectionParameters:
        parameters = broker.parameters()
        parameters.virtual_host = QUEUE
        return parameters

    def _collector(self, broker: Broker) -> dict[str, str]:
        pair = Authority(self.folder).issue("logstash")
        return {
            "RABBITMQ_TARGET_HOST": BROKER_ADDRESS,
            "RABBITMQ_TARGET_PORT": str(broker.port),
            "RABBITMQ_TARGET_VHOST": QUEUE,
            "RABBITMQ_TARGET_USER": "logstash",
            "RABBITMQ_TARGET_PASSWORD_FILE": str(broker.password_file),
            "RABBITMQ_TARGET_CA_FILE": str(broker.ca),
            "RABBITMQ_TARGET_QUEUE": QUEUE,
            "RABBITMQ_TARGET_QUEUE_TYPE": self.chance.choice(("quorum", "classic")),
            "LOGSTASH_HOST": "127.0.0.1",
            "LOGSTASH_PORT": str(COLLECTOR_PORT),
            "LOGSTASH_BEATS_PORT": str(BEATS_PORT),
            "LOGSTASH_CA_FILE": str(broker.ca),
            "LOGSTASH_CERTIFICATE_FILE": str(pair.certificate),
            "LOGSTASH_KEY_FILE": str(pair.key),
            "LOGSTASH_SPOOL_DIR": str(self.folder / "collector/state"),
            "LOGSTASH_SPOOL_LIMIT": "32M",
        }

    def _shipper(self) -> dict[str, str]:
        authority = Authority(self.folder)
        pair = authority.issue("filebeat")
        return {
            "FILEBEAT_INPUTS": self.writers.inputs,
            "FILEBEAT_STATE_DIR": str(self.folder / "shipper/state"),
            "FILEBEAT_NODE_NAME": "node-1",
            "FILEBEAT_COLLECTOR_HOST": "127.0.0.1",
            "FILEBEAT_COLLECTOR_PORT": str(BEATS_PORT),
            "FILEBEAT_CA_FILE": str(authority.certificate),
            "FILEBEAT_CERTIFICATE_FILE": str(pair.certificate),
            "FILEBEAT_KEY_FILE": str(pair.key),
            "FILEBEAT_HOST": "127.0.0.1",
            "FILEBEAT_PORT": str(SHIPPER_PORT),
        }

    def fill(self, name: str) -> None:
        """Fill the disk of a component."""
        zeros = bytes(2**16)
        with suppress(OSError), (self.folder / name / "filler").open("ab", buffering=0) as filler:
            while filler.write(zeros):
                pass

    def free(self, name: str) -> None:
        """Make room again on the disk of a component."""
        (self.folder / name / "filler").unlink(missing_ok=True)

    def heal(self) -> None:
        """Take everything out of the way, and start what does not run."""
        for wire in (self.to_collector, self.to_broker):
            wire.mend()
        for name in DISKS:
            self.free(name)
        for part in self.parts:
            part.go_on()
            part.start()
        until("the broker takes connections", self.broker.listens, seconds=90)
        until("the broker did what it was told", self.broker.is_calm, seconds=30)
        self.broker.watermark(0.4)
        until("the broker has memory", self.broker.is_calm, seconds=30)

    def check(self, written: dict[str, int]) -> list[str]:
        """Wait until all that was written has arrived, and say what is wrong.

        Args:
            written: how many lines each writer has written.
        """
        is_over = self._over_when_idle()

        def is_decided() -> bool:
            lost = self.ledger.missing(written)
            return not lost or is_over(sum(map(len, lost.values())))

        until("all has arrived, or nothing is under way", is_decided, seconds=HEAL_SECONDS)
        wrong = self.ledger.wrong + [surprise for part in self.parts for surprise in part.surprises]
        if lost := self.ledger.missing(written):
            return wrong + [f"{writer} lost {len(numbers)}: {_ranges(numbers)}" for writer, numbers in lost.items()]
        self.ledger.close_round(written)
        return wrong + self._losses()

    def last_look(self) -> list[str]:
        """Wait until nothing is under way any more, and say what came late that should not."""
        is_over = self._over_when_idle()
        until("nothing is under way", lambda: is_over(0), seconds=HEAL_SECONDS)
        return [*self.ledger.wrong, *self._losses()]

    def _losses(self) -> list[str]:
        """Say which figures of losses are not 0, once shipper and collector, which may just have started, tell them."""
        until("both tell what is lost", lambda: len(self._figures(*LOSSES)) == len(LOSSES), seconds=TELL_SECONDS)
        return [f"{name} is {figure}" for name, figure in self._figures(*LOSSES).items() if figure]

    def _figures(self, *samples: str) -> dict[str, float]:
        """Give figures of shipper and collector; those of one that does not answer are missing."""
        text = ""
        for port in (SHIPPER_PORT, COLLECTOR_PORT):
            with suppress(httpx.HTTPError):
                text += httpx.get(f"http://127.0.0.1:{port}/metrics", timeout=5).text
        found = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[:1] != "#")
        return {sample: float(found[sample]) for sample in samples if sample in found}

    def _over_when_idle(self) -> Callable[[int], bool]:
        """Give a function that is told what is missing, and tells whether nothing was under way for some time."""
        busy = looked = time.monotonic()
        before = 0

        def is_over(missing: int) -> bool:
            nonlocal busy, looked, before
            now = time.monotonic()
            if now - looked > 1:
                looked = now
                if missing != before or self._figures(*WORK) != dict.fromkeys(WORK, 0):
                    before, busy = missing, now
            return now - busy > IDLE_SECONDS

        return is_over

    def keep(self) -> None:
        """Copy what is in file systems that end with this."""
        for name in DISKS:
            shutil.copytree(self.folder / name, self.folder / f"{name}.at-the-end", ignore_dangling_symlinks=True)


def _ranges(numbers: list[int]) -> str:
    """Write numbers in a short way."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1][1:] = [number]
        else:
            found.append([number])
    return ", ".join("-".join(map(str, some)) for some in found[:10]) + (", …" if len(found) > 10 else "")
