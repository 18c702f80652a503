"""What the registry keeps of a file."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

from pydantic import Field

from .inputs import Format
from .source import HEAD, Key

Offset = Annotated[int, Field(ge=0, lt=2**63)]
Id = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]

NOWHERE: Key = (0, 0)
"""What a file is at that was truncated: its bytes may be in a copy."""


class Cut(NamedTuple):
    """Where a line ends though no line feed says so: nobody went on with it, so it was shipped as it is.

    Attributes:
        offset: the byte behind it; what is written there is another line.
        has_parts: whether lines of which only parts are there ended there too.
    """

    offset: Offset
    has_parts: bool


@dataclass(frozen=True)
class Entry:
    """What the registry keeps of a file.

    Attributes:
        id: 128 random bits in hexadecimal digits.
        device: where its inode is.
        inode: number of its inode.
        generation: of the inode, None where the file system tells none.
        path: where it was first seen.
        format: of its lines.
        offset: from where it has to be read again after a restart, in bytes.
        done: up to where its lines were shipped then, in bytes; before, only parts of unfinished lines are of interest.
        head: length of its beginning that is known, in bytes.
        digest: SHA-256 of that beginning.
        previous: id of the file that its first lines may continue.
        read: up to where it was read, in bytes.
        ends: SHA-256 of the last bytes before that.
        cuts: where lines may have been shipped though they had no end.
        place: where it was seen last.
    """

    id: Id
    device: int
    inode: int
    generation: int | None
    path: str
    format: Format
    offset: Offset
    done: Offset
    head: Annotated[int, Field(ge=0, le=HEAD)]
    digest: str
    previous: Id | None
    read: Offset = 0
    ends: str = ""
    cuts: tuple[Cut, ...] = ()
    place: str = ""

    @property
    def key(self) -> Key:
        """Device and inode."""
        return self.device, self.inode
