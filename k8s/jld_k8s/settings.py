"""Settings of the tool: the only place that reads the environment; a site's `site.env` is read here too."""

import ipaddress
import os
import re
import sys
from collections.abc import Mapping
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

from dotenv.parser import parse_stream
from jld_embedded.errors import BadSettingError
from jld_embedded.settings import CHECKOUT
from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

PREFIX = "K8S_"

FOREIGN = re.compile(r"/|/var|/(bin|boot|dev|etc|lib\w*|proc|root|run|sbin|sys|usr)(/.*)?")
"""Folders that are a system's own: what holds homes is given to members."""

LONGEST = 131071
"""Bytes that a variable may have, name and `=` with it: no program starts with more (Linux, execve(2))."""

WHERE = ("K8S_KUBECTL", "K8S_SITES")
"""What is asked for before any site is read: the environment alone can say it."""


def _split(value: Any) -> Any:
    """Split a comma-separated setting."""
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


class Settings(BaseSettings):
    """What may be set; a name here, in capitals and with K8S_ before it, is the variable."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    node_cidrs: Annotated[list[str], NoDecode, BeforeValidator(_split)] = Field(
        [],
        description="comma-separated ranges of the addresses that nodes have, tunnels' too: they alone may speak"
        " NFS, and no lab reaches them; needed where homes are on NFS, and the preflight proposes them",
    )
    homes_dir: Path = Field(
        Path("/srv/jupyterlabdemo/export"), description="single-node: folder of the node that holds homes"
    )
    kubectl: str = Field("kubectl", description="kubectl, by name or path; from the environment only")
    sites: Path = Field(CHECKOUT / "k8s/sites", description="folder of the sites; from the environment only")

    @field_validator("node_cidrs")
    @classmethod
    def _ranges(cls, ranges: list[str]) -> list[str]:
        for text in ranges:
            try:
                ipaddress.ip_network(text)
            except ValueError as error:
                raise ValueError(f"ranges such as 10.1.2.0/24 or fd00:1::/64, not {text}") from error
        return ranges

    @field_validator("homes_dir")
    @classmethod
    def _apart(cls, path: Path) -> Path:
        text = str(path)
        if not re.fullmatch(r"(/[^/\s\\]+)+", text) or ".." in path.parts or FOREIGN.fullmatch(text):
            raise ValueError("an absolute path of no folder of the system's, without .., white space or backslash")
        return path


def load(user: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Args:
        user: what a site sets; the environment wins.

    Raises:
        BadSettingError: for the first setting that cannot be used.
    """
    given = {name: value for name, value in (user or {}).items() if name.startswith(PREFIX) and name not in WHERE}
    values = {name: value for name, value in {**given, **os.environ}.items() if value}
    try:
        return Settings.model_validate(
            {field: values[name] for field in Settings.model_fields if (name := f"{PREFIX}{field}".upper()) in values}
        )
    except ValidationError as error:
        first = error.errors()[0]
        variable = f"{PREFIX}{first['loc'][0]}".upper()
        raise BadSettingError(variable, values.get(variable, ""), first["msg"].removeprefix("Value error, ")) from error


def written(file: Path) -> dict[str, str]:
    """Read a site's file of settings; `$` has no meaning in it.

    Raises:
        BadSettingError: where it is no text, a line sets nothing or what another one sets, or a value is too long.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise BadSettingError(file.name, str(file), f"a text in UTF-8 (see byte {error.start})") from error
    if "\0" in text:
        raise BadSettingError(file.name, str(file), "a text without NUL bytes")
    found: dict[str, str] = {}
    for binding in parse_stream(StringIO(text)):
        if binding.error or (binding.key and binding.value is None):
            line = f"line {binding.original.line}"
            raise BadSettingError(
                file.name, line, f"NAME=value, or # and a remark, not {binding.original.string.strip()}"
            )
        if binding.key in found:
            raise BadSettingError(file.name, f"line {binding.original.line}", f"{binding.key} once, and not here again")
        if binding.key:
            length = len(f"{binding.key}={binding.value or ''}".encode())
            if length > LONGEST:
                raise BadSettingError(binding.key, "…", f"at most {LONGEST:,} bytes with its name, not {length:,}")
            found[binding.key] = binding.value or ""
    return found


def kubectl_environment(**more: str) -> dict[str, str]:
    """Give kubectl's environment: this one's, and what is asked for beside it."""
    return {**os.environ, **more}


def no_kubeconfig() -> str:
    """Say that no file names the cluster; empty where one is there."""
    named = os.environ.get("KUBECONFIG", "")
    usual = Path("~/.kube/config").expanduser()
    if any(Path(one).exists() for one in named.split(os.pathsep) if one) or (not named and usual.exists()):
        return ""
    right = "a file that is there" if named else f"the file that names the cluster, as {usual} is not there"
    return f"KUBECONFIG={named}: {right}"


def bare_environment(**values: str) -> dict[str, str]:
    """Give an environment that has nothing of this one's but where Python finds its libraries."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **values}
