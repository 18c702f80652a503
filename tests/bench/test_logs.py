"""The comparison of logs prints its tables and keeps its figures; whose are better is not asked here."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dev import peers

ROOT = Path(__file__).parents[2]

SIDES = ["ours", "Filebeat", "Filebeat, compression at level 1"]
COLUMNS = ["events/s", "events/s from the first window on", "CPU s", "peak MB", "bytes on the wire an event"]


@pytest.mark.elastic
def test_tables(tmp_path: Path) -> None:
    """Each table has all sides, a figure in each column, the machine and the peers; JSON has the same of each run."""
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "bench/logs", "--cases", "a", "--runs", "2", "--lines", "10000", "--json", figures],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": ".", "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kept = json.loads(figures.read_text())
    assert kept["machine"].keys() >= {"CPU", "cores", "memory", "kernel", "Python", "ours"}
    assert kept["peers"] == {"Filebeat": peers.FILEBEAT}
    assert "; ".join(f"{name}: {value}" for name, value in kept["machine"].items()) in done.stdout
    tables = re.findall(r"^### (.*)\n\n\|  \| (.*) \|\n.*\n((?:\|.*\n)+)", done.stdout, re.MULTILINE)
    assert [title for title, *_ in tables] == list(kept["tables"])
    assert len(tables) == 2
    for title, columns, rows in tables:
        assert columns.split(" | ") == COLUMNS
        cells = [row.strip("| ").split(" | ") for row in rows.splitlines()]
        assert [side for side, *_ in cells] == list(kept["tables"][title]) == SIDES
        assert all(re.match(r"[1-9]|0\.\d*[1-9]", cell) for _, *found in cells for cell in found), rows
        assert all(len(runs) == 2 for runs in kept["tables"][title].values())
    assert list(tmp_path.iterdir()) == [figures]


def test_too_few_lines() -> None:
    """So few lines that they would be counted in no time are refused with what would be right."""
    words = [sys.executable, "bench/logs", "--lines", "9999"]
    environment = os.environ | {"PYTHONPATH": "."}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "bench/logs: error: --lines 9999: should be 10000 or more",
    )
