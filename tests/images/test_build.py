"""How images are built: each from its folder, fast when a source changes, and none too large."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import dev.images
from dev.images import IMAGES, ROOT, Image, digest

SECONDS = 15
"""What a build may take after a source has changed."""


@pytest.mark.docker
def test_from_its_folder_alone(image: Image, alone: Callable[[Image], Path], build: Callable[..., str]) -> None:
    """`docker build .` works in a copy of the folder, and once more within seconds when a source has changed."""
    folder = alone(image)
    build(folder)
    source = folder / f"jld_{Path(image.folder).name}" / "settings.py"
    source.write_text(f"{source.read_text()}\n# Changed at {time.time_ns()}.\n")
    begun = time.monotonic()
    build(folder)
    took = time.monotonic() - begun
    print(f"{image.tag}: {took:.1f} s after a change")  # noqa: T201 - a figure for CI's log
    assert took < SECONDS


def test_made_of(tmp_path: Path) -> None:
    """An image is another when a file has changed that it is built from, and the same after all other changes."""
    folder = tmp_path / "hub"
    shutil.copytree(ROOT / "hub", folder, ignore=shutil.ignore_patterns("node_modules"))
    before = digest(folder)
    for other in ("README.md", "kubernetes/hub.yaml", "jld_hub/__pycache__/x.pyc", "proxy/node_modules/x/package.json"):
        (folder / other).parent.mkdir(parents=True, exist_ok=True)
        (folder / other).write_text("changed")
    assert digest(folder) == before
    for part in ("Dockerfile", "jld_hub/templates/login.html", "requirements.txt", "proxy/package-lock.json"):
        (folder / part).write_text("changed")
        assert digest(folder) != before
        before = digest(folder)


@pytest.mark.docker
def test_too_large(
    built: None,  # noqa: ARG001 - from the cache, then
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An image beyond its limit is built, named with both figures, and ends the program with a status of its own."""
    monkeypatch.setattr(dev.images, "IMAGES", [image._replace(limit=1000) for image in IMAGES])
    monkeypatch.setattr(sys, "argv", ["images", "github"])
    assert dev.images.main() == dev.images.EX_TOO_LARGE
    out, err = capsys.readouterr()
    assert "lsstsqre/jld-github" in out
    assert err.startswith("images: lsstsqre/jld-github:")
    assert err.endswith(" bytes, and may have 1,000\n")


def test_unknown_name() -> None:
    """A name that is no image's is refused with those that are."""
    done = subprocess.run(
        [sys.executable, ROOT / "dev/images.py", "nosuch"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no such image: nosuch" in done.stderr


def test_no_engine() -> None:
    """Where no engine answers, one line says so, with the status for a service that is not there."""
    done = subprocess.run(
        [sys.executable, ROOT / "dev/images.py", "github"],
        env={"PATH": "/usr/bin:/bin", "DOCKER_HOST": "tcp://127.0.0.1:1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 69
    assert done.stderr.startswith("images: no Docker engine answers: ")
    assert done.stderr.count("\n") == 1


def test_dockerfiles_are_clean() -> None:
    """Hadolint finds nothing in any Dockerfile."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*Dockerfile"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert {f"{image.folder}/Dockerfile" for image in IMAGES} <= set(listed)
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "--no-color", *listed], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
