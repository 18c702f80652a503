"""What writers do to their logs."""

from pathlib import Path


def append(file: Path, text: str) -> None:
    """Write to the end of a file."""
    with file.open("a") as log:
        log.write(text)
