"""What the tests of the embedded stack share."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def folder() -> Iterator[Path]:
    """Give an empty folder that other users can reach, which pytest's own are not."""
    made = Path(tempfile.mkdtemp(prefix="jld-test-", dir="/var/tmp")).resolve()
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)
