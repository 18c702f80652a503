"""compose.yaml is what the images, the settings and the documents say; no engine is asked."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jld_compose.state import FOLDERS, GIVEN, UIDS

from dev.configuration import COMPONENTS, ROOT
from dev.images import IMAGES

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())

SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]

SOURCES = yaml.safe_load((ROOT / "dev/compose/dev.yaml").read_text())["services"]

SERVICE = pytest.mark.parametrize("name", SERVICES)

EXTRAS = {
    "proxy": ("hub", "a program of the hub's image, so that labs stay reachable while the hub restarts"),
    "provisioner": ("fileserver", "makes homes over HTTP, with other rights than who serves NFS"),
    "keepalive": ("fileserver", "writes to the disk of the share again and again, without any right"),
    "nginx-github": ("nginx", "nginx once more, as browsers must reach the stand-in's pages over TLS too"),
}
"""Services that are called otherwise than their component's folder: whose image they run, and why they are there."""

DEVELOPMENT = {"github", "nginx-github", "broker"}
"""What something real stands in for in production."""

WITHOUT_SOURCES = {"proxy": "runs on Node, from packages alone"}

PYTHON = "3.13"
"""That of Debian trixie, from which all images are made."""

SITE_PACKAGES = f"/opt/jld/lib/python{PYTHON}/site-packages"

OWN_PROFILE = {"fileserver": "seccomp:fileserver/seccomp.json"}
"""Who has not the engine's filter of system calls; docs/security.md says why."""

PUBLISHED = {"nginx": "COMPOSE_HTTPS_PORT", "nginx-github": "COMPOSE_GITHUB_PORT"}

SECRET = re.compile(r"_(SECRET|TOKEN|KEY|PASSWORD|PASSPHRASE)$")

PORTS = {
    "hub": "HUB_PORT",
    "provisioner": "FILESERVER_PORT",
    "keepalive": "KEEPALIVE_PORT",
    "github": "STANDIN_PORT",
    "nginx": "NGINX_HTTPS_PORT",
    "nginx-github": "NGINX_HTTPS_PORT",
}
"""The setting that says on which port a service listens for others."""


def folder(name: str) -> str:
    """Name the folder of the component that a service runs."""
    called = EXTRAS[name][0] if name in EXTRAS else name
    return next(part.folder for part in COMPONENTS if Path(part.folder).name == called)


def settings(name: str) -> dict[str, bool]:
    """List the variables that a service's component reads, those of secrets' files too; with whether it is a secret."""
    variables = next(part for part in COMPONENTS if part.folder == folder(name)).variables()
    files = {f"{variable.name}_FILE": False for variable in variables if variable.secret}
    return {variable.name: variable.secret for variable in variables} | files


def default(name: str) -> str:
    """Give the default of a setting."""
    return next(one.default or "" for part in COMPONENTS for one in part.variables() if one.name == name)


def instructions(name: str, instruction: str) -> list[str]:
    """Give what a service's Dockerfile says by an instruction in its last stage."""
    last = (ROOT / folder(name) / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    return re.findall(rf"^{instruction} +(.*)$", last, re.MULTILINE)


def addresses(name: str) -> list[tuple[str, str]]:
    """List the addresses that a service is told, with their ports."""
    told = {key: SERVICES[name].get(key) for key in ("environment", "command", "healthcheck")}
    return re.findall(r"\b([a-z-]+|127\.0\.0\.1):(\d+)\b", yaml.safe_dump(told, width=2**20))


def table(document: str, header: str) -> list[list[str]]:
    """Read the cells of the one table of a document whose first column has this header."""
    text = (ROOT / document).read_text()
    (found,) = re.findall(rf"^\| {header} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in found.splitlines()]


def test_services_are_named_as_folders() -> None:
    """A service has the name of its component's folder; the few others are told with the reason, and all are there."""
    folders = {Path(image.folder).name for image in IMAGES} - {"lab"}
    assert set(SERVICES) == folders | set(EXTRAS)


@SERVICE
def test_image(name: str) -> None:
    """A service runs its component's image at the version that `make images` builds."""
    assert SERVICES[name]["image"] == next(image.tag for image in IMAGES if image.folder == folder(name))


@SERVICE
def test_user(name: str) -> None:
    """A service runs as the numeric user that its secrets and its folder are handed to."""
    user = SERVICES[name].get("user") or next(iter(instructions(name, "USER")), "0:0")
    uid = UIDS["nginx" if name == "nginx-github" else name]
    assert user == f"{uid}:{uid}"


@SERVICE
def test_confinement(name: str) -> None:
    """A service cannot write to its image, gain rights, or take all of the machine, and is started again."""
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true", *([OWN_PROFILE[name]] if name in OWN_PROFILE else [])]
    assert service["pids_limit"] > 0
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["restart"] == "always"
    assert service["logging"]["driver"] == "json-file"
    assert {"max-size", "max-file"} <= set(service["logging"]["options"])
    wide = {
        "privileged",
        "network_mode",
        "pid",
        "ipc",
        "userns_mode",
        "devices",
        "expose",
        "extra_hosts",
        "volumes_from",
    }
    assert wide & set(service) == set()


def test_capabilities_have_reasons() -> None:
    """Each capability of a service stands in docs/security.md with its reason, and no other does."""
    rows = table("docs/security.md", "container")
    assert all(reason for _, _, reason in rows)
    told = {
        (name, capability) for name, capabilities, _ in rows for capability in re.findall(r"[A-Z_]{4,}", capabilities)
    }
    assert told == {(name, capability) for name in SERVICES for capability in SERVICES[name].get("cap_add", [])}


@SERVICE
def test_health_is_checked(name: str) -> None:
    """The engine asks each service how it is: by its image's check, or by one of compose.yaml."""
    assert "healthcheck" in SERVICES[name] or instructions(name, "HEALTHCHECK")


@SERVICE
def test_ports_are_published_by_nginx_only(name: str) -> None:
    """Only nginx is reached from outside the networks, and that on the loopback, by a port that can be chosen."""
    variable = PUBLISHED.get(name, "")
    port = f"127.0.0.1:${{{variable}:-{default(variable)}}}:{default(PORTS[name])}" if variable else None
    assert SERVICES[name].get("ports", []) == ([port] if port else [])


@SERVICE
def test_variables_are_settings(name: str) -> None:
    """Each variable that a service gets is one that its component reads."""
    assert set(SERVICES[name].get("environment", {})) - set(settings(name)) == set()


WRITTEN = {"STANDIN_TOKENS_FILE"}
"""Files that a service writes itself."""


@SERVICE
def test_secrets_are_files(name: str) -> None:
    """No variable of a service is a secret, which whoever may ask the engine would read: the files' names are."""
    known = settings(name)
    environment = SERVICES[name].get("environment", {})
    assert [variable for variable in environment if known[variable] or SECRET.search(variable)] == []
    for variable, value in environment.items():
        if variable.endswith("_FILE") and value and variable not in WRITTEN:
            assert value.startswith("/run/secrets/"), variable
            assert Path(value).name in GIVEN["nginx" if name == "nginx-github" else name], variable


@SERVICE
def test_ports_are_the_settings_own(name: str) -> None:
    """Where a service is told another one's port, it is that one's default, or what the proxy is told."""
    # The proxy has no settings: those of nginx and the hub say where it is.
    proxy = {"proxy": default("NGINX_UPSTREAM"), "proxy-api": default("HUB_PROXY_API_URL")}
    for host, port in addresses(name):
        meant = name if host == "127.0.0.1" else host
        told = proxy[meant].rpartition(":")[2] if meant in proxy else default(PORTS[meant])
        assert port == told, f"{host}:{port}"


def test_proxy_listens_where_it_is_expected() -> None:
    """The proxy's port and its API's are those at which the settings of nginx and the hub expect them."""
    command = " ".join(SERVICES["proxy"]["command"])
    for option, setting in (("port", "NGINX_UPSTREAM"), ("api-port", "HUB_PROXY_API_URL")):
        assert re.findall(rf"--{option} (\d+)", command) == re.findall(r":(\d+)$", default(setting))


def test_addresses_are_seen() -> None:
    """The check of ports sees an address in a variable, a URL, a command and a health check."""
    seen = {host for name in SERVICES for host, _ in addresses(name)}
    assert {"proxy", "proxy-api", "hub", "provisioner", "github", "127.0.0.1"} <= seen


@SERVICE
def test_services_wait_for_healthy_ones(name: str) -> None:
    """What a service depends on must be healthy; nobody needs what is there for development only."""
    for other, condition in SERVICES[name].get("depends_on", {}).items():
        assert condition["condition"] == "service_healthy"
        if name not in DEVELOPMENT:
            assert (other in DEVELOPMENT) == (condition.get("required") is False), other


@SERVICE
def test_profile(name: str) -> None:
    """What something real stands in for is in the profile for development; everything else always runs."""
    assert SERVICES[name].get("profiles", []) == (["development"] if name in DEVELOPMENT else [])


@SERVICE
def test_state_is_its_own(name: str) -> None:
    """A service finds its own secrets, which it cannot write, and its own folder; of others' it sees nothing."""
    state = "${COMPOSE_STATE:?}/"
    mounts = [volume.removeprefix(state) for volume in SERVICES[name].get("volumes", []) if volume.startswith(state)]
    owner = "nginx" if name == "nginx-github" else name
    expected = [f"given/{owner}:/run/secrets:ro"] if owner in GIVEN else []
    expected += [f"{name}:"] if name in FOLDERS else []
    expected += ["export:/export"] if name in {"fileserver", "provisioner"} else []
    expected += ["export/keepalive:/keepalive"] if name == "keepalive" else []
    assert len(mounts) == len(expected)
    assert [start for start in expected if not any(mount.startswith(start) for mount in mounts)] == []


def test_what_belongs_to_the_engine() -> None:
    """Only the hub has the engine's socket, only filebeat the engine's logs, and that without writing them."""
    for name, service in SERVICES.items():
        foreign = [volume for volume in service.get("volumes", []) if not volume.startswith("${COMPOSE_STATE:?}/")]
        match name:
            case "hub":
                assert foreign == ["${COMPOSE_ENGINE_SOCKET:-/var/run/docker.sock}:/var/run/docker.sock"]
                assert default("HUB_DOCKER_URL") == "unix:///var/run/docker.sock"
            case "filebeat":
                assert foreign == ["${COMPOSE_ENGINE_ROOT:?}/containers:/var/lib/docker/containers:ro"]
            case _:
                assert foreign == []


def test_networks_are_told() -> None:
    """docs/architecture.md has each network with who is in it, and whether it leads out."""
    told = {
        network.strip("`"): (set(re.findall(r"[a-z]+(?:-[a-z]+)?", members)), way_out == "yes")
        for network, members, way_out, _ in table("docs/architecture.md", "network")
        if not network.startswith("*")
    }
    described = {
        name: (
            {one for one, service in SERVICES.items() if name in service["networks"]},
            not (network or {}).get("internal"),
        )
        for name, network in COMPOSE["networks"].items()
    }
    assert told == described


def test_networks_lead_out_apart() -> None:
    """Those who may leave the machine do not meet where they do, and a lab's network is not their way out."""
    outside = COMPOSE["networks"]["outside"]["driver_opts"]
    assert outside == {"com.docker.network.bridge.enable_icc": "false"}
    # By name the engine chooses the network by which a container's traffic leaves.
    assert max(COMPOSE["networks"]) < "z-lab"


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in WITHOUT_SOURCES])
def test_sources_are_mounted(name: str) -> None:
    """`make up DEV=1` mounts the package of each service's component over the one in its image."""
    package = f"jld_{Path(folder(name)).name}"
    assert SOURCES[name] == {"volumes": [f"./{folder(name)}/{package}:{SITE_PACKAGES}/{package}:ro"]}


def test_sources_are_mounted_for_services_only() -> None:
    """dev.yaml describes the services that run sources, and each image is made from the Debian with that Python."""
    assert set(SOURCES) == set(SERVICES) - set(WITHOUT_SOURCES)
    for name in SOURCES:
        dockerfile = (ROOT / folder(name) / "Dockerfile").read_text()
        assert re.findall(r"^FROM (debian:\S+)", dockerfile, re.MULTILINE) == ["debian:trixie-slim"]
