"""The table of services: each process gets its own variables, and no more."""

import json
from pathlib import Path

import pytest
from jld_embedded.services import Service, Stack
from jld_embedded.settings import Settings
from jld_embedded.state import State

STATE = State(Path("/state"))
RUN = Path("/tmp/run")


def table(**user: str) -> dict[str, Service]:
    """List the services of a stack by name."""
    return {service.name: service for service in Stack(Settings(port=9000), STATE, RUN, user).services()}


def test_no_service_gets_the_variables_of_another() -> None:
    """Beside the basics, the variables of two services have no name in common."""
    basics = {"LANG", "PATH", "JLD_STATE"}
    names = {name: set(service.environment) - basics for name, service in table().items()}
    assert set(names) == {"github", "fileserver", "keepalive", "proxy", "hub"}
    for one, its in names.items():
        for other, others in names.items():
            assert one == other or not its & others


def test_every_service_is_marked() -> None:
    """Every process carries the state folder, by which make down finds it."""
    assert {service.environment["JLD_STATE"] for service in table().values()} == {"/state"}


def test_callers_environment_stays_outside() -> None:
    """What the table does not name reaches no service, a CI's tokens not in the least."""
    services = table(GITHUB_TOKEN="t", AWS_SECRET_ACCESS_KEY="s", PYTHONPATH="/p", LAB_CPU_LIMIT="2")
    for name, service in services.items():
        assert not {"GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "PYTHONPATH"} & set(service.environment)
        assert ("LAB_CPU_LIMIT" in service.environment) == (name == "hub")


def test_secrets_are_in_no_environment_and_no_argument() -> None:
    """A secret reaches a process as a file's name; the one program that reads no file gets it when it is executed."""
    for service in table(GITHUB_CLIENT_ID="id", GITHUB_CLIENT_SECRET="geheim").values():
        assert "geheim" not in service.program()
    assert table()["proxy"].secrets == {"CONFIGPROXY_AUTH_TOKEN": STATE.secret("proxy_token")}
    assert table()["hub"].environment["HUB_PROXY_TOKEN_FILE"] == "/state/secrets/proxy_token"


def test_users_secret_gives_way_to_the_stacks_file() -> None:
    """Where the stack sets NAME_FILE the user's NAME is left out, as a service refuses to be given both."""
    environment = table(HUB_PROXY_TOKEN="mine", HUB_PORT="1")["hub"].environment
    assert "HUB_PROXY_TOKEN" not in environment
    assert environment["HUB_PORT"] == "9002"


def test_ports_follow_from_the_base() -> None:
    """Proxy, its API, hub, stand-in, file server and keepalive take six ports from the base on."""
    services = table()
    assert services["hub"].environment["HUB_PROXY_API_URL"] == "http://127.0.0.1:9001"
    assert services["hub"].environment["HUB_CONNECT_URL"] == "http://127.0.0.1:9002"
    assert services["github"].environment["STANDIN_PUBLIC_URL"] == "http://localhost:9003"
    assert services["hub"].environment["GITHUB_URL"] == "http://localhost:9003"
    assert services["fileserver"].environment["FILESERVER_PORT"] == "9004"
    assert services["keepalive"].environment["KEEPALIVE_PORT"] == "9005"
    assert "9000" in services["proxy"].argv


def test_only_the_loopback_is_listened_on() -> None:
    """Every address to listen on is 127.0.0.1."""
    services = table()
    for name in ("hub", "github", "fileserver", "keepalive"):
        hosts = [value for variable, value in services[name].environment.items() if variable.endswith("_HOST")]
        assert hosts == ["127.0.0.1"]
    argv = services["proxy"].argv
    assert [argv[argv.index(option) + 1] for option in ("--ip", "--api-ip")] == ["127.0.0.1"] * 2


def test_real_github_takes_the_stand_ins_place() -> None:
    """With an OAuth application of the user's no stand-in is started, and GITHUB_URL stays the user's."""
    services = table(GITHUB_CLIENT_ID="id", GITHUB_CLIENT_SECRET="s")
    assert "github" not in services
    assert "GITHUB_URL" not in services["hub"].environment
    assert services["hub"].environment["GITHUB_CLIENT_ID"] == "id"
    assert services["hub"].environment["GITHUB_CLIENT_SECRET_FILE"] == "/state/secrets/github_client_secret"
    enterprise = table(GITHUB_CLIENT_ID="id", GITHUB_CLIENT_SECRET_FILE="/f", GITHUB_URL="https://git.example.org")
    assert enterprise["hub"].environment["GITHUB_URL"] == "https://git.example.org"
    assert enterprise["hub"].environment["GITHUB_CLIENT_SECRET_FILE"] == "/f"


@pytest.mark.parametrize("name", ["GITHUB_ORGANIZATION_WHITELIST", "LAB_SELECTOR_TITLE", "HUB_CULL_IDLE_SECONDS"])
def test_users_settings_reach_the_hub_as_written(name: str) -> None:
    """Signs that mean something to supervisord or a shell arrive as they are."""
    value = '50 % of $HOME; # "it\'s"'
    assert json.loads(table(**{name: value})["hub"].program())["environment"][name] == value
