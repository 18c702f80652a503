"""What the tests of the tool share: a cluster of files, and sites."""

import fcntl
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jld_k8s.cluster import Cluster
from jld_k8s.site import Site, make


class FakeCluster(Cluster):
    """A cluster whose objects are in a file.

    Attributes:
        state: the file.
    """

    def __init__(self, folder: Path) -> None:
        """Make a program that stands for kubectl."""
        self.state = folder / "cluster.json"
        self.state.write_text(json.dumps({"objects": {}, "version": 0, "log": [], "refused": ""}))
        program = folder / "kubectl"
        fake = shlex.quote(str(Path(__file__).with_name("fake_kubectl.py")))
        program.write_text(
            f'#!/bin/sh\nFAKE_CLUSTER={shlex.quote(str(self.state))} exec {sys.executable} {fake} "$@"\n'
        )
        program.chmod(0o755)
        super().__init__(str(program))

    def read_state(self) -> dict[str, Any]:
        """Read the file while no command writes it."""
        with self.state.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            found: dict[str, Any] = json.load(file)
            return found

    @property
    def objects(self) -> dict[str, Any]:
        """All objects, by kind, namespace and name."""
        found: dict[str, Any] = self.read_state()["objects"]
        return found

    @property
    def commands(self) -> list[list[str]]:
        """All commands, in order."""
        found: list[list[str]] = self.read_state()["log"]
        return found

    def refuse(self, command: str) -> None:
        """Refuse the commands that begin so, options left out."""
        self.state.write_text(json.dumps(self.read_state() | {"refused": command}))


@pytest.fixture
def cluster(tmp_path: Path) -> FakeCluster:
    """Make an empty cluster."""
    return FakeCluster(tmp_path)


@pytest.fixture
def site(tmp_path: Path) -> Callable[..., Site]:
    """Give what makes a site: of an overlay, with settings and files of secrets."""

    def made(overlay: str, settings: str = "", **secrets: str) -> Site:
        found = make(f"try-{overlay}", overlay, tmp_path)
        (found.folder / "site.env").write_text(settings)
        for name, text in secrets.items():
            file = found.secrets / name.replace("__", ".")
            file.write_text(text)
            file.chmod(0o600)
        return Site(found.folder)

    return made
