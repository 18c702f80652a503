"""What the NFS server does for members, with the NFS client of a Linux kernel."""

import datetime as dt
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from stack import until

pytestmark = [pytest.mark.docker, pytest.mark.root]

Tell = Callable[[str], None]

MEMBER, FELLOW, STRANGER = 4242424, 4343434, 4444444

ORGANIZATION = 3050001


@contextmanager
def closed_gate(home: Path) -> Iterator[None]:
    """Hold the lock of a file in a home, as a program on the server's machine."""
    gate = home / "gate"
    gate.touch()
    os.chown(gate, home.stat().st_uid, home.stat().st_gid)
    with gate.open("r+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        yield


def is_locked(path: Path) -> bool:
    """Tell whether somebody holds a lock of a file."""
    with path.open("r+") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_owner(server: Any, machines: Any) -> None:
    """The owner does with his home what he likes; others and root are refused, whatever their groups."""
    home = server.home(MEMBER)
    machines.run("owner", MEMBER, STRANGER, ORGANIZATION)
    written = (home / "b").stat()
    assert (written.st_uid, written.st_gid, written.st_nlink) == (MEMBER, ORGANIZATION, 2)
    assert (home / "b").read_text() == "min"
    assert sorted(path.name for path in home.iterdir()) == ["b", "folder", "hard", "link", "pipe"]
    assert (home / "folder/c").stat().st_uid == MEMBER


def test_group(server: Any, machines: Any) -> None:
    """Members of an organization read and write what is in its folder; everything in it is the organization's."""
    folder = server.group(ORGANIZATION)
    machines.run("group", ORGANIZATION, MEMBER, FELLOW, STRANGER)
    assert (folder / "plan").read_text() == "one two"
    assert (folder / "sub").stat().st_mode & 0o7777 == 0o2775
    assert {path.stat().st_gid for path in folder.rglob("*")} == {ORGANIZATION}
    assert (folder / "sub/mine").stat().st_uid == FELLOW


def test_all_groups(server: Any, machines: Any) -> None:
    """Fifteen organizations count beside the primary group."""
    server.home(MEMBER)
    first, number = ORGANIZATION + 100, 15
    folders = [server.group(gid) for gid in range(first, first + number)]
    machines.run("groups", MEMBER, first, number)
    assert [(folder / "file").read_text() for folder in folders] == [str(first + n) for n in range(number)]


def test_kill(server: Any, machines: Any, tell: Tell) -> None:
    """Killed in the middle of a write, the server is back within a minute, and no synced byte and no lock is lost."""
    home = server.home(MEMBER)
    before = len(server.events())
    with closed_gate(home):
        machine = machines.start("write_through", MEMBER, 8)
        records = home / "records"
        until("records are written", lambda: records.exists() and records.stat().st_size > 2**20, 40)
        killed = server.ganesha()
        os.kill(killed, signal.SIGKILL)
        begin = time.monotonic()
        until("another Ganesha runs", lambda: server.ganesha() not in (0, killed))
        until("the server is ready", server.is_ready)
        back = time.monotonic() - begin
        until("the write goes on to its end", lambda: (home / "done").exists() or not machine.is_running(), 60)
        assert machine.is_running(), machine.result()
        assert is_locked(home / "locked")
    machine.result()
    done = json.loads((home / "done").read_text())
    assert records.read_bytes() == b"".join(
        hashlib.sha256(str(number).encode()).digest() * 1024 for number in range(done["records"])
    )
    assert 1 < done["longest"] < 60
    moments = {event["message"]: dt.datetime.fromisoformat(event["@timestamp"]) for event in server.events()[before:]}
    grace = moments["ganesha: NFS Server Now NOT IN GRACE"] - moments["Ganesha was killed (SIGKILL)"]
    assert grace < dt.timedelta(seconds=60)
    tell(
        f"nfs: killed, ready again after {back:.1f} s, a write in between took {done['longest']:.1f} s, "
        f"new files after {grace.total_seconds():.1f} s"
    )


def test_locks(server: Any, machines: Any) -> None:
    """Locks exclude each other: of two processes, and of a client and a program on the server's machine."""
    home = server.home(MEMBER)
    with closed_gate(home):
        machine = machines.start("locks", MEMBER)
        until("the machine was refused", lambda: (home / "asked").exists() or not machine.is_running(), 40)
    machine.result()


def test_sqlite(server: Any, machines: Any) -> None:
    """Two processes write to one SQLite database, and no change is lost."""
    server.home(MEMBER)
    machines.run("database", MEMBER)


def test_big_file(server: Any, machines: Any, tell: Tell) -> None:
    """A file of more than 2 GiB is read and written on both sides of that mark."""
    home = server.home(MEMBER)
    size, middle = 2**31 - 64 * 2**20, 2**30 + 17
    block = os.urandom(2**20)
    with (home / "big").open("wb") as file:
        for number in range(size // len(block)):
            file.write(number.to_bytes(8) + block[8:])
        os.fchown(file.fileno(), MEMBER, MEMBER)
    with (home / "big").open("rb") as file:
        file.seek(middle)
        digest = hashlib.sha256(file.read(64 * 2**20)).hexdigest()
    rates = machines.run("big_file", MEMBER, size, middle, digest)
    assert (home / "big").stat().st_size == size + 128 * 2**20 > 2**31
    with (home / "big").open("rb") as file:
        file.seek(size)
        assert file.read() == hashlib.sha256(b"block").digest() * (4 * 2**20)
    (home / "big").unlink()
    tell(f"nfs: {rates['write']:.0f} MB/s written and synced, {rates['read']:.0f} MB/s read, by an emulated machine")


def test_names(server: Any, machines: Any, tell: Tell) -> None:
    """10,000 files are listed once each, also after some are gone; names in UTF-8 pass as they are."""
    home = server.home(MEMBER)
    many = home / "many"
    many.mkdir()
    for number in range(10_000):
        (many / f"{number}.ipynb").touch()
    os.chown(many, MEMBER, MEMBER)
    told = machines.run("names", MEMBER, 10_000)
    odd = {path.name for path in home.iterdir()} - {"many"}
    assert odd == {"Grüße", "星の地図.ipynb", "e\u0301", "\u00e9", "\N{TELESCOPE}", "a b'c\"d\\e\n"}
    assert all((home / name).read_text() == name for name in odd)
    tell(f"nfs: 10,000 names listed in {told['seconds']:.1f} s by an emulated machine")


def test_new_home(server: Any, machines: Any) -> None:
    """A home that the provisioner makes is there at once for a client that has just listed all homes."""
    home = server.home(MEMBER)
    with closed_gate(home):
        machine = machines.start("see_at_once", MEMBER, FELLOW + 1)
        until("the homes were listed", lambda: (home / "asked").exists() or not machine.is_running(), 40)
        new = server.home(FELLOW + 1)
    machine.result()
    assert (new / "file").stat().st_uid == FELLOW + 1


def test_subpath(server: Any, machines: Any) -> None:
    """A kubelet, being root and squashed, binds a member's home, and the member writes there."""
    home = server.home(MEMBER)
    machines.run("subpath", MEMBER)
    assert (home / "notebook").stat().st_uid == MEMBER


def test_only_nfs4(server: Any) -> None:
    """Nothing is served but NFSv4 over TCP and the health: no portmapper, no mountd, no UDP."""
    listening = subprocess.run(
        ["nsenter", "--net", "--target", str(server.ganesha()), "ss", "-Hlntu"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    addresses = [(line.split()[0], line.split()[4]) for line in listening.splitlines()]
    # Docker's own resolver has two ports in each container.
    found = {(kind, int(address.rpartition(":")[2])) for kind, address in addresses if "127.0.0.11" not in address}
    assert found == {("tcp", 2049), ("tcp", 8088)}


@pytest.mark.parametrize(
    ("rights", "export", "line"),
    [
        (
            True,
            "/srv",
            "should be on a file system that finds files by handle, such as ext4 or XFS, not on a container's",
        ),
        (
            False,
            "/export",
            "should be served with the capabilities of this component's README; missing: CAP_DAC_READ_SEARCH",
        ),
    ],
    ids=["overlay", "no-rights"],
)
def test_cannot_serve(server: Any, rights: bool, export: str, line: str) -> None:
    """Without a file system that gives handles, or the right to use them, the start ends with a line on what to do."""
    status, errors = server.refusal(rights=rights, export=export)
    assert status == 78
    assert errors.startswith(f"jld_fileserver: FILESERVER_EXPORT={export}: {line}")
    assert errors.count("\n") == 1
