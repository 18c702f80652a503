"""`make k8s-backup DIR=…` and `make k8s-restore DIR=…`: the hub's database and the homes."""

import contextlib
import gzip
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import tarfile
import tempfile
import time
import zlib
from pathlib import Path

from jld_embedded.state import own
from jld_embedded.up import say

from . import owner, rollout
from .cluster import FILES, LABS, NAME, SYSTEM, Cluster, Object, last_line
from .errors import ClusterError, SiteError
from .lock import locked
from .preflight import stop_at
from .release import releases
from .rights import missing, review
from .site import Site

DATABASE, HOMES, RECORD = "hub.sqlite", "homes.tar.gz", "backup.json"

CLAIM = "hub-database"
"""Where the hub's database is, unless it is a PostgreSQL of the operator's."""

PLACE = "/srv/hub/jupyterhub.sqlite"

READ = f"""
import sqlite3, sys
copy = sqlite3.connect(":memory:")
sqlite3.connect("file:{PLACE}?mode=ro", uri=True).backup(copy)
sys.stdout.buffer.write(copy.serialize())
"""
"""SQLite's own way to copy a database that is in use (https://www.sqlite.org/backup.html)."""

WRITE = f"""
import os, sqlite3, sys
aside = "{PLACE}.restored"
with open(aside, "wb") as file:
    file.write(sys.stdin.buffer.read())
    os.fsync(file.fileno())
if sqlite3.connect(aside).execute("pragma integrity_check").fetchone() != ("ok",):
    sys.exit("not a whole database")
for left in ("-wal", "-shm", "-journal"):
    if os.path.exists("{PLACE}" + left):
        os.remove("{PLACE}" + left)
os.replace(aside, "{PLACE}")
"""

SERVER = (f"--namespace={FILES}", "--container=server", "fileserver-0")

PACK = ("tar", "--create", "--gzip", "--numeric-owner", "--warning=no-file-changed", "--directory=/export", ".")

UNPACK = ("tar", "--extract", "--gzip", "--numeric-owner", "--same-permissions", "--directory=/export")

BETWEEN = 10.0
"""Seconds between lines of progress."""

CHANGED = 1
"""Status of tar where a file changed while it was read: what was there is in the archive."""

RIGHTS = (
    *(("create", "pods/exec", "", namespace) for namespace in (SYSTEM, FILES)),
    ("patch", "deployments/scale", "apps", SYSTEM),
)
"""What a restore does, and a deploy does not: verbs, resources, groups and namespaces."""

GONE = 120.0
"""Seconds that pods may take to end."""


def backup(cluster: Cluster, folder: Path) -> None:
    """Copy database and homes while all goes on.

    Args:
        cluster: whose.
        folder: a new one, on this machine.

    Raises:
        SiteError: where the folder is there already, or there is no hub.
        ClusterError: where something cannot be read, or does not arrive whole.
        OSError: where it cannot be written; whatever fails, no folder is left.
    """
    free(folder)
    aside = folder.with_name(f".{folder.name}.unfinished")
    with locked(cluster):
        # Who held the lock before may have made it.
        free(folder)
        try:
            files = fill(cluster, aside)
            aside.rename(folder)
        except OSError as error:
            # That of a disk that is full names no file.
            raise OSError(error.errno, error.strerror, error.filename or f"DIR={folder}") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    say(f"{folder}: {', '.join(f'{file.name} {(folder / file.name).stat().st_size:,} bytes' for file in files)}")


def free(folder: Path) -> None:
    """See that a backup may have this name.

    Raises:
        SiteError: where it is taken.
    """
    if folder.exists():
        raise SiteError(f"DIR={folder}: a folder that is not there yet")


def fill(cluster: Cluster, aside: Path) -> list[Path]:
    """Make a whole backup in a folder; the lock is held.

    Returns:
        The files of it, without the one that tells of them.
    """
    # Of a backup that was killed.
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    own(aside)
    if has_volume(the_hub(cluster)):
        program = (f"--namespace={SYSTEM}", "deployment/hub", "--", "python3", "-I", "-c", READ)
        save(cluster, "hub's database", aside / DATABASE, program)
    else:
        say("  the hub's database is not in the cluster: back it up with PostgreSQL's own pg_dump")
    save(cluster, "homes", aside / HOMES, (*SERVER, "--", *PACK), (0, CHANGED))
    kept = releases(cluster)
    verify(aside)
    files = [file for file in (aside / DATABASE, aside / HOMES) if file.exists()]
    record = {
        "release": kept[0].number if kept else None,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "sha256": {file.name: digest(file) for file in files},
    }
    (aside / RECORD).write_text(f"{json.dumps(record, indent=2)}\n")
    for file in (*files, aside / RECORD):
        file.chmod(0o600)
    return files


def the_hub(cluster: Cluster) -> Object:
    """Find the hub.

    Raises:
        SiteError: where there is none.
    """
    found = cluster.find("deployment", "hub", SYSTEM)
    if found is None:
        raise SiteError("there is no hub: make k8s-deploy first")
    return found


def has_volume(hub: Object) -> bool:
    """Whether the hub's database is in the cluster: a claim that it had before may have stayed."""
    volumes = hub["spec"]["template"]["spec"].get("volumes") or []
    return any(one.get("persistentVolumeClaim", {}).get("claimName") == CLAIM for one in volumes)


def save(cluster: Cluster, what: str, file: Path, arguments: tuple[str, ...], accepted: tuple[int, ...] = (0,)) -> None:
    """Keep what a command of kubectl's prints, and tell how it goes on.

    Raises:
        ClusterError: where it fails.
        OSError: where it cannot be written, which kubectl itself does not always notice.
    """
    begun = told = time.monotonic()
    command = cluster.command("exec", *arguments)
    with (
        file.open("wb") as opened,
        # A pipe that nobody reads meanwhile would hold kubectl up when it is full.
        tempfile.TemporaryFile("w+", errors="replace") as complaints,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints) as running,  # noqa: S603 - no shell
    ):
        try:
            while running.stdout and (read := running.stdout.read(1 << 20)):
                opened.write(read)
                if time.monotonic() - told > BETWEEN:
                    told = time.monotonic()
                    say(f"  {what}: {opened.tell() >> 20} MB")
            opened.flush()
            os.fsync(opened.fileno())
            running.wait()
        finally:
            running.kill()
        complaints.seek(0)
        said = complaints.read()
    if running.returncode not in accepted or (running.returncode and "command terminated" not in said):
        raise ClusterError(f"the {what} cannot be copied: {last_line(said)}")
    say(f"  {what}: {file.stat().st_size:,} bytes in {time.monotonic() - begun:.0f} s")


def verify(folder: Path) -> None:
    """See that all in a folder is whole: a connection that ends early may look like an end.

    Raises:
        ClusterError: where it is not.
    """
    try:
        # gzip's last bytes have length and checksum of all before them.
        with gzip.open(folder / HOMES) as packed:
            tarfile.open(fileobj=packed, mode="r|").close()
            while packed.read(1 << 20):
                pass
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise ClusterError(f"the homes are not whole: {error}") from error
    if not (folder / DATABASE).exists():
        return
    try:
        address = f"{(folder / DATABASE).resolve().as_uri()}?immutable=1"
        with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
            (told,) = database.execute("pragma integrity_check").fetchone()
    except sqlite3.Error as error:
        told = str(error)
    if told != "ok":
        raise ClusterError(f"the hub's database is not whole: {told}")


def digest(file: Path) -> str:
    """Give a file's SHA-256."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def restore(site: Site, cluster: Cluster, folder: Path, confirmed: str) -> None:
    """Put database and homes back: labs end, the hub stops meanwhile, and what came after the backup stays in homes.

    Args:
        site: whose.
        cluster: where.
        folder: of a backup.
        confirmed: must be the site's name.

    Raises:
        SiteError: where it is not confirmed, the system is another site's, or the folder is no whole backup.
        FindingsError: where whoever runs this may not do it; nothing was changed.
        ClusterError: where the cluster does not take it; the hub runs again then.
    """
    if confirmed != site.name:
        raise SiteError(
            f"CONFIRM={confirmed}: {site.name}, if its labs are to end, and database and homes to be as in {folder}"
        )
    check(folder)
    stop_at(list(missing(cluster, [review(*right) for right in RIGHTS])))
    with locked(cluster):
        owner.check(site, cluster)
        hub = the_hub(cluster)
        say("  hub and labs end")
        scale(cluster, 0)
        try:
            cluster.run("delete", "pods,secrets", f"--namespace={LABS}", f"--selector={NAME}=lab", "--wait=false")
            gone(cluster, LABS, "lab")
            gone(cluster, SYSTEM, "hub")
            if not (folder / DATABASE).exists():
                say("  the backup has no database of the hub's")
            elif not has_volume(hub):
                say("  the hub's database is not in the cluster: that of the backup is left out")
            else:
                put_database(cluster, hub, folder / DATABASE)
            feed(cluster, "homes", ("--stdin", *SERVER, "--", *UNPACK), folder / HOMES)
        finally:
            scale(cluster, 1)
        rollout.Watch(cluster, [hub]).wait()


def check(folder: Path) -> None:
    """See that a backup is whole.

    Raises:
        SiteError: where it is not.
    """
    try:
        known = dict(json.loads((folder / RECORD).read_text())["sha256"])
        there = {HOMES} | {name for name in (DATABASE,) if (folder / name).exists()}
        wrong = [
            name for name in sorted(there | set(known)) if name not in there or digest(folder / name) != known.get(name)
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SiteError(f"DIR={folder}: a folder that make k8s-backup has made ({error})") from error
    if wrong:
        raise SiteError(f"DIR={folder}: a whole backup; {', '.join(wrong)} is not what was written")
    try:
        verify(folder)
    except ClusterError as error:
        raise SiteError(f"DIR={folder}: a whole backup; {error}") from error


def gone(cluster: Cluster, namespace: str, name: str) -> None:
    """Wait until a component's pods have ended.

    Raises:
        ClusterError: where they do not.
    """
    ended = cluster.ask(
        *("wait", "pods", f"--namespace={namespace}", f"--selector={NAME}={name}"),
        *("--for=delete", f"--timeout={GONE:.0f}s"),
    )
    if ended.returncode and "no matching resources" not in ended.stderr:
        raise ClusterError(f"{name}: its pods do not end: {last_line(ended.stderr)}")


def scale(cluster: Cluster, replicas: int) -> None:
    """Have so many hubs."""
    cluster.run("scale", "deployment/hub", f"--namespace={SYSTEM}", f"--replicas={replicas}")


def put_database(cluster: Cluster, hub: Object, file: Path) -> None:
    """Write the database from a pod that is as the hub's, and does nothing by itself."""
    pod = writer(hub)
    name = pod["metadata"]["name"]
    try:
        cluster.apply([pod])
        ready = cluster.ask(
            "wait", f"pod/{name}", f"--namespace={SYSTEM}", "--for=condition=Ready", f"--timeout={GONE:.0f}s"
        )
        if ready.returncode:
            raise ClusterError(f"the pod that writes the database does not start: {ready.stderr.strip()}")
        program = ("python3", "-I", "-c", WRITE)
        feed(cluster, "hub's database", ("--stdin", f"--namespace={SYSTEM}", name, "--", *program), file)
    finally:
        cluster.ask("delete", "pod", name, f"--namespace={SYSTEM}", "--ignore-not-found", "--grace-period=0")


def writer(hub: Object) -> Object:
    """Write the pod that has the hub's volume, and of the hub's rights no other."""
    spec = hub["spec"]["template"]["spec"]
    container = spec["containers"][0]
    mounts = [mount for mount in container["volumeMounts"] if mount["mountPath"] == str(Path(PLACE).parent)]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "restore", "namespace": SYSTEM, "labels": {NAME: "restore"}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "securityContext": spec["securityContext"],
            "volumes": [volume for volume in spec["volumes"] if volume["name"] == mounts[0]["name"]],
            "containers": [
                {
                    "name": "restore",
                    "image": container["image"],
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sleep", "infinity"],
                    "securityContext": container["securityContext"],
                    "resources": container["resources"],
                    "volumeMounts": mounts,
                }
            ],
        },
    }


def feed(cluster: Cluster, what: str, arguments: tuple[str, ...], file: Path) -> None:
    """Let kubectl read from a file.

    Raises:
        ClusterError: where it fails.
    """
    begun = time.monotonic()
    with file.open("rb") as opened:
        ended = subprocess.run(  # noqa: S603 - no shell
            cluster.command("exec", *arguments), stdin=opened, capture_output=True, text=True, check=False
        )
    if ended.returncode:
        raise ClusterError(f"the {what} cannot be put back: {last_line(ended.stderr)}")
    say(f"  {what}: put back in {time.monotonic() - begun:.0f} s")
