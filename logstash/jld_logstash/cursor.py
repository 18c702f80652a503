"""The file that tells up to where the spool is confirmed: a position and its checksum."""

import logging
import os
import zlib
from pathlib import Path

_log = logging.getLogger(__name__)

_NAME = "cursor"


def load(folder: Path) -> int:
    """Read the position; with none to be read, the spool is sent from its begin: some of it again, none of it never.

    Raises:
        OSError: anything the file system refuses.
    """
    try:
        text = (folder / _NAME).read_bytes()
    except FileNotFoundError:
        return 0
    position = text.partition(b" ")[0]
    if text != _content(int(position) if position.isdigit() else 0):
        _log.warning("the spool's cursor is damaged: all that the spool holds is sent again")
        return 0
    return int(position)


def store(folder: Path, position: int) -> None:
    """Write the position, so that after a crash at any moment there is the old file or the new one.

    Raises:
        OSError: anything the file system refuses; the old file stays.
    """
    aside = folder / f"{_NAME}.new"
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(file, _content(position))
        os.fsync(file)
    finally:
        os.close(file)
    aside.replace(folder / _NAME)
    sync_folder(folder)


def _content(position: int) -> bytes:
    text = b"%d" % position
    return b"%b %08x\n" % (text, zlib.crc32(text))


def sync_folder(folder: Path) -> None:
    """Have the names of a folder's files on disk.

    Raises:
        OSError: anything the file system refuses.
    """
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
