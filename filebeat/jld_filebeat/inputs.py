"""Which files are followed, and what their paths tell about them."""

import fnmatch
import functools
import json
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .source import GZIP

Format = Literal["plain", "cri", "docker"]

_LEFT_OUT = ".tmp"
"""What the kubelet writes while it compresses a rotated file."""

_CONFIG_LIMIT = 2**20
"""Bytes that are read of what Docker wrote about a container; usual are a few thousand."""

_KUBERNETES = re.compile(r"/([^/_]+)_([^/_]+)_[^/_]+/([^/]+)/\d+\.log[^/]*$")
_DOCKER = re.compile(r"/([0-9a-f]{12,64})/[^/]*\.log[^/]*$")
_BASE = re.compile(r"(.*/[^/]*?\.log)(?:[.-][^/]*)?")


class Input(NamedTuple):
    """Files of one format.

    Attributes:
        format: how their lines are written.
        pattern: absolute glob; `*`, `?` and `[…]` match within a name, and no name that begins with a dot.
    """

    format: Format
    pattern: str

    def matches(self, path: str) -> bool:
        """Whether a path is one of them."""
        names, patterns = path.split("/"), self.pattern.split("/")
        return (
            len(names) == len(patterns)
            and not path.endswith(_LEFT_OUT)
            and all(_matches(name, pattern) for name, pattern in zip(names, patterns, strict=True))
        )


class Found(NamedTuple):
    """What is there now.

    Attributes:
        files: path of each file with its format.
        folders: those in which a new file or folder could matter.
        unseen: folders that are there but cannot be listed, and why.
    """

    files: dict[str, Format]
    folders: set[str]
    unseen: dict[str, OSError]


def find(inputs: Iterable[Input]) -> Found:
    """Look for the files of all inputs; what vanishes meanwhile is left out."""
    found = Found({}, set(), {})
    for wanted in inputs:
        paths = [""]
        *folders, last = wanted.pattern.split("/")[1:]
        for pattern in folders:
            paths = [path for parent in paths for path in _list(parent, pattern, found)]
        for parent in paths:
            for path in _list(parent, last, found, literal=False):
                if not path.endswith(_LEFT_OUT):
                    found.files.setdefault(path, wanted.format)
    for path in [path for path in found.files if path.endswith(GZIP) and path.removesuffix(GZIP) in found.files]:
        del found.files[path]  # it is being made
    return found


def _list(parent: str, pattern: str, found: Found, *, literal: bool = True) -> list[str]:
    if literal and not re.search(r"[*?[]", pattern):
        return [f"{parent}/{pattern}"]
    try:
        names = os.listdir(parent or "/")  # noqa: PTH208 # as names: no object for a path, each second
    except (FileNotFoundError, NotADirectoryError):
        # Until it exists, its own folder is where that would be seen.
        found.folders.add(str(Path(parent).parent))
        return []
    except OSError as error:
        found.unseen[parent] = error
        return []
    found.folders.add(parent or "/")
    return sorted(f"{parent}/{name}" for name in names if _matches(name, pattern))


def _matches(name: str, pattern: str) -> bool:
    if name.startswith(".") and not pattern.startswith("."):
        return False
    return _compile(pattern).match(name) is not None


@functools.lru_cache
def _compile(pattern: str) -> re.Pattern[str]:
    return re.compile(fnmatch.translate(pattern))


def base(path: str) -> str:
    """Give the path that a log had before it was rotated: `/x/0.log` of `/x/0.log.20260101-000000`."""
    match = _BASE.fullmatch(path)
    return match[1] if match else path


def describe(path: str, form: Format, node: str) -> dict[str, Any]:
    """Tell the fields of events that follow from a file's path.

    Args:
        path: of the file, as the kubelet or Docker made it.
        form: of its lines.
        node: name of the node.
    """
    fields: dict[str, Any] = {"host": {"name": node}}
    if form == "cri" and (match := _KUBERNETES.search(path)):
        namespace, pod, container = match.groups()
        fields["kubernetes"] = {"namespace": namespace, "pod": pod, "container": container, "node": node}
    elif form == "docker" and (match := _DOCKER.search(path)):
        fields["container"] = {"id": match[1]} | _docker_name(Path(path).with_name("config.v2.json"))
    return fields


def _docker_name(config: Path) -> dict[str, str]:
    try:
        name = json.loads(_read(config))["Name"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {"name": name.removeprefix("/")} if isinstance(name, str) else {}


def _read(path: Path) -> bytes:
    """Read a file; what is no file is not waited for."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 # its number
        return file.read(_CONFIG_LIMIT) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""
