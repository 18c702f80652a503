"""Elastic's Filebeat, and both ends of the protocol by its own library, built by Go from modules with known sums."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

from .cache import PeerError, call, folder, once

FILEBEAT = "7.17.29"

MODULE = f"github.com/elastic/beats/v7@v{FILEBEAT}"

SUM = "h1:xZD9AOJSheSUy96zjPo3K1UlwM2ROihnosUfTctGmv8="
"""Of that module (golang.org/ref/mod, "Authenticating modules"); its go.sum has those of the others."""

OLDEST, SWITCHING = (1, 23), (1, 21)
"""The Go that Filebeat needs, and the first that fetches a newer one by itself (go.dev/doc/toolchain)."""

NEEDED = "Go 1.23, or 1.21 with GOTOOLCHAIN=auto (Debian package: golang-go, of trixie or later)"

LIBRARY = Path(__file__).with_name("golumber")
"""Sources of receiver and sender."""


def filebeat() -> Path:
    """Give Elastic's Filebeat, with all its inputs; to build it takes about 90 s on two cores, and a network.

    Raises:
        PeerError: it is not there, and cannot be built.
    """
    return once(f"filebeat-{FILEBEAT}", _build_filebeat) / "filebeat"


def receiver() -> Path:
    """Give the server of go-lumber that counts or records events.

    Raises:
        PeerError: it is not there, and cannot be built.
    """
    return once(_library(), _build_library) / "receiver"


def sender() -> Path:
    """Give the client of go-lumber.

    Raises:
        PeerError: it is not there, and cannot be built.
    """
    return once(_library(), _build_library) / "sender"


def elastic_is_missing() -> str | None:
    """Say what is needed before these can be had, None where they are there or can be built."""
    there = all((folder() / name).exists() for name in (f"filebeat-{FILEBEAT}", _library()))
    return None if there or _go_fits() else f"needs {NEEDED}"


def _library() -> str:
    total = hashlib.sha256()
    for file in sorted(LIBRARY.rglob("*")):
        if file.is_file():
            total.update(f"{file.relative_to(LIBRARY)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return f"golumber-{total.hexdigest()[:16]}"


def _go_fits() -> bool:
    if not shutil.which("go"):
        return False
    try:
        asked = subprocess.run(["go", "env", "GOVERSION", "GOTOOLCHAIN"], capture_output=True, text=True, check=False)  # noqa: S607 - the one on PATH
    except OSError:  # as one for another machine
        return False
    found = re.match(r"go(\d+)\.(\d+)\S*\n(.*)", asked.stdout)
    if not found:
        return False
    version = (int(found[1]), int(found[2]))
    return version >= OLDEST or (version >= SWITCHING and found[3] != "local")


def _go(*words: object, cwd: Path) -> str:
    if not _go_fits():
        raise PeerError(f"needs {NEEDED}", missing=True)
    settings = [
        "CGO_ENABLED=0",
        "GOWORK=off",
        "GOFLAGS=-mod=readonly -buildvcs=false -trimpath -modcacherw",
        f"GOMODCACHE={folder() / 'modules'}",
    ]
    return call(["env", *settings, "go", *words], cwd)


def _build_filebeat(aside: Path) -> None:
    module = json.loads(_go("mod", "download", "-json", MODULE, cwd=aside))
    if module["Sum"] != SUM:
        raise PeerError(f"{MODULE} is not what it was: its sum is {module['Sum']}, and should be {SUM}")
    _go("build", "-o", aside / "filebeat", "./filebeat", cwd=Path(module["Dir"]))


def _build_library(aside: Path) -> None:
    _go("build", "-o", f"{aside}/", "./...", cwd=LIBRARY)
