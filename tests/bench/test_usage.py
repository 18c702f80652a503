"""What `make bench-logs` cannot do is refused."""

import os
import subprocess
import sys

from dev.configuration import ROOT


def test_no_runs() -> None:
    """No run at all would make an empty table: it is refused with what would be right."""
    done = subprocess.run(
        [sys.executable, "bench/logs", "--runs", "0"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--runs 0: should be 1 or more" in done.stderr
