"""Builds an LSST stack from PyPI's packages: `python stack.py DIR --uv UV --python PYTHON`.

It is laid out as far as users of a stack see it: `. DIR/loadLSST.bash; setup lsst_distrib`. It runs on a bare
interpreter, before anything is installed, and so imports the standard library only.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENTS = HERE.parent / "requirements-stack.txt"
SCRIPT = HERE / "loadLSST.bash"

MARKER = ".built-from"
"""File that makes a folder one of this module's stacks, and tells from what it was built."""

WARM_UP = "import ipykernel.kernelapp, lsst.daf.butler, lsst.pipe.base, lsst.sphgeom"
"""What kernels import: running it leaves its bytecode behind, a tenth of the work of compiling everything."""

VERSION = "from importlib import metadata; print(metadata.version('lsst-daf-butler'))"


class BuildError(Exception):
    """A stack cannot be built, for the reason that the text gives."""


def build(directory: Path, uv: str, python: str, requirements: Path = REQUIREMENTS) -> bool:
    """Build a stack, unless it is there already; the folder appears whole or not at all.

    Whoever calls this sees to it that nobody else does for the same folder.

    Args:
        directory: Where it shall be.
        uv: Path of the program uv.
        python: Interpreter for the stack, which members may execute.
        requirements: Lock file of the stack's packages, with hashes.

    Returns:
        Whether anything had to be built.

    Raises:
        BuildError: where something else is in the way, or uv fails.
    """
    directory = directory.absolute()
    source = _fingerprint(python, requirements)
    directory.parent.mkdir(parents=True, exist_ok=True)
    for leftover in directory.parent.glob(f".{directory.name}.*.part"):
        shutil.rmtree(leftover)
    if directory.exists():
        marker = directory / MARKER
        if not marker.is_file():
            raise BuildError(f"{directory} is in the way: it is there, and no stack")
        if marker.read_text() == source:
            return False
    part = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", suffix=".part", dir=directory.parent))
    old = directory.with_name(f".{directory.name}.old.part")
    try:
        part.chmod(0o755)
        _fill(part, uv, python, requirements)
        (part / MARKER).write_text(source)
        if directory.exists():
            directory.rename(old)
        part.rename(directory)
    finally:
        for leftover in (part, old):
            shutil.rmtree(leftover, ignore_errors=True)
    return True


def _fill(folder: Path, uv: str, python: str, requirements: Path) -> None:
    """Put a virtual environment, the version and the script that loads it into a folder."""
    environment = folder / "env"
    interpreter = str(environment / "bin/python")
    _run(uv, "venv", "--quiet", "--relocatable", "--python", python, str(environment))
    _run(uv, "pip", "install", "--quiet", "--python", interpreter, "--require-hashes", "-r", str(requirements))
    # -I: whoever builds may have told Python not to write bytecode.
    _run(interpreter, "-I", "-c", WARM_UP)
    (folder / "version").write_text(_run(interpreter, "-I", "-c", VERSION))
    shutil.copyfile(SCRIPT, folder / SCRIPT.name)


def _run(*command: str) -> str:
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - no shell
    except OSError as error:
        raise BuildError(f"cannot run {command[0]}: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        said = " ".join(error.stderr.split())[-500:]
        raise BuildError(f"{' '.join(command[:3])} … ended with status {error.returncode}: {said}") from error


def _fingerprint(python: str, requirements: Path) -> str:
    content = b"".join(file.read_bytes() for file in (requirements, SCRIPT, Path(__file__)))
    return f"{hashlib.sha256(content).hexdigest()} {Path(python).resolve()}\n"


def main() -> int:
    """Build a stack as the command line says.

    Returns:
        0, or 1 where it cannot be built, after a line that says why.
    """
    parser = argparse.ArgumentParser(prog="stack.py", description="Build an LSST stack from PyPI's packages.")
    parser.add_argument("directory", type=Path, metavar="DIR", help="where it shall be")
    parser.add_argument("--uv", default="uv", help="path of the program uv")
    parser.add_argument("--python", default=sys.executable, help="interpreter, executable for members")
    chosen = parser.parse_args()
    # Members read the stack, whoever builds it.
    os.umask(0o022)
    try:
        build(chosen.directory, chosen.uv, chosen.python)
    except (BuildError, OSError) as error:
        sys.stderr.write(f"stack: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
