"""Write docs/configuration.md: every setting of every component, as the settings classes have it."""
# ruff: noqa: INP001 - a program, no package

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import jld_broker.settings
import jld_compose.settings
import jld_embedded.settings
import jld_filebeat.settings
import jld_fileserver.settings
import jld_github.settings
import jld_hub.settings
import jld_k8s.settings
import jld_lab.settings
import jld_logstash.settings
import jld_nginx.settings
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

ROOT = Path(__file__).resolve().parent.parent

DOCUMENT = ROOT / "docs/configuration.md"

NO_DEFAULT = "\N{EN DASH}"

BYTES = (jld_hub.settings.Bytes, jld_logstash.settings.Bytes)
"""Types of settings that are written with units."""

INTRODUCTION = f"""\
# Configuration

<!-- Written by `make docs` from the settings classes: change those, not this file. -->

The names below are the users' interface and keep their meaning from release to release. A component reads its
variables once, when it starts; an empty one counts as unset. `make up` takes them from the environment and from `.env`,
which it makes from [.env.example](../.env.example); the environment wins.

A secret may also come as a file: `NAME_FILE` names a file that holds the value of `NAME`. Setting both is an error.

A missing or wrong value ends the start with exit status 78 and one line that names the variable, its value (never a
secret's) and what would be right:

    jld_hub: LAB_CPU_LIMIT=lots: a number of CPUs such as 1, 0.2 or 200m

In the column of defaults, {NO_DEFAULT} means that the variable must be set, and *unset* that it may stay so.
"""


class Variable(NamedTuple):
    """One setting, as a reader sees it.

    Attributes:
        name: the environment variable.
        meaning: what it is, with its unit.
        default: what a user would write to get the default; empty when that is to leave it unset, None when it must
            be set.
        secret: whether it may come as NAME_FILE.
    """

    name: str
    meaning: str
    default: str | None
    secret: bool

    def row(self) -> str:
        """Return the variable's line of a table."""
        names = f"`{self.name}`, `{self.name}_FILE`" if self.secret else f"`{self.name}`"
        meaning = self.meaning.replace("|", r"\|") + ("; a secret" if self.secret else "")
        default = NO_DEFAULT if self.default is None else f"`{self.default}`" if self.default else "*unset*"
        return f"| {names} | {meaning} | {default} |"


class Component(NamedTuple):
    """A component's folder and the settings classes of its programs, each with what a reader must know of it."""

    folder: str
    programs: dict[str, type[BaseSettings]]

    def variables(self) -> list[Variable]:
        """List the variables of all its programs."""
        return [variable for settings in self.programs.values() for variable in variables(settings)]


COMPONENTS = (
    Component("hub", {"Sign-in, image menu and spawning of labs.": jld_hub.settings.Settings}),
    Component("lab", {"What the hub tells a lab: no operator sets these.": jld_lab.settings.Settings}),
    Component(
        "fileserver",
        {
            "`jld_fileserver server` exports the homes over NFS.": jld_fileserver.settings.ServerSettings,
            "`jld_fileserver provisioner` makes homes and group folders.": jld_fileserver.settings.ProvisionerSettings,
            "`jld_fileserver keepalive` writes to the share and says so.": jld_fileserver.settings.KeepaliveSettings,
        },
    ),
    Component("filebeat", {"The shipper of log lines.": jld_filebeat.settings.Settings}),
    Component("logstash", {"The collector, which publishes to RabbitMQ.": jld_logstash.settings.Settings}),
    Component("nginx", {"TLS termination in front of the proxy.": jld_nginx.settings.Settings}),
    Component("dev/github", {"The stand-in for GitHub, for development and tests.": jld_github.settings.Settings}),
    Component("dev/broker", {"RabbitMQ for development and tests.": jld_broker.settings.Settings}),
    Component("dev/embedded", {"The stack of processes that `make up` starts.": jld_embedded.settings.Settings}),
    Component("dev/compose", {"The stack of containers that `make up` starts.": jld_compose.settings.Settings}),
    Component("k8s", {"The tool of clusters; in a site's `site.env` or the environment.": jld_k8s.settings.Settings}),
)


def variables(settings: type[BaseSettings]) -> list[Variable]:
    """List the variables that a settings class reads, in its order."""
    prefix = settings.model_config.get("env_prefix", "")
    values: dict[str, Any] = {}
    found = []
    for name, field in settings.model_fields.items():
        if not field.is_required():
            # Some defaults follow from the values before them.
            values[name] = field.get_default(call_default_factory=True, validated_data=values)
        found.append(
            Variable(
                name=f"{prefix}{name}".upper(),
                meaning=field.description or "",
                default=None if field.is_required() else written(values[name], field),
                secret=field.annotation in (SecretStr, SecretStr | None),
            )
        )
    return found


def written(value: object, field: FieldInfo) -> str:
    """Write a default as a user would, the same on every machine."""
    match value:
        case None:
            text = ""
        case list():
            text = ",".join(map(str, value))
        case Path() if value == Path(sys.executable):
            text = ""
        case Path() if value.is_relative_to(ROOT):
            text = value.relative_to(ROOT).as_posix()
        case bool():
            text = str(value).lower()
        case int() if any(get_args(unit)[1] in field.metadata for unit in BYTES):
            text = size(value)
        case float():
            text = f"{value:g}"
        case _:
            text = str(value)
    return text


def size(number: int) -> str:
    """Write a number of bytes with the largest unit that divides it: 2147483648 as 2G."""
    unit = 0
    while number % 1024 == 0 and unit < len("KMGT"):
        number, unit = number // 1024, unit + 1
    return f"{number}{' KMGT'[unit].strip()}"


def table(rows: Sequence[Variable]) -> str:
    """Write a table of variables."""
    return "\n".join(["| Variable | Meaning | Default |", "|---|---|---|", *(row.row() for row in rows)]) + "\n"


def document() -> str:
    """Write the whole document."""
    parts = [INTRODUCTION]
    for component in COMPONENTS:
        parts.append(f"## {component.folder}\n\nMore about it: [README](../{component.folder}/README.md).\n")
        for introduction, settings in component.programs.items():
            rows = variables(settings)
            parts.append(f"{introduction}\n")
            if component.folder == "hub":
                own = [row for row in rows if row.name.startswith("HUB_")]
                parts += ["What an operator decides:\n", table([row for row in rows if row not in own])]
                parts += ["How the hub runs:\n", table(own)]
            else:
                parts.append(table(rows))
    return "\n".join(parts)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
