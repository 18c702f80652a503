"""What a preflight finds."""

from typing import NamedTuple

from jld_embedded.lines import printable


class Finding(NamedTuple):
    """Something to put right before anything is changed.

    Attributes:
        what: is not as it should be.
        remedy: what to do about it.
    """

    what: str
    remedy: str

    def __str__(self) -> str:
        """Put it on one line."""
        return printable(f"{self.what} \N{EM DASH} {self.remedy}")
