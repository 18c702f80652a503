"""What this machine has of what the stack can use: programs of the distribution, and users to run them as."""

import os
import pwd
import shutil
from pathlib import Path

USERS = {"nginx": ("www-data", "nginx", "nobody"), "broker": ("rabbitmq",)}
"""Whose rights a service gets, best first; the packages of the distributions make the first ones."""


def find(program: str) -> Path | None:
    """Find a program; an ordinary user's PATH leaves out the folder where Debian has nginx and rabbitmq-server."""
    found = shutil.which(program, path=f"{os.defpath}:/usr/sbin:/usr/local/sbin:/usr/local/bin")
    return Path(found) if found else None


def user(service: str) -> str:
    """Name who is to run a service, where root starts the stack; else it is who starts it, and the name is empty."""
    if os.geteuid() != 0:
        return ""
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next((name for name in USERS.get(service, ()) if name in known), "")
