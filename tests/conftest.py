"""What every suite shares: tests that need something of the machine say so, and say it at the end."""

import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lacking import lacks
from postgresql import programs

# At the end, so that no folder of the checkout hides a package.
sys.path.append(str(Path(__file__).parents[1]))

SEARCHED = f"{os.environ['PATH']}:/usr/sbin"
"""Where programs of the distribution are; an ordinary user's PATH leaves /usr/sbin out."""


def _no_engine() -> str | None:
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "version"], capture_output=True, check=False).returncode == 0:
        return None
    return "needs a Docker engine"


def _no_strace() -> str | None:
    strace = shutil.which("strace")
    if not strace:
        return "needs strace (Debian package: strace)"
    command = [strace, "-f", "-o", "/dev/null", "true"]
    if subprocess.run(command, capture_output=True, check=False).returncode == 0:
        return None
    return "needs the right to trace a process"


def _no_elastic() -> str | None:
    from dev.peers import elastic_is_missing  # noqa: PLC0415 - where it is was said above

    return elastic_is_missing()


MISSING: dict[str, Callable[[], str | None]] = {
    "registry": lambda: (
        None if shutil.which("docker-registry") else "needs docker-registry (Debian package: docker-registry)"
    ),
    "root": lambda: None if os.geteuid() == 0 else "needs root",
    "browser": lambda: None if shutil.which("chromium") else "needs Chromium (Debian package: chromium)",
    "nginx": lambda: None if shutil.which("nginx", path=SEARCHED) else "needs nginx (Debian package: nginx)",
    "rabbitmq": lambda: (
        None if shutil.which("rabbitmq-server", path=SEARCHED) else "needs RabbitMQ (Debian package: rabbitmq-server)"
    ),
    "docker": _no_engine,
    "kubectl": lambda: None if shutil.which("kubectl") else "needs kubectl",
    "postgresql": lambda: None if programs() else "needs PostgreSQL (Debian package: postgresql)",
    "promtool": lambda: None if shutil.which("promtool") else "needs promtool (Debian package: prometheus)",
    "strace": functools.cache(_no_strace),
    "elastic": functools.cache(_no_elastic),
}


def pytest_configure() -> None:
    """Let what the tests start be interrupted: a shell has what it runs in the background ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose marker names what is missing here; in CI, where all must run, fail it."""
    for marker, reason_if_missing in MISSING.items():
        if item.get_closest_marker(marker) and (reason := reason_if_missing()):
            lacks(reason)
