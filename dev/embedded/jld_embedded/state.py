"""The state folder: homes, databases, logs, secrets, and a link to a short path for sockets."""

import contextlib
import fcntl
import os
import pwd
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from .errors import StateError

SECRETS = (
    *("proxy_token", "cookie_secret", "crypt_key", "fileserver_token", "standin_client_secret"),
    *("metrics_token", "publisher_password", "reader_password"),
)
"""Made at the first start: 64 hexadecimal digits each."""

UNFIT = "?%*[],"
"""What a path of the state cannot have."""


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
        self.certificates = self.secrets / "certificates"
        self.given = root / "given"
        self.events = root / "events.log"
        self.config = root / "supervisord.conf"

    def make_root(self) -> None:
        """Make the folder, where it is missing; the lock is in it.

        Raises:
            StateError: where the hub's database cannot be named, or labs, which run as other users when root
                starts them, could not enter it.
        """
        if set(UNFIT) & set(str(self.root)):
            raise StateError(
                f"EMBEDDED_STATE={self.root}: a path without any of {UNFIT}, which mean something in the address of a"
                " database or a pattern of names"
            )
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
        for folder in (self.hub, self.programs, self.log):
            own(folder)
        for folder in (self.export, self.export / "keepalive", self.log / "labs"):
            folder.mkdir(exist_ok=True)
        self.make_secrets()

    def make_secrets(self) -> None:
        """Make the secrets that are missing."""
        for folder in (self.secrets, self.certificates):
            own(folder)
        for name in SECRETS:
            if not self.secret(name).exists():
                self.keep_secret(name, secrets.token_hex(32))

    def secret(self, name: str) -> Path:
        """Name the file of a secret."""
        return self.secrets / name

    def keep_secret(self, name: str, value: str) -> None:
        """Write a secret that only its owner can read, whole or not at all."""
        write(self.secret(name), value.encode())

    def give(self, service: str, user: str, files: Iterable[Path]) -> Path:
        """Copy files for a service that runs with other rights and cannot enter the folder of secrets.

        Args:
            service: whose they are.
            user: who runs it; empty where that is who starts the stack.
            files: what to copy; a copy that is the user's and like its original stays as it is.

        Returns:
            The folder of the copies.
        """
        folder = self.given / service
        folder.mkdir(parents=True, exist_ok=True)
        uid = pwd.getpwnam(user).pw_uid if user else os.geteuid()
        for source in files:
            content = source.read_bytes()
            copy = folder / source.name
            if not copy.exists() or copy.stat().st_uid != uid or copy.read_bytes() != content:
                write(copy, content, user)
        return folder

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
        # Closed to others: who can open it can hold it, and members can pass this folder.
        with os.fdopen(os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)) as lock:
            os.fchmod(lock.fileno(), 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                sys.stdout.write(f"another make up or make down is at work in {self.root}: waiting for it\n")
                sys.stdout.flush()
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def write(path: Path, content: bytes, user: str = "") -> None:
    """Write a file that only its owner can read, whole or not at all.

    Args:
        path: the file.
        content: what it is to hold.
        user: the owner; empty for who runs this.
    """
    aside = path.with_name(f".{path.name}")
    aside.unlink(missing_ok=True)
    with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        if user:
            entry = pwd.getpwnam(user)
            os.fchown(file.fileno(), entry.pw_uid, entry.pw_gid)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def own(folder: Path, user: str = "") -> None:
    """Make a folder that only its owner can enter.

    Args:
        folder: the folder.
        user: the owner; empty for who runs this.
    """
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    if user:
        shutil.chown(folder, user, pwd.getpwnam(user).pw_gid)
