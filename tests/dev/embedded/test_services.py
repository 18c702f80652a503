"""The table of services: each process gets its own variables, and no more."""

import json
from pathlib import Path

import pytest
from jld_embedded.service import Service
from jld_embedded.services import PORTS, Stack
from jld_embedded.settings import Settings
from jld_embedded.state import State

STATE = State(Path("/state"))
RUN = Path("/tmp/run")
EVERY = {"github", "fileserver", "keepalive", "proxy", "hub", "nginx", "filebeat", "logstash", "broker"}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Let nginx and RabbitMQ be there, whatever this machine has."""
    programs = {"nginx": Path("/usr/sbin/nginx"), "rabbitmq-server": Path("/usr/sbin/rabbitmq-server")}
    monkeypatch.setattr("jld_embedded.machine.find", programs.get)
    return programs


def table(**user: str) -> dict[str, Service]:
    """List the services of a stack by name."""
    return {service.name: service for service in Stack(Settings(port=9000), STATE, RUN, user).services()}


def test_no_service_gets_the_variables_of_another() -> None:
    """Beside the basics, the variables of two services have no name in common."""
    basics = {"LANG", "PATH", "JLD_STATE"}
    names = {name: set(service.environment) - basics for name, service in table().items()}
    shared = {"SHIPPER_NAME"}
    assert set(names) == EVERY
    for one, its in names.items():
        for other, others in names.items():
            assert one == other or not (its & others) - shared


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
    """Each service takes its ports from the base on, in the order of the table, and its peers are told them."""
    services = table()
    environment = {name: service.environment for name, service in services.items()}
    assert environment["hub"]["HUB_PROXY_API_URL"] == "http://127.0.0.1:9001"
    assert environment["hub"]["HUB_CONNECT_URL"] == "http://127.0.0.1:9002"
    assert environment["github"]["STANDIN_PUBLIC_URL"] == "http://localhost:9003"
    assert environment["hub"]["GITHUB_URL"] == "http://localhost:9003"
    assert environment["fileserver"]["FILESERVER_PORT"] == "9004"
    assert environment["keepalive"]["KEEPALIVE_PORT"] == "9005"
    assert (
        environment["filebeat"]["FILEBEAT_COLLECTOR_PORT"] == environment["logstash"]["LOGSTASH_BEATS_PORT"] == "9008"
    )
    assert environment["logstash"]["RABBITMQ_TARGET_PORT"] == environment["broker"]["BROKER_PORT"] == "9010"
    assert environment["nginx"]["NGINX_UPSTREAM"] == "127.0.0.1:9000"
    assert "9000" in services["proxy"].argv


def test_every_port_is_checked_before_the_start() -> None:
    """All ports of all services are among those that must be free, and no other."""
    stack = Stack(Settings(port=9000, https_port=9443), STATE, RUN, {})
    assert stack.used_ports(stack.services()) == {*range(9000, 9000 + len(PORTS)), 9443}
    assert stack.used_ports([stack.proxy()]) == {9000, 9001, 9014}


def test_only_the_loopback_is_listened_on() -> None:
    """Every address to listen on is 127.0.0.1."""
    listening = [
        *("HUB_HOST", "STANDIN_HOST", "FILESERVER_HOST", "KEEPALIVE_HOST", "NGINX_HOST", "NGINX_LISTEN"),
        *("FILEBEAT_HOST", "LOGSTASH_HOST", "BROKER_HOST"),
    ]
    services = table()
    told = {name: value for part in services.values() for name, value in part.environment.items() if name in listening}
    assert told == dict.fromkeys(listening, "127.0.0.1")
    argv = services["proxy"].argv
    assert [argv[argv.index(option) + 1] for option in ("--ip", "--api-ip", "--metrics-ip")] == ["127.0.0.1"] * 3


def test_browsers_come_over_tls() -> None:
    """With nginx the hub's address is nginx's, and no browser is told to use TLS for every port of localhost."""
    services = table()
    assert services["hub"].environment["OAUTH_CALLBACK_URL"] == "https://localhost:8443/hub/oauth_callback"
    assert services["nginx"].environment["NGINX_HSTS_MAX_AGE"] == "0"


def test_without_nginx(machine: dict[str, Path]) -> None:
    """Without nginx the hub's address is the proxy's, in plain HTTP."""
    del machine["nginx"]
    services = table()
    assert "nginx" not in services
    assert services["hub"].environment["OAUTH_CALLBACK_URL"] == "http://localhost:9000/hub/oauth_callback"


def test_without_rabbitmq(machine: dict[str, Path]) -> None:
    """Without RabbitMQ the collector writes to a file, and is told of no broker."""
    del machine["rabbitmq-server"]
    services = table()
    assert "broker" not in services
    environment = services["logstash"].environment
    assert environment["LOGSTASH_EVENTS_FILE"] == "/state/events.log"
    assert not [name for name in environment if name.startswith("RABBITMQ_")]


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
