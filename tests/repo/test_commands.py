"""Every verb of the Makefile is documented, and the commands that the texts tell exist."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from dev.configuration import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()

VERBS = {"up", "down", "status", "logs", "test", "test-%", "e2e", "e2e-browser", "lint", "format", "clean"}
"""What the project promises."""

WITHOUT_TEXT = {
    "distribution": "a step of `make up`; by itself it would leave programs that nothing runs",
    "ready": "a step of other verbs, of no use by itself",
    "tools": "likewise, where containers hold the rest",
}

TARGETS = {
    target: rest
    for targets, rest in re.findall(r"^([A-Za-z][\w%. -]*):(?!=)([^#\n]*(?:##[^\n]*)?)", MAKEFILE, re.MULTILINE)
    for target in targets.split()
}
"""Each target's prerequisites and text."""


def commands(text: str) -> set[str]:
    """Find the verbs of `make` that a text tells a reader to type, in code only."""
    code = re.findall(r"^```.*?^```|`[^`\n]+`|^ {4}(?:\$ |[^\n]*&& )?make [^\n]*", text, re.MULTILINE | re.DOTALL)
    return {verb for part in code for verb in re.findall(r"\bmake ((?!-)[a-z][a-z0-9-]*[a-z0-9])(?![\w<%-])", part)}


def test_commands_are_seen() -> None:
    """The check of commands sees a verb wherever a reader would copy it from, and no prose."""
    code = "    git clone x && make one\n\nor `make two service=hub`:\n\n```sh\nmake three\n```\n"
    prose = "Make sure to make hay.\n    and make sure that `make test-<suite>` is no verb\n"
    assert commands(f"{prose}\n{code}\n{prose}") == {"one", "two", "three"}


def exists(verb: str) -> bool:
    """Whether the Makefile knows a verb; that of a suite needs the suite."""
    suite = verb.removeprefix("test-")
    return verb in TARGETS or (verb != suite and (ROOT / "tests" / suite).is_dir())


def test_promised_verbs_exist() -> None:
    """The Makefile has every verb that the project promises."""
    assert VERBS - set(TARGETS) == set()


def test_every_target_is_a_verb() -> None:
    """No target is taken for a file: all but patterns are .PHONY, and all of .PHONY exist."""
    phony = {name for line in re.findall(r"^\.PHONY:(.*)$", MAKEFILE, re.MULTILINE) for name in line.split()}
    named = {target for target in TARGETS if "%" not in target}
    assert named - phony == set(), "add these to .PHONY"
    assert phony - named == set(), "these of .PHONY have no rule"


def test_every_target_has_a_text() -> None:
    """Each target says in a line what it does, behind ##."""
    bare = {target for target, rest in TARGETS.items() if not re.search(r"## \S", rest)}
    assert bare == set(WITHOUT_TEXT), "give these a `## text`"


def test_make_alone_prints_the_verbs(tmp_path: Path) -> None:
    """`make` prints each verb with its text, on a fresh clone too, and makes nothing."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    # A variable of a make that runs these tests would change what this one prints.
    environment = {"PATH": os.environ["PATH"]}
    done = subprocess.run(["make"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for target, rest in TARGETS.items():
        if target not in WITHOUT_TEXT:
            text = rest.partition("## ")[2]
            verb = target.replace("%", "<suite>")
            assert re.search(rf"^ +make {re.escape(verb)} +{re.escape(text)}$", done.stdout, re.MULTILINE), target
    assert [path.name for path in tmp_path.iterdir()] == ["Makefile"]


def test_make_names_the_suites() -> None:
    """`make` says for which suites there is a `make test-<suite>`."""
    done = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    suites = {path.parent.relative_to(ROOT / "tests").parts[0] for path in ROOT.glob("tests/*/**/test_*.py")}
    named = re.search(r"suites: (.*)", done.stdout)
    assert named
    assert set(named[1].split()) == suites - {"e2e"}


def test_told_commands_exist(texts: dict[str, str]) -> None:
    """Each `make` command in a document or in .ci/run is a target of the Makefile."""
    wrong = []
    for name, text in texts.items():
        if name.endswith(".md"):
            told = commands(text)
        elif name == ".ci/run":
            told = set(re.findall(r"^ *step make (\S+)", text, re.MULTILINE))
        else:
            continue
        wrong += [f"{name}: make {verb}" for verb in told if not exists(verb)]
    assert wrong == []


@pytest.mark.parametrize("verb", ["up", "test"])
def test_readme_tells_the_two_commands(verb: str) -> None:
    """The first screen of the README has the commands that start the stack and prove it."""
    screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:40])
    assert verb in commands(screen)


def test_ci_runs_what_the_readme_tells() -> None:
    """`.ci/run` can be executed, stops at a failure, and runs the README's own test commands."""
    run = ROOT / ".ci/run"
    assert os.access(run, os.X_OK)
    text = run.read_text()
    assert "set -euo pipefail" in text
    told = commands((ROOT / "README.md").read_text())
    for verb in ("lint", "test", "e2e"):
        assert verb in told, f"README.md does not tell `make {verb}`"
        assert re.search(rf"^ *step make {verb}(?: target=\S+)?$", text, re.MULTILINE), (
            f".ci/run does not run `make {verb}`"
        )
