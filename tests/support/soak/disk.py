"""A disk that forgets, when the power goes, what was not synced; what kill -9 cannot show.

The program itself notes what it syncs (`Recorder`), and whoever cuts the power has the folder be what is left then.
"""

import contextlib
import json
import os
import random
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Disk:
    """A folder, without those below it, on such a disk.

    Args:
        folder: the folder.
        beside: a folder on the same file system for the disk's own use: files are not gone with their names.
        journal: a file elsewhere, for what is synced.
    """

    def __init__(self, folder: Path, beside: Path, journal: Path) -> None:
        self.folder = folder
        self._beside = beside
        self._journal = journal

    def sync_file(self, file: int, size: int) -> None:
        """Note that the first bytes of a file are on disk."""
        self._note({"inode": os.fstat(file).st_ino, "size": size})

    def sync_names(self) -> None:
        """Note that the folder is on disk: which names there are, and for which files."""
        names = {entry.name: entry.inode() for entry in os.scandir(self.folder)}
        kept = {int(name) for name in os.listdir(self._beside)}  # noqa: PTH208 # names are all that is needed
        for name, inode in names.items():
            if inode not in kept:
                (self._beside / str(inode)).hardlink_to(self.folder / name)
        self._note({"names": names})
        for inode in kept - set(names.values()):
            (self._beside / str(inode)).unlink()

    def _note(self, entry: dict[str, Any]) -> None:
        with self._journal.open("ab", buffering=0) as journal:
            journal.write(json.dumps(entry).encode() + b"\n")

    def cut_power(self, chance: random.Random) -> None:
        """Have the folder be as a machine finds it that lost its power; nobody may use it meanwhile.

        What was not synced may be there or not: names all or none, of a file's bytes some, or zeros in their place.
        """
        sizes, names = self._synced()
        if chance.random() < 0.5:
            self._forget_names(names)
        for path in self.folder.iterdir():
            found = path.stat()
            safe = min(sizes.get(found.st_ino, 0), found.st_size)
            left = chance.choice((safe, chance.randint(safe, found.st_size)))
            os.truncate(path, left)
            if chance.random() < 0.3:
                os.truncate(path, found.st_size)
        self._begin_anew()

    def _synced(self) -> tuple[dict[int, int], dict[str, int]]:
        sizes: dict[int, int] = {}
        names: dict[str, int] = {}
        with contextlib.suppress(FileNotFoundError):
            for line in self._journal.read_text().splitlines():
                entry = json.loads(line)
                names = entry.get("names", names)
                if "inode" in entry:
                    sizes[entry["inode"]] = entry["size"]
        return sizes, names

    def _forget_names(self, names: dict[str, int]) -> None:
        for path in self.folder.iterdir():
            path.unlink()
        for name, inode in names.items():
            (self.folder / name).hardlink_to(self._beside / str(inode))

    def _begin_anew(self) -> None:
        """After a start, what is on disk is on disk."""
        self._journal.unlink(missing_ok=True)
        for path in self._beside.iterdir():
            path.unlink()
        for path in self.folder.iterdir():
            found = path.stat()
            self._note({"inode": found.st_ino, "size": found.st_size})
        self.sync_names()


class Recorder:
    """Tells a disk what this program syncs.

    Args:
        disk: the disk.
        late: seconds after which something is on disk; with more than 0, fsync returns too early.
    """

    def __init__(self, disk: Disk, late: float = 0) -> None:
        self._disk = disk
        self._late = late
        self._fsync = os.fsync

    def install(self) -> None:
        """Have all of this program's calls of os.fsync noted."""
        os.fsync = self._sync  # type: ignore[assignment] # files are given by their numbers here

    def _sync(self, file: int) -> None:
        self._fsync(file)
        path = Path(f"/proc/self/fd/{file}").readlink()
        if path == self._disk.folder:
            self._disk.sync_names()
        elif path.parent == self._disk.folder:
            file, size = os.dup(file), os.fstat(file).st_size
            if self._late:
                threading.Timer(self._late, self._note, (file, size)).start()
            else:
                self._note(file, size)

    def _note(self, file: int, size: int) -> None:
        try:
            self._disk.sync_file(file, size)
        finally:
            os.close(file)


def install(late: Mapping[str, float]) -> str:
    """Put this program on a disk that its arguments name: FOLDER BESIDE JOURNAL [MUTANT]; they are gone then.

    Args:
        late: for mutants, how many seconds late they have on disk what they synced.

    Returns:
        The mutant, or nothing.
    """
    folder, beside, journal, mutant = [*sys.argv[1:], ""][:4]
    sys.argv[1:] = []
    Recorder(Disk(Path(folder), Path(beside), Path(journal)), late.get(mutant, 0)).install()
    return mutant
