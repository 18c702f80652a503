"""Who writes logs: numbered lines, in the forms and with the ways of rotation that the shipper has to know.

Not among them is copytruncate: what is written between the copy and the truncation is lost by design.
"""

import gzip
import json
import random
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from .ledger import message

PAUSE_SECONDS = 0.02
"""Time between two steps of all writers."""


def plain(text: str, _stream: str, _chance: random.Random) -> list[bytes]:
    """Write a message as a program does that has a log file."""
    return [text.encode() + b"\n"]


def cri(text: str, stream: str, chance: random.Random) -> list[bytes]:
    """Write a message as the runtimes of Kubernetes do: long ones, and some others, in parts."""
    data = text.encode()
    size = chance.randint(1, len(data)) if chance.random() < 0.1 else 16384
    parts = [data[begin : begin + size] for begin in range(0, len(data), size)][:50]
    parts[-1] += data[50 * size :]
    tags = [b"P"] * (len(parts) - 1) + [b"F"]
    return [b"%b %b %b %b\n" % (_now(), stream.encode(), tag, part) for tag, part in zip(tags, parts, strict=True)]


def docker(text: str, stream: str, chance: random.Random) -> list[bytes]:
    """Write a message as Docker's json-file driver does: long ones, and some others, in parts."""
    size = chance.randint(len(text) // 50 + 1, len(text)) if chance.random() < 0.1 else 8000
    text += "\n"
    parts = [text[begin : begin + size] for begin in range(0, len(text), size)]
    fields = ({"log": part, "stream": stream, "time": _now().decode()} for part in parts)
    return [json.dumps(field, ensure_ascii=False).encode() + b"\n" for field in fields]


def _now() -> bytes:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode()


Form = Callable[[str, str, random.Random], list[bytes]]


class Log:
    """One log.

    Args:
        path: the file; what is rotated stays beside it.
        name: the writer's; without a space.
        form: makes lines of a message.
        chance: chooses what is written and when it is rotated.

    Attributes:
        count: messages so far, when nothing is under way.
    """

    def __init__(self, path: Path, name: str, form: Form, chance: random.Random) -> None:
        path.parent.mkdir(parents=True)
        self.name = name
        self.count = 0
        self._path = path
        self._form = form
        self._chance = chance
        self._file = path.open("ab", buffering=0)
        self._lines: dict[str, deque[bytes]] = {"stdout": deque(), "stderr": deque()}
        """What is under way; of each stream by itself, so that parts of two messages alternate."""
        self._torn = b""
        """The rest of a line that is half written."""
        self._left = 0
        """Lines until it is rotated."""
        self._rotations = 0

    def step(self) -> None:
        """Write a little."""
        data = self._torn + b"".join(self._next() for _ in range(self._chance.randint(1, 6)))
        cut = self._chance.randrange(len(data)) if self._chance.random() < 0.1 else len(data)
        self._file.write(data[:cut])
        self._torn = data[cut:]
        if self._left < 0:
            self._rotate()

    def _next(self) -> bytes:
        self._left -= 1
        stream = self._chance.choice(list(self._lines))
        lines = self._lines[stream]
        if not lines:
            lines.extend(self._form(message(self.name, self.count), stream, self._chance))
            self.count += 1
        return lines.popleft()

    def settle(self) -> None:
        """Write what is under way to its end."""
        rest = b"".join(line for lines in self._lines.values() for line in lines)
        for lines in self._lines.values():
            lines.clear()
        self._file.write(self._torn + rest)
        self._torn = b""

    def _rotate(self) -> None:
        """Rename the file, and compress the one before; for a moment the writer still has the old one."""
        self._left = self._chance.randint(50, 500)
        self._rotations += 1
        old = self._path.rename(f"{self._path}.{self._rotations:08d}")
        more = self._torn + (self._next() if self._chance.random() < 0.5 else b"")
        self._file.write(more)
        self._torn = b""
        self._file.close()
        self._file = self._path.open("ab", buffering=0)
        before = old.with_name(f"{self._path.name}.{self._rotations - 1:08d}")
        if before.exists() and self._chance.random() < 0.7:
            _compress(before)

    def prune(self) -> None:
        """Remove what was rotated."""
        for path in self._path.parent.glob(f"{self._path.name}.*"):
            path.unlink()


def _compress(path: Path) -> None:
    """Compress a file as the kubelet does."""
    aside = path.with_name(f"{path.name}.tmp")
    aside.write_bytes(gzip.compress(path.read_bytes(), 1))
    aside.rename(f"{path}.gz")
    path.unlink()


class Writers:
    """Several logs, written by a thread.

    Args:
        folder: where they are.
        chance: chooses all that is left to chance.
    """

    def __init__(self, folder: Path, chance: random.Random) -> None:
        container = "0123456789ab" * 5 + "cdef"
        paths: list[tuple[Path, Form]] = [
            (folder / "pods/jupyter_hub-1_0a/hub/0.log", cri),
            (folder / "pods/jupyter_lab-2_0b/lab/0.log", cri),
            (folder / f"containers/{container}/{container}-json.log", docker),
            (folder / "programs/some.log", plain),
        ]
        self.logs = [
            Log(path, f"writer-{number}", form, random.Random(chance.random()))
            for number, (path, form) in enumerate(paths)
        ]
        self.inputs = ",".join(
            (
                f"cri:{folder}/pods/*/*/*.log*",
                f"docker:{folder}/containers/*/*-json.log*",
                f"plain:{folder}/programs/*.log*",
            )
        )
        """As the shipper has to know them."""
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Begin to write."""
        self._over.clear()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self._thread.start()

    def _write(self) -> None:
        while not self._over.wait(PAUSE_SECONDS):
            for log in self.logs:
                log.step()

    def end(self) -> dict[str, int]:
        """Write what is under way to its end, and give the number of lines of each writer."""
        self._over.set()
        assert self._thread
        self._thread.join()
        for log in self.logs:
            log.settle()
        return {log.name: log.count for log in self.logs}

    def prune(self) -> None:
        """Remove what was rotated: all of it has arrived."""
        for log in self.logs:
            log.prune()
