"""What is in the images, and what the engine is told about them."""

import json
import re
from typing import Any

import pytest
from containers import docker

from dev.images import LABEL, ROOT, Image, digest

pytestmark = pytest.mark.docker

ROOT_BY_ITSELF = {"fileserver"}
"""Without a user: the provisioner gives folders away and Ganesha acts for all members."""

UNWATCHED = {"lab"}
"""Without a check: the hub watches labs by its own means."""

LOOK = r"""
import importlib.util, json, os, pathlib, shutil, stat, struct

def files():
    for top in ("/bin", "/etc", "/home", "/opt", "/root", "/sbin", "/srv", "/tmp", "/usr", "/var"):
        for folder, _, names in os.walk(top):
            yield from (os.path.join(folder, name) for name in names)

def compiled(source):
    try:
        head = pathlib.Path(importlib.util.cache_from_source(source)).read_bytes()[:16]
    except FileNotFoundError:
        return False
    flags, time, size = struct.unpack("<4xIII", head)
    found = os.stat(source)
    return flags == 0 and time == int(found.st_mtime) and size == found.st_size

every = list(files())
sources = [name for name in every if "/site-packages/jld_" in name and name.endswith(".py")]
tools = "pip pip3 uv npm npx corepack yarn gcc cc c++ ld make strip"
caches = ("/root/.cache/", "/root/.npm/", "/var/lib/apt/lists/", "/var/cache/apt/archives/", "/opt/build/", "/tmp/")
print(json.dumps({
    "setuid": [name for name in every if os.lstat(name).st_mode & (stat.S_ISUID | stat.S_ISGID)],
    "tools": [name for name in tools.split() if shutil.which(name)],
    "caches": [name for name in every if name.startswith(caches) and not name.endswith(("/lock", "/auxfiles"))],
    "configured": [name for name in every if name.endswith(("/pip.conf", "/.npmrc", "/npmrc", "/uv.toml"))],
    "sources": len(sources),
    "uncompiled": [name for name in sources if not compiled(name)],
    "locks": [name for name in every if name.endswith("package-lock.json") and "://" in pathlib.Path(name).read_text()
        and '"resolved"' in pathlib.Path(name).read_text()],
}))
"""


def told(image: Image) -> dict[str, Any]:
    """Return what the engine tells about an image."""
    return dict(json.loads(docker("image", "inspect", image.tag))[0])


def test_labels(image: Image) -> None:
    """An image has the labels of the OCI, and its component's version is its tag."""
    found = told(image)
    labels = found["Config"]["Labels"]
    assert image.tag in found["RepoTags"]
    assert labels == {
        "org.opencontainers.image.title": image.name.partition("/")[2],
        "org.opencontainers.image.description": labels["org.opencontainers.image.description"],
        "org.opencontainers.image.source": "https://github.com/lsst-sqre/jupyterlabdemo",
        "org.opencontainers.image.licenses": "MIT",
        "org.opencontainers.image.version": image.version,
        LABEL: digest(ROOT / image.folder),
    }


def test_user(image: Image) -> None:
    """An image names its user by number, so that the cluster can see that he is not root."""
    expected = "" if image.folder in ROOT_BY_ITSELF else f"{image.uid}:{image.uid}"
    assert told(image)["Config"]["User"] == expected


def test_start(image: Image) -> None:
    """What an image starts reaps what its children leave behind, and is watched by the engine."""
    config = told(image)["Config"]
    assert config["Entrypoint"][:2] == ["tini", "--"]
    assert config["Healthcheck"]["Test"][0] == ("NONE" if image.folder in UNWATCHED else "CMD")


def test_size(image: Image) -> None:
    """No image is larger than it may be."""
    size = told(image)["Size"]
    print(f"{image.tag}: {size / 1e6:.0f} MB")  # noqa: T201 - a figure for CI's log
    assert size <= (image.limit or size)


def test_contents(image: Image) -> None:
    """An image has its sources compiled, and no tools of the build, caches, programs with rights, or addresses."""
    found = json.loads(docker("run", "--rm", "--user=0", "--entrypoint=/usr/bin/python3", image.tag, "-I", "-c", LOOK))
    assert found.pop("sources") > 3
    assert {name: hits for name, hits in found.items() if hits} == {}


def test_history(image: Image) -> None:
    """No step of a build names an address, that of an index least of all."""
    history = docker("history", "--no-trunc", "--format={{.CreatedBy}}", image.tag)
    assert set(re.findall(r"\w+://\S+", history)) <= {"https://github.com/lsst-sqre/jupyterlabdemo"}


def test_pages_have_what_they_load(built: None) -> None:  # noqa: ARG001 - built before it is looked at
    """All that the hub's pages and style sheets name among JupyterHub's static files is there."""
    look = r"""
import pathlib, re
top = pathlib.Path("/opt/jld/share/jupyterhub")
found = {name for file in (top / "templates").glob("*.html")
    for name in re.findall(r"static_url\(['\"]([^'\"]+\.(?:js|css))['\"]", file.read_text())}
for sheet in (top / "static").rglob("*.css"):
    found |= {str((sheet.parent / name).resolve().relative_to(top / "static"))
        for name in re.findall(r"(?:url\(|@import\s*)['\"]?([\w./@-]+\.(?:css|woff2?|ttf|svg))", sheet.read_text())}
found |= {f"{name}.js" for name in ("components/jquery/dist/jquery.min", "components/moment/moment")}
missing = [name for name in found if not (top / "static" / name).is_file()]
print(len(found), *missing)
"""
    said = docker("run", "--rm", "--entrypoint=/usr/bin/python3", "lsstsqre/jld-hub:0.1.0", "-I", "-c", look).split()
    assert int(said[0]) >= 8
    assert said[1:] == []
