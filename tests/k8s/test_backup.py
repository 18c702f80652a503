"""Backups are whole or none, and what removes or overwrites is asked twice."""

import contextlib
import errno
import gzip
import io
import json
import sqlite3
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jld_k8s import backup
from jld_k8s.cluster import SYSTEM, Object
from jld_k8s.delete import delete
from jld_k8s.errors import ClusterError, FindingsError, SiteError
from jld_k8s.finding import Finding
from jld_k8s.site import Site

MakeSite = Callable[..., Site]


def packed() -> bytes:
    """Pack homes without a file in them."""
    file = io.BytesIO()
    tarfile.open(fileobj=file, mode="w:gz").close()
    return file.getvalue()


def made(folder: Path) -> Path:
    """Make a folder as a backup is."""
    folder.mkdir()
    (folder / backup.HOMES).write_bytes(packed())
    record = {"sha256": {backup.HOMES: backup.digest(folder / backup.HOMES)}}
    (folder / backup.RECORD).write_text(json.dumps(record))
    return folder


def test_a_backup_never_overwrites(cluster: Any, tmp_path: Path) -> None:
    """A folder that is there is left as it is."""
    with pytest.raises(SiteError, match="a folder that is not there yet"):
        backup.backup(cluster, made(tmp_path / "old"))


def hub(*volumes: Object) -> Object:
    """Write a hub that has volumes."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "hub", "namespace": SYSTEM},
        "spec": {"replicas": 1, "template": {"spec": {"volumes": list(volumes)}}},
    }


def test_a_database_elsewhere_is_left_there(cluster: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A claim that the hub had before it moved to a PostgreSQL is not taken for its database."""
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
    cluster.apply([hub(), {**claim, "metadata": {"name": backup.CLAIM, "namespace": SYSTEM}}])
    with pytest.raises(ClusterError, match="the homes cannot be copied"):
        backup.backup(cluster, tmp_path / "new")
    assert "back it up with PostgreSQL's own pg_dump" in capsys.readouterr().out
    assert backup.has_volume(hub({"persistentVolumeClaim": {"claimName": backup.CLAIM}}))


def test_what_a_failed_backup_left_is_in_no_other(cluster: Any, tmp_path: Path) -> None:
    """A file that is left of a backup that failed does not come into the next one."""
    cluster.apply([hub()])
    left = tmp_path / ".new.unfinished" / backup.DATABASE
    left.parent.mkdir()
    left.touch()
    with pytest.raises(ClusterError, match="the homes cannot be copied"):
        backup.backup(cluster, tmp_path / "new")
    assert not left.exists()


@pytest.mark.parametrize(
    ("lost", "what"), [(backup.HOMES, "homes are"), (backup.DATABASE, "hub's database is"), ("", "")]
)
def test_what_arrives_is_looked_at(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lost: str, what: str
) -> None:
    """What has lost its end on the way gets no name, though the command that brought it has ended well."""
    cluster.apply([hub({"persistentVolumeClaim": {"claimName": backup.CLAIM}})])
    place = tmp_path / "x.sqlite"
    used = sqlite3.connect(place)
    used.execute("pragma journal_mode=wal")
    used.execute("create table t (x)")
    used.execute("insert into t values (zeroblob(20000))")
    used.commit()
    used.close()
    content = {backup.HOMES: packed(), backup.DATABASE: place.read_bytes()}

    def save(_cluster: Any, _what: str, file: Path, *_: Any) -> None:
        whole = content[file.name]
        file.write_bytes(whole[: len(whole) // 2] if file.name == lost else whole)

    monkeypatch.setattr(backup, "save", save)
    if what:
        with pytest.raises(ClusterError, match=f"the {what} not whole"):
            backup.backup(cluster, tmp_path / "new")
    else:
        backup.backup(cluster, tmp_path / "new")
    assert (tmp_path / "new").exists() is not bool(what)
    assert not (tmp_path / ".new.unfinished").exists()


def test_a_full_disk_is_named(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be written is said with its name and the disk's reason, and nothing is left that fills the disk."""
    cluster.apply([hub()])
    command, save = cluster.command, backup.save
    monkeypatch.setattr(cluster, "command", lambda *words: ["echo", "homes"] if words[0] == "exec" else command(*words))
    monkeypatch.setattr(backup, "save", lambda one, what, _, *more: save(one, what, Path("/dev/full"), *more))
    with pytest.raises(OSError, match=f"'DIR={tmp_path}/new'") as told:
        backup.backup(cluster, tmp_path / "new")
    assert told.value.errno == errno.ENOSPC
    assert not [one for one in tmp_path.iterdir() if "new" in one.name]


def test_two_backups_have_two_names(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup that was made while another waited for the lock keeps its name, and is whole before the next begins."""
    folder = tmp_path / "new"

    @contextlib.contextmanager
    def locked(_: Any) -> Iterator[None]:
        made(folder)
        yield

    monkeypatch.setattr(backup, "locked", locked)
    with pytest.raises(SiteError, match="a folder that is not there yet"):
        backup.backup(cluster, folder)
    backup.check(folder)


def test_all_of_a_backup_is_done_under_the_lock(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder has its name before the lock is given back: the next run removes what has none."""
    cluster.apply([hub()])
    monkeypatch.setattr(backup, "save", lambda _cluster, _what, file, *_: file.write_bytes(packed()))

    @contextlib.contextmanager
    def locked(_: Any) -> Iterator[None]:
        yield
        backup.check(tmp_path / "new")

    monkeypatch.setattr(backup, "locked", locked)
    backup.backup(cluster, tmp_path / "new")


def test_without_a_hub_there_is_no_backup(cluster: Any, tmp_path: Path) -> None:
    """Where there is no hub nobody knows where its database is."""
    with pytest.raises(SiteError, match="there is no hub"):
        backup.backup(cluster, tmp_path / "new")


def test_nothing_is_put_back_below_a_hub_that_runs(
    site: MakeSite, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the hub does not end no file is written, and it is to run again."""
    labels = {"app.kubernetes.io/name": "hub"}
    cluster.apply(
        [hub(), {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "h", "namespace": SYSTEM, "labels": labels}}]
    )
    monkeypatch.setattr(backup, "missing", lambda *_: [])
    summit = site("demo")
    with pytest.raises(ClusterError, match="hub: its pods do not end"):
        backup.restore(summit, cluster, made(tmp_path / "b"), summit.name)
    assert not any(words[0] == "exec" for words in cluster.commands)
    assert cluster.objects[f"Deployment/{SYSTEM}/hub"]["spec"]["replicas"] == 1


def test_who_may_not_restore_ends_nothing(
    site: MakeSite, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rights that a restore wants beside a deploy's are asked for before the hub ends."""
    asked: list[Object] = []

    def missing(_: Any, questions: list[Object]) -> list[Finding]:
        asked.extend(one["spec"]["resourceAttributes"] for one in questions)
        return [Finding("you may not create pods/exec", "ask")]

    monkeypatch.setattr(backup, "missing", missing)
    summit = site("demo")
    with pytest.raises(FindingsError, match="1 to put right"):
        backup.restore(summit, cluster, made(tmp_path / "b"), summit.name)
    assert {one["subresource"] for one in asked} == {"exec", "scale"}
    assert cluster.commands == []


def test_half_a_backup_has_no_name(cluster: Any, tmp_path: Path) -> None:
    """Where something cannot be copied, no folder of the name is left that one might take for a backup."""
    cluster.apply([hub()])
    with pytest.raises(ClusterError, match="the homes cannot be copied"):
        backup.backup(cluster, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_the_database_is_copied_while_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs in the hub's pod copies a database that others write to, and puts it back whole."""
    place = tmp_path / "hub.sqlite"
    used = sqlite3.connect(place)
    used.execute("create table t (x)")
    used.execute("insert into t values (1)")
    used.commit()
    used.execute("insert into t values (2)")  # not committed: not there for anybody else
    read = backup.READ.replace(backup.PLACE, str(place))
    copy = subprocess.run([sys.executable, "-I", "-c", read], capture_output=True, check=True).stdout
    used.rollback()
    used.close()
    other = tmp_path / "other.sqlite"
    (tmp_path / "other.sqlite-wal").write_bytes(b"of another database")
    monkeypatch.chdir(tmp_path)
    write = backup.WRITE.replace(backup.PLACE, str(other))
    subprocess.run([sys.executable, "-I", "-c", write], input=copy, check=True)
    restored = sqlite3.connect(other)
    assert restored.execute("select x from t").fetchall() == [(1,)]
    restored.close()
    assert not (tmp_path / "other.sqlite-wal").exists()


def test_a_broken_database_is_not_put_back(tmp_path: Path) -> None:
    """What is no whole database does not take the place of one."""
    place = tmp_path / "hub.sqlite"
    place.write_bytes(b"the old one")
    write = backup.WRITE.replace(backup.PLACE, str(place))
    done = subprocess.run([sys.executable, "-I", "-c", write], input=b"x" * 4096, capture_output=True, check=False)
    assert done.returncode
    assert place.read_bytes() == b"the old one"


def test_a_backup_is_checked_before_anything_ends(site: MakeSite, cluster: Any, tmp_path: Path) -> None:
    """A backup that is not what was written, or none, ends a restore before it has changed anything."""
    folder = made(tmp_path / "b")
    (folder / backup.HOMES).write_bytes(b"other")
    summit = site("demo")
    with pytest.raises(SiteError, match=f"{backup.HOMES} is not what was written"):
        backup.restore(summit, cluster, folder, summit.name)
    with pytest.raises(SiteError, match="a folder that make k8s-backup has made"):
        backup.restore(summit, cluster, tmp_path / "none", summit.name)
    assert cluster.commands == []


@pytest.mark.parametrize("record", ["[]", "null", "{}", '{"sha256": []}', '{"sha256": {}}', '{"sha256": 7}'])
def test_a_foreign_backup_ends_nothing(site: MakeSite, cluster: Any, tmp_path: Path, record: str) -> None:
    """A record that has no homes, or is none, ends a restore with one line before anything has changed."""
    folder = made(tmp_path / "b")
    (folder / backup.RECORD).write_text(record)
    summit = site("demo")
    with pytest.raises(SiteError, match=r"^DIR=.*: a (whole backup|folder that)"):
        backup.restore(summit, cluster, folder, summit.name)
    assert cluster.commands == []


def test_all_files_of_a_backup_are_its_own(tmp_path: Path) -> None:
    """Homes that are no archive, a database that the record does not have, and names of other files are refused."""
    folder = made(tmp_path / "junk")
    (folder / backup.HOMES).write_bytes(gzip.compress(b"junk"))
    (folder / backup.RECORD).write_text(json.dumps({"sha256": {backup.HOMES: backup.digest(folder / backup.HOMES)}}))
    with pytest.raises(SiteError, match="the homes are not whole"):
        backup.check(folder)
    (made(tmp_path / "more") / backup.DATABASE).touch()
    with pytest.raises(SiteError, match=f"{backup.DATABASE} is not what was written"):
        backup.check(tmp_path / "more")
    folder = made(tmp_path / "other")
    names = {name: backup.digest(folder / backup.HOMES) for name in (backup.HOMES, f"../other/{backup.HOMES}")}
    (folder / backup.RECORD).write_text(json.dumps({"sha256": names}))
    with pytest.raises(SiteError, match=f"../other/{backup.HOMES} is not what was written"):
        backup.check(folder)


@pytest.mark.parametrize("confirmed", ["", "yes", "demo"])
def test_restore_and_delete_are_asked_twice(site: MakeSite, cluster: Any, tmp_path: Path, confirmed: str) -> None:
    """Without the site's own name nothing is removed or overwritten."""
    summit = site("demo")
    with pytest.raises(SiteError, match=rf"^CONFIRM={confirmed}: {summit.name}, if"):
        backup.restore(summit, cluster, made(tmp_path / "b"), confirmed)
    with pytest.raises(SiteError, match="homes, database and secrets stay"):
        delete(summit, cluster, confirmed, "")
    with pytest.raises(SiteError, match="homes, database and secrets too"):
        delete(summit, cluster, confirmed, "delete")
    assert cluster.commands == []


def test_data_is_deleted_by_one_word(site: MakeSite, cluster: Any) -> None:
    """Any other word than `delete` is no word for it."""
    summit = site("demo")
    with pytest.raises(SiteError, match="DATA=true: delete"):
        delete(summit, cluster, summit.name, "true")


def test_who_writes_the_database_has_the_hubs_rights_alone() -> None:
    """The pod that puts the database back is confined as the hub, has its volume, and neither its token nor secrets."""
    confined = {"allowPrivilegeEscalation": False}
    found: Object = {
        "spec": {
            "template": {
                "spec": {
                    "securityContext": {"runAsUser": 64081},
                    "volumes": [{"name": "database"}, {"name": "secrets"}],
                    "containers": [
                        {
                            "image": "hub:1",
                            "securityContext": confined,
                            "resources": {"limits": {"memory": "1Gi"}},
                            "volumeMounts": [
                                {"name": "secrets", "mountPath": "/run/secrets/hub"},
                                {"name": "database", "mountPath": "/srv/hub"},
                            ],
                        }
                    ],
                }
            }
        }
    }
    pod = backup.writer(found)
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == ["database"]
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["securityContext"] == {"runAsUser": 64081}
    assert pod["spec"]["containers"][0]["securityContext"] == confined
