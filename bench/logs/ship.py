"""From a file of CRI lines to a counting server of Elastic's protocol library, over mutual TLS: ours beside Filebeat.

Each run is a shipper of its own with an empty state: from its start until the server has counted all events.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from jld_embedded.certificates import Authority, Pair

HERE = Path(__file__).parent
POD = "bench_writer-0_0a1b2c3d-0000-0000-0000-000000000000/writer/0.log"


class Run(NamedTuple):
    """What one run took.

    Attributes:
        rate: events a second, from the start of the shipper until all were counted.
        flow: events a second, from the first window until all were counted.
        cpu: seconds of CPU of the shipper.
        memory: its largest resident set, in MB.
        wire: bytes that it sent for an event, TLS included.
    """

    rate: float
    flow: float
    cpu: float
    memory: float
    wire: float


def write(file: Path, lines: int, size: int) -> None:
    """Write a container's log.

    Args:
        file: where.
        lines: how many.
        size: bytes of a line, with what the runtime puts before the message.
    """
    draw = random.Random(7)
    words = ["request", "response", "member", "lab", "started", "stopped", "home", "kernel", "idle", "in", "of", "ms"]
    # So many that a compressor, which looks back 32 KiB, sees none of them twice.
    texts = [" ".join(draw.choices(words, k=size // 4)) for _ in range(1 + 2**20 // size)]
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as log:
        for number in range(lines):
            head = f"2026-01-02T03:04:{number // 10**6 % 60:02d}.{number % 10**6:06d}000Z stdout F "
            text = f"{head}INFO [{number}] id={draw.getrandbits(64):016x} {texts[number % len(texts)]}"
            log.write(f"{text[: size - 1]}\n")


def ours(folder: Path, pattern: str, port: int, authority: Path, pair: Pair) -> tuple[list[str], dict[str, str]]:
    """Give command and environment of our shipper."""
    return [sys.executable, "-m", "jld_filebeat"], {
        "FILEBEAT_INPUTS": f"cri:{pattern}",
        "FILEBEAT_STATE_DIR": str(folder / "state"),
        "FILEBEAT_COLLECTOR_HOST": "127.0.0.1",
        "FILEBEAT_COLLECTOR_PORT": str(port),
        "FILEBEAT_CA_FILE": str(authority),
        "FILEBEAT_CERTIFICATE_FILE": str(pair.certificate),
        "FILEBEAT_KEY_FILE": str(pair.key),
        "FILEBEAT_HOST": "127.0.0.1",
        "FILEBEAT_PORT": "0",
    }


def elastic(binary: Path, level: int) -> Callable[[Path, str, int, Path, Pair], tuple[list[str], dict[str, str]]]:
    """Give what gives command and environment of Elastic's Filebeat, with a level of compression."""

    def prepare(folder: Path, pattern: str, port: int, authority: Path, pair: Pair) -> tuple[list[str], dict[str, str]]:
        tls = {"certificate_authorities": [str(authority)], "certificate": str(pair.certificate), "key": str(pair.key)}
        output = {"hosts": [f"127.0.0.1:{port}"], "ssl": tls, "compression_level": level}
        settings = {
            "filebeat.inputs": [{"type": "container", "paths": [pattern]}],
            "output.logstash": output,
            "path.home": str(folder),
            "logging.level": "error",
        }
        (folder / "filebeat.yml").write_text(json.dumps(settings))
        return [str(binary), "-c", str(folder / "filebeat.yml"), "--strict.perms=false"], {}

    return prepare


@contextlib.contextmanager
def receiving(binary: Path, authority: Authority, events: int) -> Iterator[subprocess.Popen[str]]:
    """Run the counting server for a while."""
    pair = authority.issue("receiver")
    files = {"-authority": authority.certificate, "-certificate": pair.certificate, "-key": pair.key}
    command = [str(binary), "-events", str(events), *(str(part) for item in files.items() for part in item)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        try:
            yield server
        finally:
            server.kill()


def measure(prepare: Callable[..., tuple[list[str], dict[str, str]]], options: argparse.Namespace, log: Path) -> Run:
    """Have one shipper ship all of it once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        authority = Authority(folder)
        with receiving(options.receiver, authority, options.lines) as server:
            assert server.stdout
            port = int(server.stdout.readline())
            pattern = str(log.parents[2] / "*/*/*.log")
            command, settings = prepare(folder, pattern, port, authority.certificate, authority.issue("shipper"))
            if options.core is not None:
                command = ["taskset", "--cpu-list", str(options.core), *command]
            begin = time.monotonic()
            with (folder / "output").open("w") as output:
                shipper = subprocess.Popen(command, env={"PATH": os.environ["PATH"], **settings}, stdout=output)
            counted = json.loads(server.stdout.readline())
            seconds = time.monotonic() - begin
            shipper.send_signal(signal.SIGTERM)
            _, _, usage = os.wait4(shipper.pid, 0)
            shipper.returncode = 0
    return Run(
        rate=counted["events"] / seconds,
        flow=counted["events"] / counted["seconds"],
        cpu=usage.ru_utime + usage.ru_stime,
        memory=usage.ru_maxrss / 1000,
        wire=counted["wire"] / counted["events"],
    )


def main() -> None:
    """Measure in turn, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--receiver", type=Path, required=True, help="the counting server, built from receiver/")
    parser.add_argument("--filebeat", type=Path, help="Elastic's Filebeat, to compare with")
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=256, help="bytes of a line")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--core", type=int, help="the one core that a shipper may use; all when unset")
    parser.add_argument("--json", type=Path, help="file for all figures")
    options = parser.parse_args()
    shippers: dict[str, Callable[..., tuple[list[str], dict[str, str]]]] = {"ours": ours}
    if options.filebeat:
        shippers |= {"Filebeat": elastic(options.filebeat, 3), "Filebeat, level 1": elastic(options.filebeat, 1)}
    runs: dict[str, list[Run]] = {name: [] for name in shippers}
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / POD
        write(log, options.lines, options.size)
        for _ in range(options.runs):
            for name, prepare in shippers.items():
                runs[name].append(measure(prepare, options, log))
    print("| | " + " | ".join(Run._fields) + " |\n|---|" + "---|" * len(Run._fields))
    for name, figures in runs.items():
        cells = [
            f"{statistics.median(values):,.1f} ({min(values):,.1f} to {max(values):,.1f})"
            for values in zip(*figures, strict=True)
        ]
        print(f"| {name} | " + " | ".join(cells) + " |")
    if options.json:
        options.json.write_text(json.dumps({name: [run._asdict() for run in found] for name, found in runs.items()}))


if __name__ == "__main__":
    main()
