"""What a machine does with the mounted export: `guest.py CHECK ARGUMENT…`; figures are one line of JSON.

It runs as root, and acts as a member in a child process that has the member's ids.
"""

# ruff: noqa: PT017, T201, PTH208 - no test, but a program that prints; a path for each of many names would take long
import contextlib
import errno
import fcntl
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

EXPORT = Path("/mnt")

MEGABYTE = 2**20


def as_member(uid: int, gids: list[int], action: Callable[[], None]) -> None:
    """Act with the ids of a member, and see that it succeeds."""

    def become_and_act() -> None:
        os.setgroups(gids)
        os.setgid(uid)
        os.setuid(uid)
        os.umask(0o022)
        action()

    _in_child(become_and_act)


def _in_child(*actions: Callable[[], None]) -> None:
    """Do things at once, in a process each, and see that they succeed."""
    children = [_fork(action) for action in actions]
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * len(children)


def _fork(action: Callable[[], None]) -> int:
    child = os.fork()
    if not child:
        status = 1
        try:
            action()
            status = 0
        except BaseException:  # noqa: BLE001 told by the status
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return child


@contextlib.contextmanager
def refused(*numbers: int) -> Iterator[None]:
    """See that an action is refused."""
    try:
        yield
    except OSError as error:
        assert error.errno in (numbers or (errno.EACCES, errno.EPERM)), error
    else:
        raise AssertionError("was not refused")


def owner(uid: int, other: int, gid: int) -> None:
    """A member uses his home; nobody else gets in, root included."""
    home = EXPORT / "homes" / str(uid)

    def use() -> None:
        (home / "a").write_text("mine")
        (home / "a").rename(home / "b")
        (home / "b").chmod(0o600)
        os.utime(home / "b", (1, 1))
        os.link(home / "b", home / "hard")
        (home / "link").symlink_to("b")
        os.mkfifo(home / "pipe")
        (home / "folder").mkdir()
        (home / "folder" / "c").write_text("c")
        os.truncate(home / "b", 3)
        os.chown(home / "hard", -1, gid)
        assert (home / "link").read_text() == "min"

    def intrude() -> None:
        with refused():
            (home / "b").read_text()
        with refused():
            (home / "new").write_text("")
        with refused():
            (EXPORT / "homes" / "new").mkdir()
        with refused():
            list(home.iterdir())

    as_member(uid, [gid], use)
    as_member(other, [gid], intrude)
    intrude()
    with refused():
        os.chown(home, 0, 0)
    with refused():
        (EXPORT / "by-root").write_text("")


def group(gid: int, member: int, fellow: int, stranger: int) -> None:
    """Members of an organization share its folder, whose files stay the organization's; others are kept out."""
    folder = EXPORT / "groups" / str(gid)

    def write() -> None:
        os.umask(0o002)
        (folder / "plan").write_text("one")
        (folder / "sub").mkdir()
        (folder / "sub").chmod(0o2775)
        (folder / "sub" / "deep").write_text("deep")

    def go_on() -> None:
        with (folder / "plan").open("a") as plan:
            plan.write(" two")
        (folder / "sub" / "mine").write_text("")

    def intrude() -> None:
        with refused():
            (folder / "plan").read_text()

    as_member(member, [gid], write)
    as_member(fellow, [gid], go_on)
    as_member(stranger, [], intrude)
    intrude()


def groups(uid: int, first: int, number: int) -> None:
    """All of a member's organizations count."""
    gids = list(range(first, first + number))

    def write() -> None:
        (EXPORT / "homes" / str(uid) / "own").write_text("")
        for gid in gids:
            (EXPORT / "groups" / str(gid) / "file").write_text(str(gid))

    as_member(uid, gids, write)


def write_through(uid: int, seconds: float) -> None:
    """Write and sync records for a time, hold a lock all the while, and read all back."""
    home = EXPORT / "homes" / str(uid)

    def write() -> None:
        with (home / "locked").open("w") as locked, (home / "records").open("wb") as records:
            fcntl.lockf(locked, fcntl.LOCK_EX | fcntl.LOCK_NB)
            began = last = time.monotonic()
            longest, number = 0.0, 0
            # Goes on for a while after the interruption.
            while time.monotonic() - began < seconds or (longest < 1 and time.monotonic() - began < 5 * seconds):
                records.write(_record(number))
                records.flush()
                os.fsync(records.fileno())
                now = time.monotonic()
                longest, last, number = max(longest, now - last), now, number + 1
            (home / "done").write_text(json.dumps({"records": number, "longest": longest}))
            _pass_gate(home)

    as_member(uid, [], write)


def _record(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest() * 1024


def _pass_gate(home: Path) -> None:
    """Wait until the file's lock is given up on the server's own machine, and keep it: no cache tells that too late."""
    gate = os.open(home / "gate", os.O_RDWR)
    deadline = time.monotonic() + 40
    while True:
        try:
            fcntl.lockf(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            assert time.monotonic() < deadline, "the lock is never given up"
            time.sleep(0.1)
        else:
            return


def locks(uid: int) -> None:
    """Locks of two processes exclude each other, and so do those of the server's own machine."""
    home = EXPORT / "homes" / str(uid)

    def compete() -> None:
        with (home / "gate").open("r+") as gate, refused(errno.EAGAIN):
            fcntl.lockf(gate, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def use() -> None:
        compete()
        (home / "asked").write_text("")
        _pass_gate(home)
        _in_child(compete)

    as_member(uid, [], use)


def database(uid: int) -> None:
    """SQLite works, also with two processes that write to one database."""
    home = EXPORT / "homes" / str(uid)

    def count() -> None:
        with contextlib.closing(sqlite3.connect(home / "db", timeout=60)) as connection:
            for _ in range(10):
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    connection.execute("UPDATE counter SET n = n + 1")

    def use() -> None:
        with contextlib.closing(sqlite3.connect(home / "db")) as connection, connection:
            connection.execute("CREATE TABLE counter (n)")
            connection.execute("INSERT INTO counter VALUES (0)")
        _in_child(count, count)
        with contextlib.closing(sqlite3.connect(home / "db")) as connection:
            assert connection.execute("SELECT n FROM counter").fetchone() == (20,)
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    as_member(uid, [], use)


def big_file(uid: int, size: int, middle: int, digest: str) -> None:
    """Write on both sides of 2 GiB, at the end of a file that is larger, and read what others wrote in it."""
    home = EXPORT / "homes" / str(uid)
    block = hashlib.sha256(b"block").digest() * (MEGABYTE // 32)

    def use() -> None:
        with (home / "big").open("r+b") as file:
            begin = time.monotonic()
            file.seek(size)
            for _ in range(128):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
            written = time.monotonic() - begin
            begin = time.monotonic()
            file.seek(middle)
            assert hashlib.sha256(file.read(64 * MEGABYTE)).hexdigest() == digest
            read = time.monotonic() - begin
        print(json.dumps({"write": 128 / written, "read": 64 / read}))

    as_member(uid, [], use)


def names(uid: int, number: int) -> None:
    """A folder of many files is listed right, and names are bytes that pass as they are."""
    home = EXPORT / "homes" / str(uid)

    def use() -> None:
        begin = time.monotonic()
        found = os.listdir(home / "many")
        seconds = time.monotonic() - begin
        assert len(found) == len(set(found)) == number
        for name in found[::100]:
            (home / "many" / name).unlink()
        assert len(os.listdir(home / "many")) == number - len(found[::100])
        for name in ("Grüße", "星の地図.ipynb", "e\u0301", "\u00e9", "🔭", "a b'c\"d\\e\n"):
            (home / name).write_text(name)
            assert name in os.listdir(home)
        print(json.dumps({"seconds": seconds}))

    as_member(uid, [], use)


def see_at_once(uid: int, new: int) -> None:
    """List the homes; then another one, made behind the server's back, is there as soon as it is asked for."""
    homes = EXPORT / "homes"
    assert str(new) not in os.listdir(homes)

    def wait() -> None:
        (homes / str(uid) / "asked").write_text("")
        _pass_gate(homes / str(uid))

    as_member(uid, [], wait)
    as_member(new, [], (homes / str(new) / "file").touch)


def subpath(uid: int) -> None:
    """What a kubelet does for a subPath: walk without following links, bind-mount what was found; a member writes."""
    target = Path("/target")
    target.mkdir()
    folder = os.open(EXPORT, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY)
    for part in ("homes", str(uid)):
        inner = os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=folder)
        os.close(folder)
        folder = inner
    subprocess.run(
        ["mount", "--no-canonicalize", "--bind", f"/proc/{os.getpid()}/fd/{folder}", str(target)], check=True
    )
    os.close(folder)
    as_member(uid, [], (target / "notebook").touch)
    with refused():
        (target / "by-root").write_text("")
    subprocess.run(["umount", str(target)], check=True)


if __name__ == "__main__":
    check: Callable[..., None] = {f.__name__: f for f in (
        owner, group, groups, write_through, locks, database, big_file, names, see_at_once, subpath,
    )}[sys.argv[1]]  # fmt: skip
    check(*(int(word) if word.isdecimal() else word for word in sys.argv[2:]))
