"""How each shipper is started."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from jld_embedded.certificates import Authority
from measured import Command


class Target(NamedTuple):
    """Where to ship: a port on 127.0.0.1, and the authority of both sides' certificates."""

    port: int
    authority: Authority


PROMPT = "10ms"
"""Filebeat's pause at the end of a file, where lines shall not wait; it is 1 s up to 10 s by default."""

Shipper = Callable[[Path, str, Target], Command]
"""Gives what ships the files that match a glob, with its state in a folder."""


def ours(folder: Path, pattern: str, target: Target) -> Command:
    """Give our shipper, with its defaults."""
    pair = target.authority.issue("shipper")
    settings = {
        "FILEBEAT_INPUTS": f"cri:{pattern}",
        "FILEBEAT_STATE_DIR": str(folder / "state"),
        "FILEBEAT_COLLECTOR_HOST": "127.0.0.1",
        "FILEBEAT_COLLECTOR_PORT": str(target.port),
        "FILEBEAT_CA_FILE": str(target.authority.certificate),
        "FILEBEAT_CERTIFICATE_FILE": str(pair.certificate),
        "FILEBEAT_KEY_FILE": str(pair.key),
        "FILEBEAT_HOST": "127.0.0.1",
        "FILEBEAT_PORT": "0",
    }
    return Command([sys.executable, "-m", "jld_filebeat"], settings)


def filebeat(binary: Path, **changed: int) -> Shipper:
    """Give Elastic's Filebeat, with its defaults but for what is changed in its output."""

    def shipper(folder: Path, pattern: str, target: Target) -> Command:
        pair = target.authority.issue("shipper")
        tls = {
            "certificate_authorities": [str(target.authority.certificate)],
            "certificate": str(pair.certificate),
            "key": str(pair.key),
        }
        hosts = [f"127.0.0.1:{target.port}"]
        return filebeat_to(binary, folder, pattern, {"output.logstash": {"hosts": hosts, "ssl": tls, **changed}})

    return shipper


def filebeat_to(binary: Path, folder: Path, pattern: str, output: dict[str, Any], *, prompt: bool = False) -> Command:
    """Give Elastic's Filebeat with an output.

    Args:
        binary: the program.
        folder: for its configuration and state.
        pattern: glob of what it ships.
        output: settings of the output.
        prompt: whether it looks for new lines, and hands on what it has, as often as can be.
    """
    lines: dict[str, Any] = {"type": "container", "paths": [pattern]}
    settings = {"path.home": str(folder), "logging.level": "error", **output}
    if prompt:
        lines |= {"backoff": PROMPT, "max_backoff": PROMPT}
        settings["queue.mem.flush.timeout"] = "0s"
    settings["filebeat.inputs"] = [lines]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "filebeat.yml").write_text(json.dumps(settings))
    return Command([str(binary), "-c", str(folder / "filebeat.yml"), "--strict.perms=false"])
