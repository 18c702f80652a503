"""Images are pushed under their version, and named by what the registry has of them."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import jld_k8s.push as push_module
import pytest
from jld_k8s.cluster import Cluster
from jld_k8s.errors import SiteError
from jld_k8s.push import push
from jld_k8s.site import Site
from rendered import render as needs_kubectl

MakeSite = Callable[..., Site]

DOCKER = """#!/bin/sh
echo "$@" >> {log}
case "$1" in
push) case "$*" in *nginx*) echo "denied: not signed in" >&2; exit {refused};; esac;;
image) echo '["other.test/x@sha256:0", "registry.test/x/'"${{5#lsstsqre/}}"'@sha256:1"]' | sed 's/:0.1.0//';;
esac
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], Path]:
    """Give what puts a docker in place that takes all images, or refuses one; it notes what it was asked."""

    def made(refused: int = 0) -> Path:
        folder = tmp_path / "bin"
        folder.mkdir()
        log = tmp_path / "docker.log"
        (folder / "docker").write_text(DOCKER.format(log=log, refused=refused))
        (folder / "docker").chmod(stat.S_IRWXU)
        monkeypatch.setenv("PATH", str(folder), prepend=":")
        return log

    return made


def test_pushed_images_are_recorded(site: MakeSite, docker: Callable[[int], Path]) -> None:
    """Each image that is built here is pushed under its version, and recorded by its digest in that registry."""
    needs_kubectl("demo")
    log = docker(0)
    made = site("demo", "LAB_CONTAINER_NAMES=lsstsqre/jld-lab-py3:0.1.0,other/lab:1\n")
    push(made, Cluster("kubectl"), "registry.test/x/")
    assert Site(made.folder).digests["lsstsqre/jld-hub:0.1.0"] == "registry.test/x/jld-hub@sha256:1"
    assert Site(made.folder).digests["lsstsqre/jld-lab-py3:0.1.0"] == "registry.test/x/jld-lab-py3@sha256:1"
    commands = log.read_text().splitlines()
    assert "tag lsstsqre/jld-hub:0.1.0 registry.test/x/jld-hub:0.1.0" in commands
    assert not any("other/lab" in command for command in commands)


def test_the_menus_default_is_pushed(site: MakeSite, docker: Callable[[int], Path]) -> None:
    """The one image that may be named without a version is pushed as the version that was built."""
    needs_kubectl("demo")
    log = docker(0)
    made = site("production")
    push(made, Cluster("kubectl"), "registry.test/x")
    assert "push --quiet registry.test/x/jld-lab-py3:0.1.0" in log.read_text()
    assert Site(made.folder).digests["lsstsqre/jld-lab-py3"] == "registry.test/x/jld-lab-py3@sha256:1"


@pytest.mark.parametrize(
    ("registry", "known"), [("docker.io/me", "me"), ("docker.io/library", ""), ("r.test:5000/a", "r.test:5000/a")]
)
def test_dockers_own_registry(monkeypatch: pytest.MonkeyPatch, registry: str, known: str) -> None:
    """Docker leaves out the name of its own registry, of which the digest is found all the same; none is told."""
    monkeypatch.setattr(push_module, "docker", lambda *_: json.dumps([f"{known}/jld-hub@sha256:1".lstrip("/")]))
    assert push_module.digest("lsstsqre/jld-hub:1", f"{registry}/jld-hub") == "sha256:1"
    with pytest.raises(SiteError, match="knows no digest"):
        push_module.digest("lsstsqre/jld-hub:1", "elsewhere.test/jld-hub")


def test_a_refused_image_leaves_no_record(site: MakeSite, docker: Callable[[int], Path]) -> None:
    """Where the registry refuses one image the site goes on naming all as before, and the reason is told."""
    needs_kubectl("demo")
    docker(1)
    made = site("demo")
    with pytest.raises(SiteError, match=r"docker push registry\.test/x/jld-nginx:0\.1\.0: denied: not signed in"):
        push(made, Cluster("kubectl"), "registry.test/x")
    assert Site(made.folder).digests == {}
