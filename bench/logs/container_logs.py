"""Logs of containers as a kubelet's runtime writes them (CRI)."""

import random
from pathlib import Path

WORDS = ("request", "response", "member", "lab", "started", "stopped", "home", "kernel", "idle", "in", "of", "ms")


def write(folder: Path, lines: int, size: int, files: int = 1) -> str:
    """Write logs, and give a glob that finds them.

    Args:
        folder: where.
        lines: how many, in all files together.
        size: bytes of a line, with what the runtime puts before the message.
        files: how many.
    """
    draw = random.Random(7)
    # So many that a compressor, which looks back 32 KiB, sees none of them twice.
    texts = [" ".join(draw.choices(WORDS, k=size // 4)) for _ in range(1 + 2**20 // size)]
    for number in range(files):
        with path(folder, number).open("w") as log:
            for line in range(number, lines, files):
                head = f"2026-01-02T03:04:{line // 10**6 % 60:02d}.{line % 10**6:06d}000Z stdout F "
                text = f"{head}INFO [{line}] id={draw.getrandbits(64):016x} {texts[line % len(texts)]}"
                log.write(f"{text[: size - 1]}\n")
    return str(folder / "*/*/*.log")


def path(folder: Path, number: int) -> Path:
    """Name the log of a container, and make its folder."""
    found = folder / f"bench_writer-{number}_0a1b2c3d-0000-0000-0000-{number:012d}/writer/0.log"
    found.parent.mkdir(parents=True, exist_ok=True)
    return found
