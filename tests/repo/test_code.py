"""Rules that no linter knows: one reader of the environment, one place for a fact, small files, tests that say why."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.configuration import COMPONENTS, ROOT

LINES = 400

FOLDERS = tuple(f"{component.folder}/" for component in COMPONENTS)

READERS = {
    "dev/broker/jld_broker/__main__.py": "finds RabbitMQ on PATH, and hands it the environment that its script needs",
    "dev/compose/jld_compose/engine.py": "DOCKER_HOST is the engine's own variable, which its programs read too",
    "dev/bootstrap.py": "runs before anything is installed: finds a Python on PATH, and hands tools their environment",
    "dev/distribution.py": "runs before there are settings: NO_APT forbids it, and PATH has what need not be installed",
}

LONG: dict[str, str] = {}
"""Files of over 400 lines, with the reason."""

PORTS_ELSEWHERE = {
    "nginx/jld_nginx/upstream.py": "shows in a docstring what an address of the proxy looks like",
}
"""Files that repeat a default port, with the reason."""


def is_settings(name: str) -> bool:
    """Whether a file is the settings module of a component."""
    return name.startswith(FOLDERS) and Path(name).name == "settings.py"


def reads_of_environment(module: ast.Module) -> Iterator[int]:
    """Find the lines that read the environment; to set a variable for a library is no read."""
    written = {
        id(node.value)
        for node in ast.walk(module)
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del)
    }
    for node in ast.walk(module):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr="environ" | "environb" | "getenv" | "getenvb"):
                if id(node) not in written:
                    yield node.lineno
            case ast.ImportFrom(module="os", names=names):
                if any(alias.name.startswith(("environ", "getenv")) for alias in names):
                    yield node.lineno


def declared_tests(modules: dict[str, ast.Module]) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """List the test functions, each with where it is."""
    for name, module in modules.items():
        if re.fullmatch(r"tests/.*/test_\w+\.py", name):
            for node in ast.walk(module):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                    yield f"{name}:{node.lineno}: {node.name}", node


def unconditional_skips(node: ast.AST, *, guarded: bool = False) -> Iterator[int]:
    """Find the lines that skip, or expect to fail, without an `if` or `except` around them."""
    match node:
        case ast.Attribute(attr="skip" | "xfail", value=ast.Attribute(attr="mark")):
            yield node.lineno
        case ast.Attribute(attr="skip" | "xfail" | "importorskip", value=ast.Name(id="pytest")) if not guarded:
            yield node.lineno
        case ast.Call(func=ast.Name(id="lacks")) if not guarded:
            yield node.lineno
        case ast.Call(func=ast.Attribute(attr="skipif"), args=[ast.Constant(), *_]):
            yield node.lineno
    inside = guarded or isinstance(node, ast.If | ast.ExceptHandler)
    for child in ast.iter_child_nodes(node):
        yield from unconditional_skips(child, guarded=inside)


def test_only_settings_read_the_environment(modules: dict[str, ast.Module]) -> None:
    """Outside settings.py no module of a component reads a variable of the environment."""
    readers = {
        name: list(reads_of_environment(module))
        for name, module in modules.items()
        if name.startswith((*FOLDERS, "dev/")) and not is_settings(name)
    }
    found = {name: lines for name, lines in readers.items() if lines}
    assert set(found) - set(READERS) == set(), f"make these a setting, or say in READERS why not: {found}"
    assert set(READERS) - set(found) == set(), "these read the environment no more: remove them from READERS"


def test_default_ports_are_told_once(texts: dict[str, str]) -> None:
    """The number of a default port stands in settings.py only; other code takes it from there."""
    defaults = [variable.default or "" for part in COMPONENTS for variable in part.variables()]
    told = [re.findall(r"^\d{4,5}$|(?<=:)\d{4,5}\b", default) for default in defaults]
    ports = {port for found in told for port in found if int(port) < 2**16}
    assert len(ports) > 4
    number = re.compile(rf"(?<![\w.])(?:{'|'.join(sorted(ports))})(?!\w|\.\d)")
    found = {
        name: number.findall(text)
        for name, text in texts.items()
        if name.endswith(".py") and name.startswith((*FOLDERS, "dev/", "bench/")) and not is_settings(name)
    }
    repeated = {name for name, numbers in found.items() if numbers}
    assert repeated - set(PORTS_ELSEWHERE) == set(), f"take these from the settings: {found}"
    assert set(PORTS_ELSEWHERE) - repeated == set(), "these repeat no port any more: remove them from PORTS_ELSEWHERE"


def test_files_are_short(texts: dict[str, str]) -> None:
    """A Python file has fewer than 400 lines."""
    lengths = {name: text.count("\n") for name, text in texts.items() if name.endswith(".py")}
    long = {name for name, length in lengths.items() if length >= LINES}
    assert long - set(LONG) == set(), "split these along a noun"
    assert set(LONG) - long == set(), "these are short now: remove them from LONG"


def test_every_test_states_what_it_expects(modules: dict[str, ast.Module]) -> None:
    """Each test has a docstring whose first paragraph is one sentence."""
    wrong = []
    for place, node in declared_tests(modules):
        text = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
        if not text.endswith(".") or re.search(r"(?<!e\.g)(?<!i\.e)[.!?] [A-Z]", text):
            wrong.append(f"{place}: {text!r}")
    assert wrong == [], "say in one sentence what is expected"


def test_no_test_is_switched_off(modules: dict[str, ast.Module]) -> None:
    """No test is skipped or expected to fail whatever the machine has: what cannot run is told by a marker."""
    found = [
        f"{name}:{line}"
        for name, module in modules.items()
        if name.startswith("tests/")
        for line in unconditional_skips(module)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("import os\nhome = os.environ['HOME']", [2]),
        ("import os\nhome = os.getenv('HOME')", [2]),
        ("import os\ncopy = dict(os.environ)", [2]),
        ("from os import environ", [1]),
        ("import os\nos.environ['HOME'] = '/'\ndel os.environ['USER']", []),
        ("import os\nmine = os.path.join('environ')", []),
    ],
)
def test_reads_are_seen(code: str, lines: list[int]) -> None:
    """The check of readers sees each way to read the environment, and lets writing it pass."""
    assert list(reads_of_environment(ast.parse(code))) == lines


@pytest.mark.parametrize(
    ("code", "lines"),
    [
        ("@pytest.mark.skip\ndef test_a(): pass", [1]),
        ("@pytest.mark.xfail(strict=True)\ndef test_a(): pass", [1]),
        ("@pytest.mark.skipif(True, reason='later')\ndef test_a(): pass", [1]),
        ("def test_a():\n  pytest.skip('later')", [2]),
        ("pytest.importorskip('httpx')", [1]),
        ("def test_a():\n  lacks('a disk')", [2]),
        ("def test_a():\n  if not shutil.which('git'):\n    pytest.skip('no git')", []),
        ("@pytest.mark.root\ndef test_a(): pass", []),
    ],
)
def test_skips_are_seen(code: str, lines: list[int]) -> None:
    """The check of skips sees each way to switch a test off, and lets those with a condition pass."""
    assert list(unconditional_skips(ast.parse(code))) == lines


def test_packages_are_all_there_is() -> None:
    """No folder that holds a component can be imported as a package itself."""
    assert [folder for folder in FOLDERS if (ROOT / folder / "__init__.py").exists()] == []
