"""Run as root in a container with /state: gives services their folders and their secrets.

Its argument is JSON: `folders`, each with its owner, and `given`, each with its owner and the names of files below
secrets/ or secrets/certificates/. What is the same already is left alone, so that the time of a folder tells since when
its service has what is in it. A program of its own, without imports from the project.
"""

import json
import os
import sys
from pathlib import Path

STATE = Path("/state")


def own(folder: Path, uid: int, mode: int) -> None:
    """Make a folder, and have it be somebody's."""
    folder.mkdir(exist_ok=True)
    if folder.stat().st_uid != uid:
        os.chown(folder, uid, uid)
    folder.chmod(mode)


def give(folder: Path, uid: int, names: list[str]) -> None:
    """Copy secrets into a folder of a service, and take away what it is to have no longer."""
    for name in names:
        copy = folder / name
        source = next(
            (file for file in (STATE / "secrets" / name, STATE / "secrets/certificates" / name) if file.exists()), None
        )
        if source is None:
            copy.unlink(missing_ok=True)
            continue
        content = source.read_bytes()
        if copy.exists() and copy.read_bytes() == content and copy.stat().st_uid == uid:
            continue
        aside = folder / f".{name}"
        aside.unlink(missing_ok=True)
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chown(aside, uid, uid)
        aside.replace(copy)


plan = json.loads(sys.argv[1])
for name, uid in plan["folders"].items():
    # Homes are closed by themselves; labs and NFS clients must be able to pass to them.
    own(STATE / name, uid, 0o755 if name == "export" else 0o700)
own(STATE / "given", 0, 0o711)
for name, (uid, *names) in plan["given"].items():
    own(STATE / "given" / name, uid, 0o500)
    give(STATE / "given" / name, uid, names)
