"""Build the images: `python dev/images.py [NAME…]`, all of them unless named; prints names, sizes and times.

Standard library only, so that any Python 3.11 can run it.
"""
# ruff: noqa: INP001 - a program, no package

import argparse
import contextlib
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

EX_TOO_LARGE = 3
"""Exit status where an image is built, and has more bytes than it may have."""

BASE = "debian:trixie-slim"
"""What all images are built on; a newer one makes them old."""

LABEL = "org.lsst.jupyterlabdemo.made-of"
"""The digest of what an image was made of, by which `make up` need not ask the builder."""

INSPECTED = f'{{{{.Size}}}} {{{{index .Config.Labels "{LABEL}"}}}}'

LAST_LINES = 25
"""What of a failed build's output is shown."""


class ImageError(Exception):
    """An image cannot be built, for the reason that the text gives."""


class Image(NamedTuple):
    """One image.

    Attributes:
        folder: its component, which is all that it is built from.
        uid: the numeric user, and group, that its service has by itself. All are between 64000 and 64999, which Debian
            keeps free of people's accounts.
        limit: bytes that it may have; None where a stack decides.
        suffix: of the name, where that is not the folder's own.
    """

    folder: str
    uid: int
    limit: int | None = 350_000_000
    suffix: str = ""

    @property
    def name(self) -> str:
        """The image's name, without a tag."""
        return f"lsstsqre/jld-{self.suffix or Path(self.folder).name}"

    @property
    def tag(self) -> str:
        """The name with the component's version."""
        return f"{self.name}:{self.version}"

    @property
    def version(self) -> str:
        """The component's version."""
        return str(tomllib.loads((ROOT / self.folder / "pyproject.toml").read_text())["project"]["version"])


IMAGES = [
    Image("hub", 64081),
    Image("lab", 64089, limit=None, suffix="lab-py3"),
    Image("nginx", 64085),
    Image("fileserver", 64083),
    Image("filebeat", 64086),
    Image("logstash", 64087),
    Image("dev/github", 64082),
    Image("dev/broker", 64088),
]


def build(image: Image) -> int:
    """Build an image from its folder, where it is not there already, made from the same files.

    Returns:
        Its size in bytes.

    Raises:
        ImageError: the build fails; the text has its last lines.
    """
    made_of = digest(ROOT / image.folder)
    with contextlib.suppress(ImageError):
        size, _, made = _docker("image", "inspect", "--format", INSPECTED, image.tag).strip().partition(" ")
        if made == made_of:
            return int(size)
    _docker("build", "--tag", image.tag, "--label", f"{LABEL}={made_of}", str(ROOT / image.folder))
    return int(_docker("image", "inspect", "--format", INSPECTED, image.tag).split()[0])


def digest(folder: Path) -> str:
    """Digest what an image is made of: the files that its folder's .dockerignore lets in, and the base image."""
    total = hashlib.sha256()
    let_in = [line[1:] for line in (folder / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    tops = [path for pattern in ("Dockerfile", ".dockerignore", *let_in) for path in folder.glob(pattern)]
    for file in sorted(file for top in tops for file in (top, *top.rglob("*"))):
        if file.is_file() and "__pycache__" not in file.parts:
            total.update(f"{file.relative_to(folder)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    with contextlib.suppress(ImageError):
        total.update(_docker("image", "inspect", "--format", "{{.Id}}", BASE).encode())
    return total.hexdigest()


def _docker(*arguments: str) -> str:
    docker = shutil.which("docker")
    if not docker:
        raise ImageError("docker is not on PATH: install Docker and start its engine")
    ended = subprocess.run([docker, *arguments], capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if ended.returncode:
        last = "\n".join(ended.stderr.strip().splitlines()[-LAST_LINES:])
        raise ImageError(f"docker {arguments[0]} ended with status {ended.returncode}: {last}")
    return ended.stdout


def _engine() -> None:
    try:
        _docker("version", "--format", "{{.Server.Version}}")
    except ImageError as error:
        raise ImageError(" ".join(str(error).split())) from error


def main() -> int:
    """Build what the command line names.

    Returns:
        0; 69 where no engine answers; 1 where a build fails, after the last lines of its output; 3 where all are built,
        and one is larger than its limit.
    """
    known = {Path(image.folder).name: image for image in IMAGES}
    parser = argparse.ArgumentParser(prog="images", description="Build the images.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(known)}; all unless named")
    names = parser.parse_args().names or list(known)
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no such image: {', '.join(unknown)}")
    try:
        _engine()
    except ImageError as error:
        sys.stderr.write(f"images: no Docker engine answers: {error}\n")
        return os.EX_UNAVAILABLE
    _say(f"{'image':<32} {'size':>8} {'time':>8}")
    status = 0
    for name in names:
        image, begun = known[name], time.monotonic()
        try:
            size = build(image)
        except ImageError as error:
            sys.stderr.write(f"images: {image.tag}: {error}\n")
            return 1
        _say(f"{image.tag:<32} {size / 1e6:>5.0f} MB {time.monotonic() - begun:>6.1f} s")
        if image.limit and size > image.limit:
            sys.stderr.write(f"images: {image.tag}: {size:,} bytes, and may have {image.limit:,}\n")
            status = EX_TOO_LARGE
    return status


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
