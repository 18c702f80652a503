"""What is known of files over restarts: `registry.json` in the state folder."""

import datetime as dt
import fcntl
import json
import logging
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter

from .entry import Entry
from .errors import BadSettingError, UnavailableError

_log = logging.getLogger(__name__)
_entries = TypeAdapter(list[Entry])


class Registry:
    """The registry, held by this process alone until it is closed.

    Args:
        folder: the state folder; it is made unless it is there.

    Raises:
        BadSettingError: the folder cannot be made or written.
        UnavailableError: another shipper has it.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "registry.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BadSettingError(
                "FILEBEAT_STATE_DIR", str(folder), f"should be a folder to write in ({error.strerror})"
            ) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise UnavailableError(
                f"FILEBEAT_STATE_DIR={folder}: should be used by one shipper only, and another one runs"
            ) from error

    def __enter__(self) -> Self:
        """Give itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let another process have it."""
        self.close()

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._lock)

    def read(self) -> list[Entry]:
        """Give the entries; a damaged registry is set aside, and there are none.

        Raises:
            BadSettingError: it cannot be read.
        """
        try:
            content = json.loads(self.path.read_bytes())
            files = content["files"]
            # Earlier versions wrote none.
            if content.get("crc32", checksum := _checksum(json.dumps(files))) != checksum:
                raise ValueError  # noqa: TRY301 # as if it were no JSON
            return _entries.validate_python(files)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise BadSettingError(
                "FILEBEAT_STATE_DIR",
                str(self.path.parent),
                f"should hold a registry that can be read ({error.strerror})",
            ) from error
        except (ValueError, KeyError, TypeError, RecursionError):
            aside = self.path.with_name(f"registry.json.damaged-{dt.datetime.now(dt.UTC):%Y%m%dT%H%M%SZ}")
            self.path.replace(aside)
            _log.error("the registry is damaged and set aside as %s; all files are shipped again, with new ids", aside)
            return []

    def write(self, entries: Iterable[Entry]) -> None:
        """Replace the registry, so that at any moment, after a power cut too, it is there as a whole.

        Raises:
            OSError: it cannot be written.
        """
        files = json.dumps([vars(entry) for entry in entries])
        aside = self.path.with_name("registry.json.new")
        with aside.open("w", encoding="ascii") as file:
            file.write(f'{{"files": {files}, "crc32": {_checksum(files)}}}')
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.path)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _checksum(files: str) -> int:
    return zlib.crc32(files.encode("ascii"))
