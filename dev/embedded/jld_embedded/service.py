"""One service of the stack: what it is, and where it says how it is."""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

HOST = "127.0.0.1"
"""Embedded is for one's own machine: nothing listens elsewhere."""

MARKER = "JLD_STATE"
"""Every process of a stack has this variable; its value is the stack's state folder."""

VENV = Path(sys.prefix).resolve()
"""This environment, without the links of a checkout that labs may be unable to enter."""


class Probe(NamedTuple):
    """A question to a service.

    Attributes:
        port: where it is asked, at 127.0.0.1.
        path: what answers 200; where it is empty, to take the connection is the answer.
        token: file of a token that the answer takes.
    """

    port: int
    path: str = ""
    token: Path | None = None


@dataclass(frozen=True)
class Service:
    """One process under supervisord.

    Attributes:
        name: its name everywhere.
        argv: what to execute.
        environment: all its variables, but those of `secrets`.
        health: whether it is alive.
        ready: whether it can take work.
        metrics: where Prometheus would ask.
        secrets: variables for a program that reads no secret from a file, with their files.
        code: folder of the program, whose change is a reason to start it again.
        user: whose rights it runs with where root starts the stack; root's where it is empty.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    health: Probe
    ready: Probe
    metrics: Probe
    secrets: Mapping[str, Path] = field(default_factory=dict)
    code: Path | None = None
    user: str = ""

    def program(self) -> str:
        """Say all that makes the process what it is, as JSON; another text is another process."""
        return json.dumps(
            {
                "argv": self.argv,
                "environment": dict(self.environment),
                "secrets": {name: str(file) for name, file in self.secrets.items()},
                "code": digest(self.code) if self.code else "",
                "user": self.user,
            },
            sort_keys=True,
            indent=1,
        )


def digest(folder: Path) -> str:
    """Digest the files of a folder, but bytecode."""
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()
