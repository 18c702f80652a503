"""The bootstrap, as a program, with tools of a few lines in the place of uv and npm; and its choices."""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]

TOOL = """#!/bin/sh
echo "$(basename "$0") $*" >> "$TOOL_LOG"
case "$*" in "$TOOL_FAILS_AT"*) echo "$TOOL_SAYS"; exit 3;; esac
case "$*" in *"$TOOL_HANGS_AT"*) echo hanging >> "$TOOL_LOG"; exec sleep 60;; esac
case "$*" in ci*) mkdir -p node_modules/configurable-http-proxy;; esac
"""

NODE = """#!/bin/sh
printf '22 /usr/bin/true'
"""

STACK = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
folder.mkdir(exist_ok=True)
(folder / "loadLSST.bash").touch()
open(__import__("os").environ["TOOL_LOG"], "a").write("stack\\n")
"""


def load() -> ModuleType:
    """Import the program, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("bootstrap", CHECKOUT / "dev/bootstrap.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


bootstrap = load()


class Checkout:
    """A checkout with as little as the bootstrap reads, and an environment that it finds sound."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for file in (
            *("requirements-dev.txt", "dev/requirements-node.txt", "hub/proxy/package-lock.json"),
            "lab/requirements-stack.txt",
            *(f"{component}/pyproject.toml" for component in (*bootstrap.EDITABLE, *bootstrap.COPIED)),
        ):
            self.write(file, "")
        self.write("lab/jld_lab/stack.py", STACK)
        self.write("dev/bootstrap.py", (CHECKOUT / "dev/bootstrap.py").read_text())
        for tool in (".venv/bin/uv", "bin/npm", "bin/chmod"):
            self.write(tool, TOOL, 0o755)
        self.write("bin/node", NODE, 0o755)
        base = Path(os.path.realpath(sys.executable))
        (root / ".venv/bin/python").symlink_to(base)
        self.log = root / "calls"

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        """Write a file."""
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def begin(self, **tool: str) -> "subprocess.Popen[str]":
        """Begin the bootstrap."""
        self.log.write_text("")
        unset = {"TOOL_FAILS_AT": "nothing fails", "TOOL_HANGS_AT": "nothing hangs", "TOOL_SAYS": ""}
        return subprocess.Popen(
            [sys.executable, str(self.root / "dev/bootstrap.py")],
            env={"PATH": f"{self.root}/bin:/usr/bin:/bin", "TOOL_LOG": str(self.log), **unset, **tool},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, status: int = 0, **tool: str) -> str:
        """Run the bootstrap to its end; return what it wrote."""
        with self.begin(**tool) as process:
            output, _ = process.communicate(timeout=30)
        assert process.returncode == status, output
        return output

    def calls(self) -> list[str]:
        """List the steps that called a tool in the last run, in a word each."""
        words = {
            "pip sync": "packages",
            "--editable": "components",
            "stack": "stack",
            "npm ci": "proxy",
        }
        lines = [line for line in self.log.read_text().splitlines() if not line.startswith("chmod")]
        return [next(step for words_in, step in words.items() if words_in in line) for line in lines]


@pytest.fixture
def checkout(folder: Path) -> Checkout:
    """Give a checkout that every user can reach."""
    return Checkout(folder)


def test_each_step_is_done_once(checkout: Checkout) -> None:
    """The first run does every step, with a line for each; the second does nothing, says nothing, and is quick."""
    output = checkout.run()
    assert checkout.calls() == ["packages", "components", "stack", "proxy"]
    assert [line.split(" ...")[0] for line in output.splitlines()] == [
        *("Python packages", "components", "LSST stack", "proxy"),
    ]
    begun = time.monotonic()
    assert checkout.run() == ""
    assert time.monotonic() - begun < 1
    assert checkout.calls() == []


@pytest.mark.parametrize(
    ("file", "steps"),
    [
        ("requirements-dev.txt", ["packages", "components"]),
        ("hub/pyproject.toml", ["components"]),
        ("lab/jld_lab/settings.py", ["components"]),
        ("lab/requirements-stack.txt", ["components", "stack"]),
        ("hub/proxy/package-lock.json", ["proxy"]),
    ],
)
def test_only_what_changed_is_done_again(checkout: Checkout, file: str, steps: list[str]) -> None:
    """A change has those steps done again that depend on it."""
    checkout.run()
    checkout.write(file, "changed = True\n")
    checkout.run()
    assert checkout.calls() == steps


def test_lost_result_is_made_again(checkout: Checkout) -> None:
    """A step whose result was removed is done again."""
    checkout.run()
    shutil.rmtree(checkout.root / ".stack")
    (checkout.root / ".venv/bin/node").unlink()
    checkout.run()
    assert checkout.calls() == ["stack", "proxy"]


def test_failing_tool_is_shown(checkout: Checkout) -> None:
    """A failure ends the run with the tool's last words and a line of what to do; the next run goes on there."""
    output = checkout.run(1, TOOL_FAILS_AT="ci", TOOL_SAYS="npm error: nonsense")
    assert "    npm error: nonsense\n" in output
    assert output.splitlines()[-1] == "bootstrap: npm ci ended with status 3: see the lines above"
    checkout.run()
    assert checkout.calls() == ["proxy"]


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("error sending request for url: dns error", "no package registry can be reached"),
        ("npm error code ENOTFOUND", "no package registry can be reached"),
        ("error: No space left on device (os error 28)", "the disk is full"),
    ],
)
def test_usual_failures_have_a_remedy(checkout: Checkout, said: str, remedy: str) -> None:
    """Where the network or the disk is to blame the last line says so."""
    output = checkout.run(1, TOOL_FAILS_AT="pip sync", TOOL_SAYS=said)
    assert remedy in output.splitlines()[-1]


def test_killed_run_is_not_trusted(checkout: Checkout) -> None:
    """After a run that was killed half way through installing, the environment counts as unsound."""
    checkout.run()
    checkout.write("requirements-dev.txt", "new")
    with checkout.begin(TOOL_HANGS_AT="pip sync") as process:
        deadline = time.monotonic() + 10
        while "hanging" not in checkout.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
    record = json.loads((checkout.root / ".venv/bootstrap.json").read_text())
    assert record["packages"] == ""
    # Without a uv in the lock the environment cannot be made anew: the run gets as far as that.
    assert "names no uv" in checkout.run(1)


def test_interrupt_is_a_line(checkout: Checkout) -> None:
    """Ctrl-C ends the run with one line and the shell's status for it."""
    with checkout.begin(TOOL_HANGS_AT="pip sync") as process:
        deadline = time.monotonic() + 10
        while "hanging" not in checkout.log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=10)
    assert process.returncode == 130
    assert output.splitlines()[-1].startswith("bootstrap: interrupted")


def fake_python(folder: Path, name: str, version: tuple[int, int]) -> Path:
    """Write a program that answers as a Python of some version would."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    answer = json.dumps([str(program), version, [str(folder)]])
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{answer}\nEND\n")
    program.chmod(0o755)
    return program


def test_first_fitting_python_is_taken(folder: Path) -> None:
    """Pythons that are too old, too new, broken or missing are passed over."""
    broken = fake_python(folder, "broken", (3, 12))
    broken.write_text("#!/bin/sh\nexit 127\n")
    found = [
        *(folder / "missing", broken),
        *(fake_python(folder, "old", (3, 9)), fake_python(folder, "new", (3, 99))),
        *(fake_python(folder, "fit", (3, 12)), fake_python(folder, "later", (3, 11))),
    ]
    assert bootstrap.choose_interpreter(iter(found), shared=False).path == folder / "fit"
    with pytest.raises(bootstrap.SetupError, match=r"^Python 3\.11 to 3\.13 with venv is needed and not on"):
        bootstrap.choose_interpreter(iter(found[:4]), shared=False)


def test_python_that_others_cannot_execute_is_passed_over(folder: Path) -> None:
    """Where labs run as other users a Python below a closed folder won't do, and the error names that folder."""
    closed = fake_python(folder / "closed", "python", (3, 12))
    opened = fake_python(folder / "open", "python", (3, 11))
    closed.parent.chmod(0o700)
    assert bootstrap.choose_interpreter(iter([closed, opened]), shared=True).path == opened
    assert bootstrap.choose_interpreter(iter([closed, opened]), shared=False).path == closed
    with pytest.raises(bootstrap.SetupError, match=f"is below {closed.parent}, which other users cannot enter"):
        bootstrap.choose_interpreter(iter([closed]), shared=True)


def test_closed_folder_is_found(folder: Path) -> None:
    """Of the folders on the way, links resolved, the first one that others cannot enter is named."""
    inner = folder / "a/b/c"
    inner.mkdir(parents=True)
    assert bootstrap.closed_to_others(inner) is None
    (folder / "a/b").chmod(0o700)
    (folder / "link").symlink_to(inner)
    assert bootstrap.closed_to_others(folder / "link") == folder / "a/b"


def test_closed_checkout_gets_links(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where labs cannot enter the checkout, what they need is elsewhere; what is no link yet and precious stays."""
    checkout, shared = folder / "home/checkout", folder / "lib"
    checkout.mkdir(parents=True)
    checkout.parent.chmod(0o700)
    monkeypatch.setattr(bootstrap, "CHECKOUT", checkout)
    monkeypatch.setattr(bootstrap, "SHARED", shared)
    names = [".venv", ".stack", "var"]
    bootstrap.place(names, shared=False)
    assert not list(checkout.iterdir())
    (checkout / ".venv").mkdir()
    bootstrap.place(names, shared=True)
    assert all((checkout / name).readlink().parent.parent == shared for name in names)
    before = {name: (checkout / name).readlink() for name in names}
    bootstrap.place(names, shared=True)
    assert {name: (checkout / name).readlink() for name in names} == before
    (checkout / "var").unlink()
    (checkout / "var/export").mkdir(parents=True)
    with pytest.raises(bootstrap.SetupError, match="move it away first"):
        bootstrap.place(names, shared=True)
    assert (checkout / "var/export").is_dir()
