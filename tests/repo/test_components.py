"""Every component is laid out, named, versioned and licensed alike, and shares no code with another."""

import ast
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

from dev.configuration import COMPONENTS, ROOT

FOLDERS = [component.folder for component in COMPONENTS]

SUPPORTED = ("3.11", "3.12", "3.13")

SHARED = {
    ("dev/compose", "jld_embedded"): "the other way to run the same stack: its secrets, its `.env`, its logs",
    ("dev/compose", "jld_broker"): "where the broker listens is told in its settings alone",
    ("dev/compose", "jld_github"): "likewise of the stand-in",
    ("k8s", "jld_embedded"): "the third way: certificates, messages and errors are made alike",
    ("k8s", "jld_fileserver"): "where the file server listens is told in its settings alone",
}
"""Whose package another component may import, with the reason."""

OTHERS_PACKAGES = {"logstash", "watchdog"}
"""Packages of python-logstash and watchdog, which one of the same name would shadow."""


@pytest.fixture(params=FOLDERS)
def folder(request: pytest.FixtureRequest) -> Path:
    """Give each component's folder, relative to the checkout."""
    return Path(request.param)


@pytest.fixture
def project(folder: Path) -> dict[str, Any]:
    """Read the [project] table of a component."""
    return project_of(folder)


def project_of(folder: Path) -> dict[str, Any]:
    """Read the [project] table of a component."""
    table: dict[str, Any] = tomllib.loads((ROOT / folder / "pyproject.toml").read_text())["project"]
    return table


def test_every_component_is_in_the_documentation(files: list[str]) -> None:
    """Each folder with a pyproject.toml is among the components of dev/configuration.py."""
    found = {str(Path(name).parent) for name in files if name.endswith("/pyproject.toml")}
    assert found == set(FOLDERS)


def test_anatomy(folder: Path, files: list[str]) -> None:
    """A component has the files that all components have, and a suite of tests at the same place below tests/."""
    package = f"{folder}/jld_{folder.name}"
    expected = {f"{folder}/{name}" for name in ("README.md", "pyproject.toml", "requirements.txt")}
    expected |= {f"{package}/{name}" for name in ("__init__.py", "__main__.py", "settings.py", "py.typed")}
    assert expected - set(files) == set()
    assert any(re.match(rf"tests/{folder}/test_\w+\.py", name) for name in files), f"tests/{folder} has no tests"


def test_project(folder: Path, project: dict[str, Any]) -> None:
    """A component's package is named after its folder, runs on each supported Python, and has the MIT licence."""
    assert project["name"] == f"jld-{folder.name}"
    assert project["license"] == "MIT"
    assert project["requires-python"] == ">=3.11"
    assert all(version in SpecifierSet(project["requires-python"]) for version in SUPPORTED)
    assert project["description"]


def test_one_version(texts: dict[str, str]) -> None:
    """All components have one version, which the images in files of settings and manifests have too."""
    versions = {str(project_of(Path(folder))["version"]) for folder in FOLDERS}
    for name, text in texts.items():
        if not name.startswith("tests/"):
            versions |= set(re.findall(r"\blsstsqre/jld-[a-z0-9-]+:(\d+\.\d+\.\d+)", text))
    assert len(versions) == 1, f"different versions: {sorted(versions)}"


def test_no_package_shadows_a_library(files: list[str]) -> None:
    """No Python package or module has the name of a dependency."""
    packages = {Path(name).parent.name for name in files if Path(name).name == "__init__.py"}
    modules = {Path(name).stem for name in files if name.endswith(".py") and not name.startswith("tests/")}
    assert (packages | modules) & OTHERS_PACKAGES == set()


def test_components_share_no_code(folder: Path, modules: dict[str, ast.Module]) -> None:
    """A component's package imports no other component's."""
    foreign = {f"jld_{Path(other).name}" for other in FOLDERS} - {f"jld_{folder.name}"}
    foreign -= {package for user, package in SHARED if user == str(folder)}
    found = []
    for name, module in modules.items():
        if not name.startswith(f"{folder}/"):
            continue
        for node in ast.walk(module):
            match node:
                case ast.Import():
                    imported = {alias.name.partition(".")[0] for alias in node.names}
                case ast.ImportFrom(module=str(origin)):
                    imported = {origin.partition(".")[0]}
                case _:
                    continue
            found += [f"{name}:{node.lineno}: {package}" for package in imported & foreign]
    assert found == []


def test_licence() -> None:
    """The licence is MIT's."""
    assert (ROOT / "LICENSE").read_text().startswith("MIT License\n")
