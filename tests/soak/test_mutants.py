"""The proof of no loss is proved itself: shipper and collector are broken on purpose, and it has to find that."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[1] / "support"


@pytest.mark.root
@pytest.mark.rabbitmq
@pytest.mark.parametrize(
    ("mutant", "disturbances", "seed"),
    [
        ("acknowledge-before-write", "fill-collector,kill-collector", 48),
        ("acknowledge-before-sync", "alarm-broker,power-collector", 48),
        ("register-before-acknowledgement", "pause-collector,kill-shipper", 376),
        ("forget-before-confirmation", "reject-broker,kill-collector", 376),
    ],
)
def test_finds_the_loss(tmp_path: Path, mutant: str, disturbances: str, seed: int) -> None:
    """A part that promises too early loses lines, and the rounds end with their numbers.

    With these seeds the second disturbance comes well within the first one, in the first rounds.
    """
    words = [
        "--mutant",
        mutant,
        "--only",
        disturbances,
        "--seed",
        str(seed),
        "--rounds",
        "6",
        "--folder",
        str(tmp_path),
    ]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "soak", *words],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SUPPORT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert " lost " in done.stdout, done.stdout + done.stderr
    assert f"seed {seed}" in done.stdout
    (kept,) = tmp_path.iterdir()
    assert (kept / "collector.at-the-end/state/cursor").exists()
    assert (kept / "shipper.at-the-end/state/registry.json").exists()
