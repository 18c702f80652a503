"""Settings are told the same way in the classes, the READMEs, .env.example and docs/configuration.md."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from jld_compose.settings import Settings as ComposeSettings
from jld_compose.stack import Stack as ComposeStack
from jld_compose.state import State as ComposeState
from jld_embedded.services import Stack

from dev.configuration import COMPONENTS, DOCUMENT, ROOT, Component, Variable, document

COMPONENT = pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.folder)

EXAMPLE = ROOT / ".env.example"

NOT_IN_EXAMPLE = {
    "EMBEDDED_ENV_FILE": "says where the file is that .env.example becomes",
    "LOGSTASH_EVENTS_FILE": "the stack sets it where there is no broker, and the collector refuses it beside one",
    **{
        f"FILESERVER_{name}": "of the NFS server, which only containers have, where it has the defaults"
        for name in ("NFS_HOST", "NFS_PORT", "STATE_DIR", "HEALTH_HOST", "HEALTH_PORT")
    },
    **{
        f"HUB_{name}": "of labs as pods, which the manifests agree about; a site's own site.env may say something else"
        for name in ("POD_TEMPLATE", "LABS_NAMESPACE", "LABS_CLAIM")
    },
    "HUB_DATABASE_URL_FILE": "the stack sets HUB_DATABASE_URL, and the hub takes no file beside it",
    "HUB_DOCKER_PROJECT": "the stack sets it: COMPOSE_PROJECT_NAME says what it is called",
    "HUB_DOCKER_URL": "the stack sets it: processes use no engine, and in the hub's container its socket has one place",
    "HUB_GITHUB_CONNECT_URL": "the stack sets it for the stand-in; the real GitHub is where browsers find it",
    "NGINX_HSTS_MAX_AGE": "both stacks are for localhost, whose other ports a browser would hold it against",
    "NGINX_HTTP2": "each stack has what suits it: compose.yaml says why not HTTP/2 where labs are containers",
}

NOT_IN_ENVIRONMENT = {
    "GITHUB_CLIENT_SECRET": "`make up` puts it into a file, so that it is in no environment",
    "RABBITMQ_TARGET_PASSWORD": "likewise",
    "RABBITMQ_TARGET_PASSWORD_FILE": "`make up` gives the collector a copy, which it may read; as of the next three",
    "RABBITMQ_TARGET_CA_FILE": "likewise",
    "RABBITMQ_TARGET_CERTIFICATE_FILE": "likewise",
    "RABBITMQ_TARGET_KEY_FILE": "likewise",
}

NO_DEFAULTS = {
    "STANDIN_MEMBERS_FILE": "shows the form; naming the file inside the package would invite to edit it",
}


MakeStack = Callable[..., Stack]


def settable(component: Component) -> dict[str, Variable]:
    """Map every name that a component reads to its variable, those of secrets' files included."""
    found = {variable.name: variable for variable in component.variables()}
    return found | {f"{name}_FILE": variable for name, variable in found.items() if variable.secret}


def readme_rows(text: str) -> list[tuple[list[str], str]]:
    """List the rows of a README's tables of variables: names in the first cell, and the whole last cell."""
    rows, inside = [], False
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            inside = False
        elif cells[0].lower() == "variable":
            inside = True
        elif inside and (names := re.findall(r"`([A-Z][A-Z0-9_]+)`", cells[0])):
            rows.append((names, cells[-1]))
    return rows


def told(default: str, shown: list[str]) -> bool:
    """Whether a default is among the values of a cell; a file of the package may be told by its name alone."""
    return any(default == value or default.endswith(f"/{value}") for value in shown)


def example_lines() -> list[tuple[bool, str, str]]:
    """List the variables of .env.example: whether set or only shown, name, value."""
    lines = re.findall(r"^(#?)([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)
    return [(not comment, name, value) for comment, name, value in lines]


def test_document_is_what_the_settings_say() -> None:
    """docs/configuration.md is what the generator makes of the settings classes now."""
    assert DOCUMENT.read_text(encoding="utf-8") == document(), "docs/configuration.md is outdated: run `make docs`"


@COMPONENT
def test_every_setting_has_a_meaning(component: Component) -> None:
    """Each field of a settings class has a description."""
    assert [variable.name for variable in component.variables() if not variable.meaning] == []


def test_secrets_are_secret() -> None:
    """What is named like a secret never shows in a log, and may come as a file."""
    variables = [variable for component in COMPONENTS for variable in component.variables()]
    like_secrets = re.compile(r"_(SECRET|TOKEN|KEY|PASSWORD|PASSPHRASE)$")
    open_ones = [variable.name for variable in variables if like_secrets.search(variable.name) and not variable.secret]
    assert open_ones == [], "make these a SecretStr"


def test_a_variable_means_one_thing() -> None:
    """A name that two components of the stack read has the same default in both."""
    defaults: dict[str, set[str | None]] = {}
    for component in COMPONENTS:
        for variable in component.variables():
            defaults.setdefault(variable.name, set()).add(variable.default)
    assert {name: found for name, found in defaults.items() if len(found) > 1} == {}


@COMPONENT
def test_readme_lists_every_setting(component: Component) -> None:
    """A component's README has each of its variables in a table of variables, and no other."""
    readme = f"{component.folder}/README.md"
    listed = {name for names, _ in readme_rows((ROOT / readme).read_text()) for name in names}
    known = settable(component)
    needed = {variable.name for variable in component.variables()}
    assert needed - listed == set(), f"{readme}: its table of variables lacks these"
    assert listed - set(known) == set(), f"{readme}: no settings class of {component.folder} has these"


@COMPONENT
def test_readme_tells_the_defaults(component: Component) -> None:
    """Where a README shows a default, it is the settings class' own."""
    readme = f"{component.folder}/README.md"
    known = settable(component)
    wrong = []
    for names, cell in readme_rows((ROOT / readme).read_text()):
        shown = re.findall(r"`([^`]+)`", cell)
        defaults = [known[name].default for name in names if name in known]
        wrong += [f"{names}: {default}" for default in defaults if default and shown and not told(default, shown)]
    assert wrong == [], f"{readme}: the class has other defaults"


def reaches(name: str, make_stack: MakeStack) -> bool:
    """Whether what a user of the embedded stack sets comes to a service that reads it."""
    readers = {f"jld_{Path(part.folder).name}" for part in COMPONENTS if name in settable(part)}
    for others in ({}, {"GITHUB_CLIENT_ID": "own-application"}):
        for service in make_stack(**(others | {name: "/what/a/user/sets"})).services():
            told = service.environment.get(name, "")
            if readers.intersection(service.argv) and told.endswith("/what/a/user/sets"):
                return True
    return False


SERVICES = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]


@pytest.fixture
def make_containers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., ComposeStack]:
    """Describe stacks in containers, without an engine; arguments are what a user has set."""
    monkeypatch.setattr("jld_compose.engine.engine_socket", lambda: tmp_path)
    monkeypatch.setattr("jld_compose.engine.root", lambda: "/var/lib/docker")
    return lambda **user: ComposeStack(ComposeSettings(), ComposeState(Path("/state")), user)


def passed_on(name: str) -> bool:
    """Whether compose.yaml gives a service a variable as the stack has it."""
    environments = [service["environment"] for service in SERVICES.values() if "environment" in service]
    return any(
        name in environment and (environment[name] is None or f"${{{name}:" in environment[name])
        for environment in environments
    )


def reaches_container(name: str, make_containers: Callable[..., ComposeStack]) -> bool:
    """Whether what a user of the stack in containers sets comes to a service."""
    real = {"GITHUB_CLIENT_ID": "own-application", "RABBITMQ_TARGET_HOST": "broker.example.org"}
    told = [make_containers(**(others | {name: "what a user sets"})).variables() for others in ({}, real)]
    return passed_on(name) and any(variables.get(name) == "what a user sets" for variables in told)


@pytest.mark.parametrize("user", [{}, {"GITHUB_CLIENT_ID": "own", "RABBITMQ_TARGET_HOST": "broker.example.org"}])
def test_compose_is_told_what_it_asks_for(user: dict[str, str], make_containers: Callable[..., ComposeStack]) -> None:
    """Each variable without which compose.yaml is refused is one that the stack gives it."""
    needed = set(re.findall(r"\$\{([A-Z_]+):\?\}", (ROOT / "compose.yaml").read_text()))
    assert {"COMPOSE_STATE", "OAUTH_CALLBACK_URL"} <= needed
    told = {name for name, value in make_containers(**user).variables().items() if value}
    assert needed - told == set()


def test_example_is_heeded_in_containers(make_containers: Callable[..., ComposeStack]) -> None:
    """Each variable of .env.example comes to a container too, but for the ports and folder of processes."""
    listed = {name for _, name, _ in example_lines() if not name.startswith(("EMBEDDED_", "COMPOSE_"))}
    of_files = {"GITHUB_CLIENT_SECRET", "GITHUB_CLIENT_SECRET_FILE", "STANDIN_PASSPHRASE", *NOT_IN_ENVIRONMENT}
    of_files |= {"STANDIN_PASSPHRASE_FILE", "STANDIN_MEMBERS_FILE"}
    assert {name for name in listed - of_files if not reaches_container(name, make_containers)} == set()


def test_example_names_what_a_user_may_set(make_stack: MakeStack, make_containers: Callable[..., ComposeStack]) -> None:
    """.env.example has once each variable that comes to a service, and those of the stack itself, and no other."""
    listed = [name for _, name, _ in example_lines()]
    known = {name: variable for component in COMPONENTS for name, variable in settable(component).items()}
    expected = {name for name in known if name.startswith(("EMBEDDED_", "COMPOSE_"))} | set(NOT_IN_ENVIRONMENT)
    expected |= {name for name in known if reaches(name, make_stack) or reaches_container(name, make_containers)}
    assert set(NOT_IN_EXAMPLE) - expected == set(), "these reach no service: remove them from NOT_IN_EXAMPLE"
    assert expected - {*listed, *NOT_IN_EXAMPLE} == set(), ".env.example lacks these"
    assert set(listed) - expected == set(), "these of .env.example are set in vain"
    assert sorted(set(listed)) == sorted(listed), ".env.example has a name twice"


def test_example_has_the_users_interface() -> None:
    """.env.example has every variable that has no component's prefix, but those of a lab."""
    listed = {name for _, name, _ in example_lines()}
    prefixes = ("HUB_", "FILESERVER_", "KEEPALIVE_", "FILEBEAT_", "LOGSTASH_", "NGINX_", "K8S_")
    known = {
        variable.name
        for part in COMPONENTS
        for variable in part.variables()
        if not part.folder.startswith("dev/") and part.folder != "lab" and not variable.name.startswith(prefixes)
    }
    assert known - listed == set(), ".env.example lacks these"


def test_example_shows_the_defaults(make_stack: MakeStack) -> None:
    """What .env.example shows commented out is the default; what it sets is another value."""
    known = {name: variable for component in COMPONENTS for name, variable in settable(component).items()}
    # Without an address of the user's, the stack has the hub and the stand-in agree on its own.
    stack = make_stack()
    callback = stack.callback_url.replace(str(stack.ports["https"]), known["EMBEDDED_HTTPS_PORT"].default or "")
    wrong = []
    for is_set, name, value in example_lines():
        variable = known[name]
        default = "" if name.endswith("_FILE") and variable.secret else variable.default or ""
        default = callback if name == "OAUTH_CALLBACK_URL" else default
        if name not in NO_DEFAULTS and is_set == (value == default):
            wrong.append(f"{name}={value}: the default is {default!r}")
    assert wrong == [], ".env.example: set what differs from the default, show the rest commented out"


def test_example_explains_each_line() -> None:
    """Each variable of .env.example has a comment above it."""
    lines = EXAMPLE.read_text().splitlines()
    bare = [
        line
        for above, line in zip(["", *lines], lines, strict=False)
        if re.match(r"#?[A-Z][A-Z0-9_]*=", line) and not above.startswith("# ")
    ]
    assert bare == [], ".env.example: say above these what they mean"


def test_defaults_of_addresses_agree() -> None:
    """An address or port that one component expects another at is that one's own default."""
    defaults = {variable.name: variable.default or "" for part in COMPONENTS for variable in part.variables()}
    addresses = {
        "HUB_CONNECT_URL": "HUB_PORT",
        "HUB_FILESERVER_URL": "FILESERVER_PORT",
        "STANDIN_PUBLIC_URL": "STANDIN_PORT",
        "STANDIN_CALLBACK_URL": "EMBEDDED_PORT",
        "EMBEDDED_HTTPS_PORT": "NGINX_HTTPS_PORT",
        # The proxy has no settings of its own: its port is the one that the stack, too, counts from.
        "NGINX_UPSTREAM": "EMBEDDED_PORT",
        "FILEBEAT_COLLECTOR_PORT": "LOGSTASH_BEATS_PORT",
        "RABBITMQ_TARGET_PORT": "BROKER_PORT",
    }
    wrong = [
        f"{address}={defaults[address]} but {port}={defaults[port]}"
        for address, port in addresses.items()
        if re.findall(r"(?<=:)\d+|^\d+$", defaults[address]) != [defaults[port]]
    ]
    assert wrong == []


def test_default_hosts_are_names_of_parts(make_stack: MakeStack) -> None:
    """A host in a default is the name of the part that is meant, as folder, service and DNS name are one name."""
    defaults = {variable.name: variable.default or "" for part in COMPONENTS for variable in part.variables()}
    hosts = {name: host for name, value in defaults.items() for host in re.findall(r"([a-z]+):\d+", value)}
    hosts |= {name: value for name, value in defaults.items() if re.fullmatch(r"[A-Z_]+_HOST", name)}
    parts = {service.name for service in make_stack().services()}
    meant = {name: host for name, host in hosts.items() if host and not re.fullmatch(r"localhost|0\.0\.0\.0", host)}
    assert {"NGINX_UPSTREAM", "HUB_FILESERVER_URL", "FILEBEAT_COLLECTOR_HOST"} <= set(meant)
    assert {name: host for name, host in meant.items() if host not in parts} == {}


def test_services_have_the_names_of_their_components(make_stack: MakeStack) -> None:
    """A service of the stack is called like its component's folder; a second program of one has a name of its own."""
    packages = {f"jld_{Path(part.folder).name}": Path(part.folder).name for part in COMPONENTS}
    names = {
        service.name: packages[argument]
        for service in make_stack().services()
        for argument in service.argv
        if argument in packages
    }
    assert names.pop("keepalive") == "fileserver"
    assert {"hub", "filebeat", "logstash", "nginx", "broker"} <= set(names)
    assert {name: folder for name, folder in names.items() if name != folder} == {}
