"""Homes and group folders below the export, keyed by id, each with a link by name beside it.

Everything is reached through descriptors of folders that are opened without following links, so nothing that
somebody puts below the export leads out of it.
"""

import contextlib
import errno
import fcntl
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import InTheWayError, StorageError, StorageFullError

KEEPALIVE = "keepalive"
"""The folder that the keepalive writer writes to."""

KEEPALIVE_ID = 64083
"""Who the keepalive writer is in a container, user and group."""

_FULL = {errno.ENOSPC, errno.EDQUOT}
_IN_THE_WAY = {errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENOTEMPTY, errno.ELOOP}


@dataclass(frozen=True)
class Kind:
    """One of the two kinds of folder.

    Args:
        folders: name of what holds the folders.
        links: name of what holds the links by name.
        mode: mode of a folder as it is made.
        least: bits that a folder that is there must have.
        most: bits that it may have.
    """

    folders: str
    links: str
    mode: int
    least: int
    most: int


HOMES = Kind("homes", "by-login", mode=0o750, least=0o700, most=0o7750)
"""A member may close his home to his group, and set special bits, but a home open to others is refused."""

GROUPS = Kind("groups", "by-organization", mode=0o2770, least=0o2770, most=0o2770)
"""Files in them belong to the organization (setgid); nobody but root can have changed the mode."""


@dataclass(frozen=True)
class Provided:
    """A folder that is there now.

    Args:
        path: where it is.
        link: the link by name that leads to it.
        made: whether this call made it.
    """

    path: Path
    link: Path
    made: bool


class Export:
    """The exported folder.

    Args:
        path: absolute path of the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_root = os.geteuid() == 0
        """Only root can give folders away; others keep what they make."""

    def provide(self, kind: Kind, number: int, name: str) -> Provided:
        """Make the folder of an id unless it is there, and let the name's link, and only that, lead to it.

        Safe against other calls in this and in other processes.

        Args:
            kind: HOMES or GROUPS.
            number: id of the member or organization, checked.
            name: login or organization, checked.

        Raises:
            InTheWayError: something else is where the folder or the link belongs.
            StorageFullError: no space, or no quota.
            StorageError: anything else that the file system refuses.
        """
        try:
            with (
                _locked(self.path) as export,
                # Members pass through on the way to their own folder; there is nothing for them to list.
                self._parent(export, kind.folders, 0o711) as folders,
                self._parent(export, kind.links, 0o700) as links,
            ):
                made = self._ensure_folder(folders, kind, number)
                _ensure_link(links, kind, number, name)
        except OSError as error:
            raise _refusal(error) from error
        return Provided(self.path / kind.folders / str(number), self.path / kind.links / name, made)

    def prepare(self) -> None:
        """Put right the export itself, whatever made it, and the keepalive writer's folder.

        Kubernetes makes volumes that everybody may write to, and makes a folder that is mounted before it is there
        root's. Only root puts owners right.

        Raises:
            StorageError: the file system refuses.
        """
        try:
            with _locked(self.path) as export:
                if _look(export, KEEPALIVE) is None:
                    _make(export, KEEPALIVE, 0o700, self._owner())
                with _opened(KEEPALIVE, export) as folder:
                    if self.is_root:
                        os.fchmod(export, 0o755)
                        os.fchown(folder, KEEPALIVE_ID, KEEPALIVE_ID)
                        os.fchmod(folder, 0o700)
        except OSError as error:
            raise _refusal(error) from error

    def trouble(self) -> str | None:
        """Say why no folder can be made now, None when one can."""
        if not self.path.is_dir():
            return f"{self.path} is not a folder."
        if not os.access(self.path, os.W_OK | os.X_OK):
            return f"{self.path} cannot be written."
        return None

    def _owner(self, kind: Kind | None = None, number: int = 0) -> tuple[int, int]:
        if not self.is_root:
            return os.geteuid(), os.getegid()
        return (number if kind is HOMES else 0), number

    @contextlib.contextmanager
    def _parent(self, export: int, name: str, mode: int) -> Iterator[int]:
        """Open what holds folders or links; make it first unless it is there."""
        if _look(export, name) is None:
            _make(export, name, mode, self._owner())
        with _opened(name, export) as parent:
            yield parent

    def _ensure_folder(self, parent: int, kind: Kind, number: int) -> bool:
        """Make the folder unless it is there, and say whether it was made."""
        found = _look(parent, str(number))
        if found is None:
            _make(parent, str(number), kind.mode, self._owner(kind, number))
            return True
        where = f"{kind.folders}/{number}"
        if not stat.S_ISDIR(found.st_mode):
            raise InTheWayError(f"{where} is not a folder; an operator has to move it away.")
        uid, gid = self._owner(kind, number)
        mode = stat.S_IMODE(found.st_mode)
        if kind is HOMES and found.st_uid == uid:
            # What its member did to his home, by `chmod 755 ~` perhaps, is mended: it must not lock him out.
            mended = (mode | kind.least) & kind.most
            if (found.st_gid, mode) != (gid, mended):
                os.chown(str(number), -1, gid, dir_fd=parent, follow_symlinks=False)
                os.chmod(str(number), mended, dir_fd=parent)
        elif (found.st_uid, found.st_gid) != (uid, gid):
            raise InTheWayError(
                f"{where} belongs to {found.st_uid}:{found.st_gid}, not to {uid}:{gid}; "
                "an operator has to look into that."
            )
        elif mode & kind.least != kind.least or mode & ~kind.most:
            raise InTheWayError(f"{where} has mode {mode:04o}, not {kind.mode:04o}; an operator has to look into that.")
        return False


@contextlib.contextmanager
def _opened(path: str | Path, parent: int | None = None, follow: int = os.O_NOFOLLOW) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | follow, dir_fd=parent)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """Open the export, be it a link or not, and keep all other calls waiting."""
    with _opened(path, follow=0) as export:
        fcntl.flock(export, fcntl.LOCK_EX)
        yield export


def _look(parent: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _make(parent: int, name: str, mode: int, owner: tuple[int, int]) -> None:
    """Make a folder that nobody sees before it is complete, and that survives a power cut."""
    new = f".{name}.new"
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(new, dir_fd=parent)  # left behind by a call that was killed
    os.mkdir(new, 0o700, dir_fd=parent)
    try:
        with _opened(new, parent) as folder:
            os.fchown(folder, *owner)
            os.fchmod(folder, mode)
            os.fsync(folder)
        os.rename(new, name, src_dir_fd=parent, dst_dir_fd=parent)
    except OSError:
        with contextlib.suppress(OSError):
            os.rmdir(new, dir_fd=parent)
        raise
    os.fsync(parent)


def _ensure_link(links: int, kind: Kind, number: int, name: str) -> None:
    """Let the name's link lead to the folder, and remove links by earlier names of the same id.

    The earlier ones go first: a call that is killed in between leaves no link at all, so that the next one
    looks for them again.
    """
    target = f"../{kind.folders}/{number}"
    found = _look(links, name)
    if found is not None:
        leads_to = os.readlink(name, dir_fd=links) if stat.S_ISLNK(found.st_mode) else ""
        if leads_to == target:
            return
        if not re.fullmatch(rf"\.\./{kind.folders}/[0-9]+", leads_to):
            raise InTheWayError(f"{kind.links}/{name} is not a link of ours; an operator has to move it away.")
    with os.scandir(links) as entries:
        earlier = [
            entry.name for entry in entries if entry.is_symlink() and os.readlink(entry.name, dir_fd=links) == target
        ]
    for entry in earlier:
        os.unlink(entry, dir_fd=links)
    new = f".{name}.new"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new, dir_fd=links)  # left behind by a call that was killed
    os.symlink(target, new, dir_fd=links)
    os.rename(new, name, src_dir_fd=links, dst_dir_fd=links)
    os.fsync(links)


def _refusal(error: OSError) -> StorageError | InTheWayError:
    what = f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
    if error.errno in _FULL:
        return StorageFullError(f"The storage is full ({what}).")
    if error.errno in _IN_THE_WAY:
        return InTheWayError(f"Something is in the way ({what}); an operator has to look into that.")
    return StorageError(f"The storage fails ({what}).")
