"""The stack: how it is built, how it is loaded, and what a member hears when it is missing."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from jld_lab.stack import MARKER, BuildError, build

from tests.lab.conftest import Lab

CHECKOUT = Path(__file__).resolve().parents[2]
REAL = (CHECKOUT / ".stack").resolve()  # members may be unable to pass the checkout

FAKE_UV = """#!/bin/sh
echo "$@" >> {log}
[ -e {log}.fail ] && {{ echo "no such package" >&2; exit 2; }}
case $1 in venv)
  for environment; do :; done
  mkdir -p "$environment/bin"
  printf '#!/bin/sh\\ncase "$*" in *metadata*) echo 30.1;; esac\\n' > "$environment/bin/python"
  chmod +x "$environment/bin/python";;
esac
"""


class Uv:
    """A uv that makes a virtual environment of one script, and takes note of each call."""

    def __init__(self, folder: Path) -> None:
        self.path, self.log = folder / "uv", folder / "uv.log"
        self.path.write_text(FAKE_UV.format(log=self.log))
        self.path.chmod(0o755)

    def calls(self) -> int:
        """Count the calls."""
        return len(self.log.read_text().splitlines()) if self.log.exists() else 0

    def fail(self) -> None:
        """Fail from now on."""
        Path(f"{self.log}.fail").touch()


@pytest.fixture
def uv(tmp_path: Path) -> Uv:
    """A uv."""
    return Uv(tmp_path)


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    """A lock file."""
    file = tmp_path / "requirements.txt"
    file.write_text("a==1\n")
    return file


def shell(stack: Path, script: str, options: str = "-euc") -> subprocess.CompletedProcess[str]:
    """Run a script in bash after loading a stack."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", options, f". '{stack}/loadLSST.bash'\n{script}"],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_build(tmp_path: Path, uv: Uv, lock: Path) -> None:
    """A stack is built with hashes checked, can be read by others, and works."""
    os.umask(0o077)
    try:
        assert build(tmp_path / "stack", str(uv.path), sys.executable, lock)
    finally:
        os.umask(0o022)
    assert "--require-hashes" in uv.log.read_text()
    assert (tmp_path / "stack").stat().st_mode & 0o777 == 0o755
    assert shell(tmp_path / "stack", "setup lsst_distrib; eups list").stdout == (
        "lsst_distrib          30.1       \tcurrent setup\n"
    )


def test_build_again(tmp_path: Path, uv: Uv, lock: Path) -> None:
    """A stack that is there is left alone until what it is built from changes."""
    build(tmp_path / "stack", str(uv.path), sys.executable, lock)
    calls = uv.calls()
    assert not build(tmp_path / "stack", str(uv.path), sys.executable, lock)
    assert uv.calls() == calls
    lock.write_text("a==2\n")
    assert build(tmp_path / "stack", str(uv.path), sys.executable, lock)
    assert uv.calls() == 2 * calls


def test_build_fails(tmp_path: Path, uv: Uv, lock: Path) -> None:
    """A failure tells what uv said, leaves an earlier stack as it was, and no half of a new one."""
    build(tmp_path / "stack", str(uv.path), sys.executable, lock)
    lock.write_text("a==2\n")
    uv.fail()
    with pytest.raises(BuildError, match="no such package"):
        build(tmp_path / "stack", str(uv.path), sys.executable, lock)
    assert shell(tmp_path / "stack", "setup lsst_distrib").returncode == 0
    assert not build(tmp_path / "stack", str(uv.path), sys.executable, _rewritten(lock, "a==1\n"))
    assert not list(tmp_path.glob(".stack*"))


def _rewritten(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def test_build_after_an_interruption(tmp_path: Path, uv: Uv, lock: Path) -> None:
    """What an interrupted build left behind is removed."""
    (tmp_path / ".stack.abc.part" / "env").mkdir(parents=True)
    assert build(tmp_path / "stack", str(uv.path), sys.executable, lock)
    assert not list(tmp_path.glob(".stack*"))


def test_build_never_replaces_anything_else(tmp_path: Path, uv: Uv, lock: Path) -> None:
    """A folder that is no stack is in the way, and stays."""
    (tmp_path / "stack").mkdir()
    (tmp_path / "stack" / "thesis.tex").touch()
    with pytest.raises(BuildError, match="is in the way"):
        build(tmp_path / "stack", str(uv.path), sys.executable, lock)
    assert (tmp_path / "stack" / "thesis.tex").exists()


def test_command_on_a_bare_interpreter(tmp_path: Path) -> None:
    """The file runs without anything installed, and ends in a line and status 1 where it cannot build."""
    program = CHECKOUT / "lab/jld_lab/stack.py"
    done = subprocess.run(
        [sys.executable, "-I", "-S", program, tmp_path / "stack", "--uv", tmp_path / "none"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == f"stack: cannot run {tmp_path}/none: No such file or directory\n"
    assert not list(tmp_path.iterdir())


def test_setup(stack: Path) -> None:
    """After setup the stack's Python is the first, once, and before it and after unsetup it is not there."""
    done = shell(
        stack,
        "echo $PATH; setup lsst_distrib; setup lsst_distrib 1.0; echo $PATH $LSST_DISTRIB_DIR; command -v python\n"
        "echo $SETUP_LSST_DISTRIB; unsetup lsst_distrib; echo $PATH ${SETUP_LSST_DISTRIB:-unset}",
    )
    assert done.stdout.splitlines() == [
        "/usr/bin:/bin",
        f"{stack}/env/bin:/usr/bin:/bin {stack}/env",
        f"{stack}/env/bin/python",
        f"lsst_distrib 1.0 -f Linux64 -Z {stack}",
        "/usr/bin:/bin unset",
    ]
    assert not done.stderr


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("setup nosuch", 1, "Unable to find an acceptable version of nosuch\n"),
        ("setup nosuch 1.0", 1, "Failed to setup nosuch 1.0: Product nosuch 1.0 not found\n"),
        ("setup lsst_distrib 2", 1, "Failed to setup lsst_distrib 2: Product lsst_distrib 2 not found\n"),
        ("unsetup lsst_distrib", 1, "Failed to unsetup lsst_distrib: Product lsst_distrib not found\n"),
        ("setup", 3, "setup: please specify at least a product name\nUsage: setup product [version]\n"),
        ("setup -t w_latest", 3, "setup: this stack knows no option -t\nUsage: setup product [version]\n"),
        ("eups list nosuch", 1, "eups list: Unable to find product nosuch\n"),
        ("eups distrib", 3, "eups: this stack knows only: eups list [product]\n"),
    ],
)
def test_failures_are_those_of_eups(stack: Path, command: str, status: int, said: str) -> None:
    """What cannot be done fails with EUPS's words and status, and ends a script under `set -e`."""
    done = shell(stack, f"{command} || echo status $?")
    assert (done.stdout, done.stderr) == (f"status {status}\n", said)
    assert shell(stack, f"{command}; echo on").stdout == ""


def test_moved(stack: Path, tmp_path: Path) -> None:
    """A stack works wherever it lies, also where its path has spaces."""
    moved = tmp_path / "the stack"
    shutil.copytree(stack, moved)
    assert shell(moved, "setup lsst_distrib; command -v python").stdout == f"{moved}/env/bin/python\n"


def test_missing_stack(new_lab: Callable[..., Lab]) -> None:
    """Where the stack is missing, the member gets a sentence that says so, and the log has it."""
    lab = new_lab(LAB_STACK_DIR="/nowhere/stack").start().ready()
    refused = lab.client.post("/api/kernels", json={"name": "LSST_Stack"})
    sentence = "The LSST stack is missing here: there is no /nowhere/stack/loadLSST.bash. Tell your operator."
    assert (refused.status_code, refused.json()["message"]) == (503, sentence)
    lab.wait_for_line("LSST_Stack cannot be started: there is no /nowhere/stack/loadLSST.bash")


def test_broken_stack(new_lab: Callable[..., Lab], open_folder: Path) -> None:
    """Where the stack has no lsst_distrib, the log says so."""
    broken = open_folder / "broken"
    broken.mkdir()
    (broken / "loadLSST.bash").write_text("setup() { echo no version >&2; return 1; }\n")
    lab = new_lab(LAB_STACK_DIR=str(broken)).start().ready()
    lab.client.post("/api/kernels", json={"name": "LSST_Stack"})
    lab.wait_for_line(f"LSST_Stack cannot be started: {broken} has no product lsst_distrib.")


def test_lsst_in_a_real_stack(new_lab: Callable[..., Lab]) -> None:
    """In LSST_Stack, lsst's butler, sphgeom and pipe.base work."""
    if not (REAL / MARKER).exists():
        reason = "needs the stack that `make up` builds"
        if os.environ.get("CI"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    lab = new_lab(LAB_STACK_DIR=str(REAL)).start().ready()
    printed = lab.run_cell(
        "import lsst, lsst.daf.butler, lsst.pipe.base\n"
        "from lsst.sphgeom import LonLat, UnitVector3d\n"
        "print(lsst.daf.butler.DataCoordinate.__name__, lsst.pipe.base.Task.__name__,\n"
        "    round(LonLat(UnitVector3d(0, 1, 0)).getLon().asDegrees()))"
    )
    assert printed == "DataCoordinate Task 90\n"
