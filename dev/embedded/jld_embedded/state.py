"""The state folder: homes, databases, logs, secrets, and a link to a short path for sockets."""

import contextlib
import fcntl
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .errors import StateError

SECRETS = ("proxy_token", "cookie_secret", "crypt_key", "fileserver_token", "standin_client_secret")
"""Made at the first start: 64 hexadecimal digits each."""


class State:
    """The folder of one stack."""

    def __init__(self, root: Path) -> None:
        """Take a resolved path."""
        self.root = root
        self.secrets = root / "secrets"
        self.log = root / "log"
        self.hub = root / "hub"
        self.export = root / "export"
        self.programs = root / "programs"
        self.config = root / "supervisord.conf"

    def make_root(self) -> None:
        """Make the folder, where it is missing; the lock is in it.

        Raises:
            StateError: where the hub's database cannot be named, or labs, which run as other users when root
                starts them, could not enter it.
        """
        if set("?%") & set(str(self.root)):
            raise StateError(f"EMBEDDED_STATE={self.root}: a path without ? and %, which addresses of databases change")
        if os.geteuid() == 0:
            for folder in (*reversed(self.root.parents), self.root):
                if folder.exists() and not folder.stat().st_mode & 0o001:
                    raise StateError(
                        f"EMBEDDED_STATE={self.root}: a folder that other users can reach, as labs run as other users"
                        f" (`chmod o+x {folder}` opens the way)"
                    )
        self.root.mkdir(parents=True, exist_ok=True)

    def make(self) -> None:
        """Make what is in the folder and the secrets, where they are missing."""
        self.make_root()
        for folder, mode in ((self.secrets, 0o700), (self.hub, 0o700), (self.programs, 0o700), (self.log, 0o700)):
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)
        for folder in (self.export, self.export / "keepalive", self.log / "labs"):
            folder.mkdir(exist_ok=True)
        for name in SECRETS:
            if not self.secret(name).exists():
                self.keep_secret(name, secrets.token_hex(32))

    def secret(self, name: str) -> Path:
        """Name the file of a secret."""
        return self.secrets / name

    def keep_secret(self, name: str, value: str) -> Path:
        """Write a secret that only its owner can read, whole or not at all."""
        aside = self.secrets / f".{name}"
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(value)
            file.flush()
            os.fsync(file.fileno())
        return aside.replace(self.secret(name))

    def run(self) -> Path | None:
        """Find the folder of sockets of a start; None when there is none, or one that is not ours any more."""
        link = self.root / "run"
        try:
            folder = link.readlink()
            entry = folder.lstat()
        except OSError:
            return None
        return folder if folder.is_dir() and not folder.is_symlink() and entry.st_uid == os.geteuid() else None

    def make_run(self) -> Path:
        """Make a new folder of sockets: the path of a Unix socket holds 107 bytes, and the state may be deep."""
        self.remove_run()
        folder = Path(tempfile.mkdtemp(prefix="jld-", dir="/tmp"))
        folder.chmod(0o711)
        (self.root / "run").symlink_to(folder)
        return folder

    def remove_run(self) -> None:
        """Remove the folder of sockets and the link to it."""
        if folder := self.run():
            shutil.rmtree(folder, ignore_errors=True)
        (self.root / "run").unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let one command at a time change the stack."""
        with (self.root / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                sys.stdout.write(f"another make up or make down is at work in {self.root}: waiting for it\n")
                sys.stdout.flush()
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield
