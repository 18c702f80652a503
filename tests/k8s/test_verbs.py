"""The tool's verbs as they are called."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.kubectl


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
    ended = subprocess.run(
        [sys.executable, "-m", "jld_k8s", *words],
        env={**os.environ, "K8S_KUBECTL": cluster.kubectl, "K8S_SITES": str(tmp_path)},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 69
    assert ended.stderr == "jld_k8s: kubectl get --raw=/readyz: Error from server (Forbidden)\n"
    assert cluster.commands == [["--request-timeout=30s", "get", "--raw=/readyz"]]
