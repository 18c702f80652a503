"""What a test does where the machine lacks something that it needs."""

import os
from typing import NoReturn

import pytest


def lacks(reason: str) -> NoReturn:
    """Skip the test that runs; in CI, where all must run, fail it."""
    if not os.environ.get("CI"):
        pytest.skip(reason)
    pytest.fail(f"cannot run in CI: {reason}", pytrace=False)
