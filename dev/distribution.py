#!/usr/bin/env python3
"""Install nginx and RabbitMQ from the distribution where they are missing, with their own services off.

For root on Debian and Ubuntu; elsewhere, and where `NO_APT` is set, nothing is done: `make up` says what is less
without them. Standard library only, as it runs before anything is installed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterator  # noqa: UP035 - Python 3.8 must be able to read this

from dev.bootstrap import SetupError, call, say

PROGRAMS = {"nginx": "nginx", "rabbitmq-server": "rabbitmq-server"}
"""A program, and the package of Debian and Ubuntu that has it."""

POLICY = Path("/usr/sbin/policy-rc.d")
"""What a package's installation asks before it starts a service (Debian Policy, section 9.3.3.1)."""

DENIED = 101
"""How that program answers no."""

NOTHING = f"#!/bin/sh\n# Written by jupyterlabdemo while it installs packages.\nexit {DENIED}\n"
"""A policy by which nothing starts."""

ENABLED = Path("/etc/systemd/system")
"""Where links make systemd start units (systemd.unit(5))."""

UNITS = ("/lib/systemd/system/", "/usr/lib/systemd/system/")

APT = ("apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120", "-o", "Dpkg::Use-Pty=0")


def missing() -> list[str]:
    """List the packages whose programs are not there."""
    searched = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/bin"
    return [package for program, package in PROGRAMS.items() if not shutil.which(program, path=searched)]


def installed() -> set[str]:
    """List the packages that are installed."""
    listed = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${db:Status-Abbrev} ${binary:Package}\n"],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    return {line.split()[1] for line in listed.stdout.splitlines() if line.startswith("ii")}


@contextlib.contextmanager
def nothing_starts() -> Iterator[None]:
    """Keep packages from starting their services while they are installed.

    Raises:
        SetupError: where this machine has a policy of its own that lets services start.
    """
    if POLICY.exists() and POLICY.read_text(errors="replace") != NOTHING:
        answer = subprocess.run([str(POLICY), "nginx", "start"], capture_output=True, check=False)  # noqa: S603
        if answer.returncode != DENIED:
            raise SetupError(f"{POLICY} of this machine lets services start")
        yield
        return
    # One of our own is of a run that was killed.
    POLICY.write_text(NOTHING)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()


def switch_off(packages: set[str]) -> None:
    """Keep the services of packages from starting with the machine."""
    listed = subprocess.run(  # noqa: S603 - dpkg's own
        ["dpkg-query", "--listfiles", *sorted(packages)],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    for file in map(Path, listed.stdout.splitlines()):
        if str(file).startswith(UNITS):
            # What `systemctl disable` does, which smaller machines lack; Debian's helper, which made the links, takes
            # their absence for the administrator's will.
            for link in ENABLED.glob("*.wants/*"):
                if link.name == file.name:
                    link.unlink()
        elif file.parent == Path("/etc/init.d"):
            call(["update-rc.d", file.name, "disable"])


def install(packages: list[str]) -> None:
    """Install packages.

    Raises:
        SetupError: where that fails.
    """
    before = installed()
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    with nothing_starts():
        try:
            call([*APT, "update"])
            call([*APT, "install", "--yes", "--no-install-recommends", *packages])
        finally:
            if fresh := installed() - before:
                switch_off(fresh)


def main() -> int:
    """Install what is missing, where that may be done."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    packages = missing()
    allowed = os.geteuid() == 0 and not os.environ.get("NO_APT") and shutil.which("apt-get")
    if not packages or not allowed:
        return 0
    begun = time.monotonic()
    say(f"{', '.join(packages)} from the distribution, their own services off (NO_APT=1 forbids it) ...")
    try:
        install(packages)
    except (SetupError, OSError, subprocess.CalledProcessError) as error:
        say(f"\n{', '.join(packages)} could not be installed: {error}; going on without\n")
        return 0
    except KeyboardInterrupt:
        say("\ninterrupted\n")
        return 130
    say(f" {time.monotonic() - begun:.1f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
