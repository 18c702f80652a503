"""What a lab in a container is described with, where no engine is needed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from jld_hub.app import configure
from jld_hub.authenticator import MemberAuthenticator
from jld_hub.container import labels, limits, mounts
from jld_hub.identity import Organization, identify, is_component
from jld_hub.lab import Lab, describe
from jld_hub.settings import load

TEMPLATE = Path(__file__).parents[2] / "lab/kubernetes/pod.yaml"
ALICE = identify("alice", 4242424, [Organization("lsst-sqre", 1508001), Organization("friends", 9001)], ["lsst-sqre"])


@pytest.fixture
def lab(environment: pytest.MonkeyPatch) -> Lab:
    """Return the description of a lab."""
    environment.setenv("HUB_HOMES_DIR", "/srv/state/export")
    environment.setenv("LAB_MEM_LIMIT", "1G")
    return describe(ALICE, "img", load())


def test_mounts_are_the_members_own(lab: Lab) -> None:
    """The folders are those of the export on the engine's host; there is no mount but home and group folders."""
    assert mounts(lab, load()) == [
        {"type": "bind", "source": "/srv/state/export/homes/4242424", "target": "/home/alice"},
        {"type": "bind", "source": "/srv/state/export/groups/1508001", "target": "/groups/lsst-sqre"},
    ]


def test_limits_follow_the_description(lab: Lab) -> None:
    """All organizations are groups, there is no swap beyond the memory, and /tmp cannot fill all of it."""
    told = limits(lab)
    assert told["group_add"] == ["1508001", "9001"]
    assert told["memswap_limit"] == 2**30
    assert "size=536870912" in told["tmpfs"]["/tmp"].split(",")
    assert (told["cap_drop"], told["read_only"], told["security_opt"]) == (["ALL"], True, ["no-new-privileges:true"])


def test_labels(lab: Lab) -> None:
    """Containers and networks say whose they are."""
    assert labels(lab, "demo") == {
        "org.lsst.jupyterlabdemo.stack": "demo",
        "org.lsst.jupyterlabdemo.member": "alice",
        "org.lsst.jupyterlabdemo.uid": "4242424",
    }


def test_ids_of_services_are_taken() -> None:
    """The ids of the services' own users are no members'."""
    assert [number for number in (1000, 63999, 64000, 64081, 64999, 65000, 4242424) if is_component(number)] == [
        64000,
        64081,
        64999,
    ]


def test_the_hubs_own_way_to_github(environment: pytest.MonkeyPatch) -> None:
    """Browsers go to GITHUB_URL; the hub asks for tokens and facts at HUB_GITHUB_CONNECT_URL, where that is set."""
    environment.setenv("GITHUB_URL", "https://localhost:8444")
    environment.setenv("HUB_GITHUB_CONNECT_URL", "http://github:8082/")
    authenticator = MemberAuthenticator(config=configure(load()))
    assert authenticator.authorize_url == "https://localhost:8444/login/oauth/authorize"
    assert authenticator.token_url == "http://github:8082/login/oauth/access_token"
    assert authenticator.userdata_url == "http://github:8082/api/v3/user"
    assert authenticator.github_api == "http://github:8082/api/v3"


@pytest.mark.parametrize(
    ("name", "adapter"),
    [("local", "LocalSpawner"), ("docker", "ContainerSpawner"), ("kubernetes", "PodSpawner")],
)
def test_adapter(environment: pytest.MonkeyPatch, name: str, adapter: str) -> None:
    """HUB_SPAWNER says which adapter starts labs."""
    environment.setenv("HUB_SPAWNER", name)
    environment.setenv("HUB_POD_TEMPLATE", str(TEMPLATE))
    environment.setattr("jld_hub.pod.connect", lambda: None)
    assert configure(load()).JupyterHub.spawner_class.__name__ == adapter


@pytest.mark.parametrize(("name", "brings"), [("docker", False), ("kubernetes", True)])
def test_libraries_of_other_adapters(name: str, brings: bool) -> None:
    """A hub without a cluster does not wait for the cluster's client to be imported."""
    script = "import sys; from jld_hub.app import configure; from jld_hub.settings import load; load_it()"
    script = script.replace(
        "load_it()", "\ntry: configure(load())\nfinally: print('kubernetes_asyncio' in sys.modules)"
    )
    nowhere = {"HUB_SPAWNER": name, "HUB_POD_TEMPLATE": str(TEMPLATE), "KUBECONFIG": "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | nowhere, capture_output=True, text=True, check=False
    )
    assert done.stdout == f"{brings}\n"
    assert done.returncode == (78 if brings else 0)
    assert "HUB_SPAWNER=kubernetes: in a pod with a service account's token" in done.stderr or not brings
