"""Programs of the distribution that would start a service when installed: their packages are only unpacked."""

import re
from pathlib import Path

from .cache import call, once, require

SYSLOG_NG = ("syslog-ng-core", "syslog-ng-mod-amqp")


def syslog_ng() -> Path:
    """Give the folder that Debian's syslog-ng, its destination for AMQP, and what they need are unpacked in.

    Raises:
        PeerError: they are not there, and cannot be fetched.
    """
    require("apt-get", "Debian or Ubuntu")
    version = re.search(r"Candidate: (\S+)", call(["env", "LC_ALL=C", "apt-cache", "policy", SYSLOG_NG[0]], Path("/")))
    return once(f"syslog-ng-{version[1] if version else 'none'}", _unpack)


def _unpack(aside: Path) -> None:
    simulated = call(["apt-get", "install", "--simulate", "--no-install-recommends", *SYSLOG_NG], aside)
    needed = re.findall(r"^Inst (\S+)", simulated, re.MULTILINE)
    call(["apt-get", "download", "--quiet", *(needed or SYSLOG_NG)], aside)
    for package in aside.glob("*.deb"):
        call(["dpkg", "--extract", package, aside], aside)
        package.unlink()
