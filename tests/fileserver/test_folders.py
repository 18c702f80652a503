"""What is made below the export, and what is refused."""

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from jld_fileserver.errors import InTheWayError, StorageError, StorageFullError
from jld_fileserver.folders import GROUPS, HOMES, Export, Kind

ALICE, BOB = 4242424, 5252525
LSST = 3050001
IS_ROOT = os.geteuid() == 0


def _facts(path: Path) -> tuple[int, int, str]:
    found = path.lstat()
    return found.st_uid, found.st_gid, stat.filemode(found.st_mode)


def _links(export: Path, kind: Kind = HOMES) -> dict[str, str]:
    return {link.name: str(link.readlink()) for link in (export / kind.links).iterdir()}


def test_home(export: Path) -> None:
    """A home is made once, belongs to its member, and is closed to others whatever the umask."""
    before = os.umask(0o077)
    try:
        made = Export(export).provide(HOMES, ALICE, "alice")
    finally:
        os.umask(before)
    assert made.made
    assert made.path == export / "homes" / str(ALICE)
    owner = (ALICE, ALICE) if IS_ROOT else (os.geteuid(), os.getegid())
    assert _facts(made.path) == (*owner, "drwxr-x---")
    assert made.link.resolve() == made.path
    assert not Export(export).provide(HOMES, ALICE, "alice").made


def test_group(export: Path) -> None:
    """A group folder belongs to the organization, and so does what is made in it."""
    made = Export(export).provide(GROUPS, LSST, "lsst")
    assert made.path == export / "groups" / str(LSST)
    owner = (0, LSST) if IS_ROOT else (os.geteuid(), os.getegid())
    assert _facts(made.path) == (*owner, "drwxrws---")
    assert _links(export, GROUPS) == {"lsst": f"../groups/{LSST}"}


def test_keepalive(export: Path) -> None:
    """The keepalive writer's folder is made once and is its own; what is in it stays."""
    Export(export).prepare()
    (export / "keepalive/keepalive.json").write_text("{}")
    Export(export).prepare()
    owner = (64083, 64083) if IS_ROOT else (os.geteuid(), os.getegid())
    assert _facts(export / "keepalive") == (*owner, "drwx------")
    assert (export / "keepalive/keepalive.json").exists()


@pytest.mark.root
def test_preparing_mends(export: Path) -> None:
    """An export that everybody may write to, and a folder of root's in the writer's place, are put right."""
    export.chmod(0o777)
    (export / "keepalive").mkdir(mode=0o755)
    Export(export).prepare()
    assert _facts(export)[2] == "drwxr-xr-x"
    assert _facts(export / "keepalive") == (64083, 64083, "drwx------")


def test_preparing_what_is_in_the_way(export: Path) -> None:
    """A file in the place of the keepalive writer's folder is said to be in the way, and left alone."""
    (export / "keepalive").write_text("")
    with pytest.raises(InTheWayError):
        Export(export).prepare()
    assert (export / "keepalive").is_file()


def test_parents(export: Path) -> None:
    """Members pass through to their folders but cannot list them, and links are the operator's."""
    Export(export).provide(HOMES, ALICE, "alice")
    Export(export).provide(GROUPS, LSST, "lsst")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in export.iterdir()}
    assert modes == {"homes": 0o711, "groups": 0o711, "by-login": 0o700, "by-organization": 0o700}


def test_rename(export: Path) -> None:
    """A renamed member keeps his home, and the link moves."""
    folder = Export(export)
    home = folder.provide(HOMES, ALICE, "alice").path
    (home / "file").touch()
    assert not folder.provide(HOMES, ALICE, "alicia").made
    assert (home / "file").exists()
    assert _links(export) == {"alicia": f"../homes/{ALICE}"}


def test_recycled_login(export: Path) -> None:
    """A login that passes to another id gets that id's own, empty home."""
    folder = Export(export)
    (folder.provide(HOMES, ALICE, "alice").path / "file").touch()
    made = folder.provide(HOMES, BOB, "alice")
    assert made.made
    assert not list(made.path.iterdir())
    assert _links(export) == {"alice": f"../homes/{BOB}"}
    assert (export / "homes" / str(ALICE) / "file").exists()


def test_swapped_logins(export: Path) -> None:
    """Members who swap logins end with a link each."""
    folder = Export(export)
    folder.provide(HOMES, ALICE, "alice")
    folder.provide(HOMES, BOB, "bob")
    folder.provide(HOMES, ALICE, "bob")
    folder.provide(HOMES, BOB, "alice")
    assert _links(export) == {"bob": f"../homes/{ALICE}", "alice": f"../homes/{BOB}"}


def test_missing_link(export: Path) -> None:
    """A link that was lost is made anew."""
    folder = Export(export)
    folder.provide(HOMES, ALICE, "alice").link.unlink()
    assert not folder.provide(HOMES, ALICE, "alice").made
    assert _links(export) == {"alice": f"../homes/{ALICE}"}


@pytest.mark.parametrize("mode", [0o700, 0o710, 0o750, 0o2750])
def test_narrowed_home(export: Path, mode: int) -> None:
    """A member may close his home further."""
    folder = Export(export)
    folder.provide(HOMES, ALICE, "alice").path.chmod(mode)
    assert not folder.provide(HOMES, ALICE, "alice").made


@pytest.mark.parametrize(("mode", "mended"), [(0o755, 0o750), (0o777, 0o750), (0o500, 0o700), (0o4755, 0o4750)])
def test_home_is_mended(export: Path, mode: int, mended: int) -> None:
    """A home that its member opened to others, or closed to himself, is put right, so that he is not locked out."""
    folder = Export(export)
    path = folder.provide(HOMES, ALICE, "alice").path
    path.chmod(mode)
    assert not folder.provide(HOMES, ALICE, "alice").made
    assert stat.S_IMODE(path.stat().st_mode) == mended


@pytest.mark.root
def test_home_given_to_a_group(export: Path) -> None:
    """A home that its member gave to one of his groups is his own again."""
    folder = Export(export)
    path = folder.provide(HOMES, ALICE, "alice").path
    os.chown(path, ALICE, LSST)
    folder.provide(HOMES, ALICE, "alice")
    assert _facts(path)[:2] == (ALICE, ALICE)


def test_wrong_mode(export: Path) -> None:
    """A group folder that is closed to its own is refused and left alone: only an operator can have done that."""
    folder = Export(export)
    path = folder.provide(GROUPS, LSST, "name").path
    path.chmod(0o2750)
    with pytest.raises(InTheWayError, match=f"{path.name} has mode 2750, not 2770"):
        folder.provide(GROUPS, LSST, "name")
    assert stat.S_IMODE(path.stat().st_mode) == 0o2750


@pytest.mark.root
@pytest.mark.parametrize(("uid", "gid"), [(0, 0), (BOB, BOB), (BOB, ALICE)])
def test_wrong_owner(export: Path, uid: int, gid: int) -> None:
    """A home that belongs to somebody else is refused and left alone."""
    folder = Export(export)
    path = folder.provide(HOMES, ALICE, "alice").path
    os.chown(path, uid, gid)
    with pytest.raises(InTheWayError, match=f"belongs to {uid}:{gid}, not to {ALICE}:{ALICE}"):
        folder.provide(HOMES, ALICE, "alice")
    assert _facts(path)[:2] == (uid, gid)


def _file(path: Path, _: Path) -> None:
    path.touch()


def _link(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def _dangling(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "nothing")


@pytest.mark.parametrize("obstacle", [_file, _link, _dangling, os.mkfifo])
@pytest.mark.parametrize("place", ["homes", "by-login", f"homes/{ALICE}", f"homes/.{ALICE}.new"])
def test_obstacle(export: Path, tmp_path: Path, place: str, obstacle: Callable[..., None]) -> None:
    """Whatever is in the place of a folder is refused, and no link leads out of the export."""
    outside = tmp_path / "outside"
    outside.mkdir()
    Export(export).provide(HOMES, BOB, "bob")
    path = export / place
    if path.is_dir():
        path.rename(tmp_path / "away")
    if obstacle is os.mkfifo:
        os.mkfifo(path)
    else:
        obstacle(path, outside)
    before = _facts(path)
    with pytest.raises(InTheWayError):
        Export(export).provide(HOMES, ALICE, "alice")
    assert _facts(path) == before
    assert not list(outside.iterdir())


@pytest.mark.parametrize("target", ["/etc", "../../outside", "../homes", "../homes/../../etc", f"../groups/{ALICE}"])
def test_foreign_link(export: Path, target: str) -> None:
    """A link by name that this service cannot have made is refused and left alone."""
    Export(export).provide(HOMES, BOB, "bob")
    (export / "by-login" / "alice").symlink_to(target)
    with pytest.raises(InTheWayError, match="by-login/alice is not a link of ours"):
        Export(export).provide(HOMES, ALICE, "alice")
    assert _links(export)["alice"] == target


@pytest.mark.parametrize("place", ["by-login/alice", "by-login/.alice.new"])
def test_folder_in_place_of_link(export: Path, place: str) -> None:
    """A folder in the place of a link is refused and left alone."""
    Export(export).provide(HOMES, BOB, "bob")
    (export / place).mkdir()
    with pytest.raises(InTheWayError):
        Export(export).provide(HOMES, ALICE, "alice")
    assert (export / place).is_dir()


def test_export_may_be_a_link(export: Path, tmp_path: Path) -> None:
    """The export itself may be reached through a link, which the operator set."""
    link = tmp_path / "link"
    link.symlink_to(export)
    assert Export(link).provide(HOMES, ALICE, "alice").path == link / "homes" / str(ALICE)


def test_leftovers_of_a_kill(export: Path) -> None:
    """What a killed call left behind is cleared away by the next one."""
    Export(export).provide(HOMES, BOB, "bob")
    (export / "homes" / f".{ALICE}.new").mkdir(mode=0o700)
    (export / "by-login" / ".alice.new").symlink_to("../homes/1")
    assert Export(export).provide(HOMES, ALICE, "alice").made
    assert _links(export) == {"alice": f"../homes/{ALICE}", "bob": f"../homes/{BOB}"}
    assert {path.name for path in (export / "homes").iterdir()} == {str(ALICE), str(BOB)}


def test_missing_export(tmp_path: Path) -> None:
    """An export that is not there is the storage's failure, and is not made."""
    folder = Export(tmp_path / "absent")
    with pytest.raises(StorageError, match="No such file or directory"):
        folder.provide(HOMES, ALICE, "alice")
    assert folder.trouble() == f"{tmp_path}/absent is not a folder."
    assert not folder.path.exists()


def test_threads(export: Path) -> None:
    """Of fifty calls at once for one id exactly one makes the home."""
    folder = Export(export)
    with ThreadPoolExecutor(50) as pool:
        made = list(pool.map(lambda _: folder.provide(HOMES, ALICE, "alice").made, range(50)))
    assert made.count(True) == 1


def test_processes(export: Path) -> None:
    """Two provisioners on one export, as during an update, make each home once."""
    program = (
        "import sys; from pathlib import Path; from jld_fileserver.folders import *;"
        "e = Export(Path(sys.argv[1])); print('ready', flush=True); input();"
        "print(sum(e.provide(HOMES, number, 'alice').made for number in range(1000, 1050)))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(export)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    assert sum(int(process.communicate(timeout=10)[0]) for process in processes) == 50
    assert len(list((export / "homes").iterdir())) == 50
    assert len(_links(export)) == 1


def _provide_twenty(folder: Export) -> None:
    for number in range(1000, 1020):
        folder.provide(HOMES, number, f"member-{number}")


@pytest.mark.root
def test_full_disk(tiny_disk: object) -> None:
    """On a full disk a home is refused as a whole, and made when there is room again."""
    folder = Export(tiny_disk.folder)  # type: ignore[attr-defined] # the class is in conftest.py
    with pytest.raises(StorageFullError, match="No space left on device"):
        _provide_twenty(folder)
    homes = sorted((folder.path / "homes").iterdir())
    assert not [home for home in homes if home.name.startswith(".")]
    assert all(_facts(home)[2] == "drwxr-x---" for home in homes)
    tiny_disk.mount("-o", "remount,nr_inodes=100")  # type: ignore[attr-defined] # as above
    _provide_twenty(folder)
    assert len(list((folder.path / "homes").iterdir())) == 20


@pytest.mark.root
def test_read_only_disk(tiny_disk: object) -> None:
    """On a read-only disk nothing can be made, and what is there is still found."""
    folder = Export(tiny_disk.folder)  # type: ignore[attr-defined] # as above
    folder.provide(HOMES, ALICE, "alice")
    assert folder.trouble() is None
    tiny_disk.mount("-o", "remount,ro")  # type: ignore[attr-defined] # as above
    assert folder.trouble() == f"{folder.path} cannot be written."
    assert not folder.provide(HOMES, ALICE, "alice").made
    with pytest.raises(StorageError, match="Read-only file system"):
        folder.provide(HOMES, BOB, "bob")


@pytest.mark.root
def test_ordinary_user() -> None:
    """Without root, folders belong to the caller."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o777)
        program = (  # drops root after its imports: others may not be able to read where these come from
            "import os, sys; from pathlib import Path; from jld_fileserver.folders import *;"
            f"os.setgroups([]); os.setgid({BOB}); os.setuid({BOB}); e = Export(Path(sys.argv[1]));"
            f"e.provide(HOMES, {ALICE}, 'alice'); e.provide(GROUPS, {LSST}, 'lsst');"
            f"assert not e.provide(HOMES, {ALICE}, 'alice').made"
        )
        subprocess.run([sys.executable, "-c", program, folder], check=True)
        assert _facts(Path(folder, "homes", str(ALICE))) == (BOB, BOB, "drwxr-x---")
        assert _facts(Path(folder, "groups", str(LSST))) == (BOB, BOB, "drwxrws---")
