"""The tool's verbs as they are called."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kubectl


def called(folder: Path, words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Call a verb, with sites in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "jld_k8s", *words],
        env={**os.environ, "K8S_SITES": str(folder), **environment},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["logs"],
        ["rollback"],
        ["backup", "copy"],
        ["restore", "demo", "copy", "--confirm", "demo"],
        ["delete", "demo", "--confirm", "demo"],
    ],
    ids=lambda words: str(words[0]),
)
def test_a_server_that_does_not_answer(tmp_path: Path, cluster: Any, words: list[str]) -> None:
    """A verb that needs the cluster asks first, in bounded time, whether that answers; if not, one line says so."""
    cluster.refuse("get")
    ended = called(tmp_path, words, K8S_KUBECTL=cluster.kubectl)
    assert ended.returncode == 69
    assert ended.stderr == "jld_k8s: kubectl get --raw=/readyz: Error from server (Forbidden)\n"
    assert cluster.commands == [["--request-timeout=30s", "get", "--raw=/readyz"]]


@pytest.mark.parametrize("printed", ["", "word", "[]", "{}"])
@pytest.mark.parametrize(
    "words",
    [["status"], ["backup", "copy"], ["render", "demo"], ["deploy", "demo"]],
    ids=lambda words: str(words[0]),
)
def test_a_kubectl_that_is_none(tmp_path: Path, words: list[str], printed: str) -> None:
    """A program that does not print what kubectl prints is named on one line."""
    program = tmp_path / "kubectl"
    program.write_text(f"#!/bin/sh\nprintf %s '{printed}'\n")
    program.chmod(0o755)
    ended = called(tmp_path, words, K8S_KUBECTL=str(program))
    assert ended.returncode == 78
    last = ended.stderr.splitlines()[-1]
    assert last.startswith(f"jld_k8s: K8S_KUBECTL={program}: kubectl, which does not print"), ended.stderr


@pytest.mark.parametrize(
    ("named", "told"),
    [("/none/a:/none/b", "KUBECONFIG=/none/a:/none/b: a file that is"), ("", "KUBECONFIG=: the file that")],
)
def test_no_file_names_the_cluster(tmp_path: Path, named: str, told: str) -> None:
    """Where no file names a cluster that is what is wrong, and no server that nobody has named."""
    ended = called(tmp_path, ["status"], KUBECONFIG=named, HOME=str(tmp_path), KUBERNETES_SERVICE_HOST="")
    assert ended.returncode == 69
    assert ended.stderr.startswith(f"jld_k8s: {told}")
    assert ended.stderr.count("\n") == 1
