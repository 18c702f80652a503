"""Names for the member's numbers, where an image's libnss-extrausers looks for them."""

import os
from collections.abc import Iterable
from pathlib import Path

from .settings import Group

PREFIX = "github-"
"""What keeps a name apart from one of the image's own; the number stays."""


def write(folder: Path, login: str, home: Path, groups: Iterable[Group], etc: Path = Path("/etc")) -> None:
    """Write the member's entries for passwd(5) and group(5), where the folder is there and may be written.

    Args:
        folder: Folder of libnss-extrausers.
        login: The member's login.
        home: The member's home.
        groups: The member's organizations.
        etc: Folder of the image's own passwd and group files.
    """
    if not os.access(folder, os.W_OK | os.X_OK):
        return
    user = _apart(login, _names(etc / "passwd"))
    taken = _names(etc / "group")
    uid, gid = os.geteuid(), os.getegid()
    members = {gid: f"{_apart(login, taken)}:x:{gid}:"}
    for group in groups:
        members.setdefault(group.gid, f"{_apart(group.name, taken)}:x:{group.gid}:{user}")
    (folder / "passwd").write_text(f"{user}:x:{uid}:{gid}::{home}:/bin/bash\n")
    (folder / "group").write_text("".join(f"{line}\n" for line in members.values()))


def _apart(name: str, taken: set[str]) -> str:
    return PREFIX + name if name in taken else name


def _names(file: Path) -> set[str]:
    try:
        return {line.partition(":")[0] for line in file.read_text().splitlines()}
    except FileNotFoundError:
        return set()
