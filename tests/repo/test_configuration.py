"""Settings are told the same way in the classes, the READMEs, .env.example and docs/configuration.md."""

import re

import pytest

from dev.configuration import COMPONENTS, DOCUMENT, ROOT, Component, Variable, document

COMPONENT = pytest.mark.parametrize("component", COMPONENTS, ids=lambda component: component.folder)

EXAMPLE = ROOT / ".env.example"

NOT_IN_EXAMPLE = {
    "EMBEDDED_ENV_FILE": "says where the file is that .env.example becomes",
}

OTHER_DEFAULTS = {
    # Without an address of its own, `make up` has the stand-in and the hub agree on the stand-in's default.
    "OAUTH_CALLBACK_URL": "STANDIN_CALLBACK_URL",
}

NO_DEFAULTS = {
    "STANDIN_MEMBERS_FILE": "shows the form; naming the file inside the package would invite to edit it",
}


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


def test_example_names_what_a_user_may_set() -> None:
    """.env.example has every variable of the users' interface and of the embedded stack once, and none unknown."""
    listed = [name for _, name, _ in example_lines()]
    by_folder = {component.folder: component for component in COMPONENTS}
    users = [variable.name for variable in by_folder["hub"].variables() if not variable.name.startswith("HUB_")]
    stack = [variable.name for variable in by_folder["dev/embedded"].variables()]
    known = {name for component in COMPONENTS for name in settable(component)}
    assert {*users, *stack} - {*listed, *NOT_IN_EXAMPLE} == set(), ".env.example lacks these"
    assert set(listed) - known == set(), "no settings class has these names of .env.example"
    assert sorted(set(listed)) == sorted(listed), ".env.example has a name twice"


def test_example_shows_the_defaults() -> None:
    """What .env.example shows commented out is the default; what it sets is another value."""
    known = {name: variable for component in COMPONENTS for name, variable in settable(component).items()}
    wrong = []
    for is_set, name, value in example_lines():
        variable = known[OTHER_DEFAULTS.get(name, name)]
        default = "" if name.endswith("_FILE") and variable.secret else variable.default or ""
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
    """An address that one component expects another at has that one's own default port."""
    defaults = {variable.name: variable.default or "" for part in COMPONENTS for variable in part.variables()}
    addresses = {
        "HUB_CONNECT_URL": "HUB_PORT",
        "HUB_FILESERVER_URL": "FILESERVER_PORT",
        "STANDIN_PUBLIC_URL": "STANDIN_PORT",
        "STANDIN_CALLBACK_URL": "EMBEDDED_PORT",
    }
    wrong = [
        f"{address}={defaults[address]} but {port}={defaults[port]}"
        for address, port in addresses.items()
        if re.findall(r":(\d+)", defaults[address]) != [defaults[port]]
    ]
    assert wrong == []
