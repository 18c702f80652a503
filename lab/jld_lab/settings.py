"""The lab's settings: the only place that reads the environment."""

import json
import os
import re
import sys
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

EX_CONFIG = 78
"""Exit status of a start that a setting prevented (sysexits.h)."""

RUNTIME_DIR_LENGTH = 57
"""Bytes left for the runtime directory of the 107 that a Unix socket's path may have (unix(7)).

The rest is `/kernel-`, the 36 characters of a UUID, and `-ipc-1`.
"""


class Group(NamedTuple):
    """An organization and its number."""

    name: str
    gid: int


def _groups(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    pairs = [item.rpartition(":") for item in value.split(",") if item]
    if not all(re.fullmatch(r"[^\s:,]+", name) and gid.isdecimal() for name, _, gid in pairs):
        raise ValueError("organization:gid,… such as lsst-sqre:1508001,lsst:3050001")
    return [Group(name, int(gid)) for name, _, gid in pairs]


def _sentences(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        sentences = json.loads(value)
    except ValueError:
        sentences = None
    if not isinstance(sentences, list) or not all(isinstance(sentence, str) for sentence in sentences):
        raise ValueError('a JSON list of sentences, such as ["One.", "Two."]')
    # A notice ends up on a terminal too, where control characters are commands.
    return ["".join(c if c.isprintable() else " " for c in sentence) for sentence in sentences]


class _SecretFiles(EnvSettingsSource):
    """Takes NAME from the file that NAME_FILE names, for every secret."""

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            variable = f"{name}_file".upper()
            if field.annotation is not SecretStr or not os.environ.get(variable):
                continue
            if os.environ.get(name.upper()):
                stop(variable, os.environ[variable], f"set either this or {name.upper()}, not both")
            try:
                found[name] = Path(os.environ[variable]).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                stop(variable, os.environ[variable], f"a readable text file with the secret ({error})")
        return found


class Settings(BaseSettings):
    """What the hub tells a lab; a name here, in capitals, is the variable."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True, validate_default=False)

    home: Path = Field(description="the member's home, where everything starts")
    user: str = Field(description="the member's login")
    jupyterhub_api_token: SecretStr = Field(description="the lab's own token for the hub's API")
    jupyterhub_service_url: str = Field(description="address to listen on, as JupyterHub gives it")
    jupyterhub_public_url: str = Field("", description="the lab as browsers reach it, as JupyterHub gives it")
    lab_announce_url: str | None = Field(
        None, description="where the lab says that it listens; when unset it does not say so"
    )
    lab_stack_dir: Path = Field(
        Path("/opt/lsst/software/stack"), description="folder that holds the stack's loadLSST.bash"
    )
    lab_runtime_dir: Path | None = Field(
        None,
        description=f"private folder off NFS for sockets and databases, at most {RUNTIME_DIR_LENGTH} bytes long; "
        "made under /tmp when unset",
    )
    lab_groups: Annotated[list[Group], NoDecode, BeforeValidator(_groups)] = Field(
        [], description="the member's organizations and their numbers: organization:gid,…"
    )
    lab_groups_dir: Path = Field(Path("/groups"), description="folder that holds the organizations' shared folders")
    lab_notices: Annotated[list[str], NoDecode, BeforeValidator(_sentences)] = Field(
        [], description="JSON list of sentences that the member must see"
    )
    lab_nss_dir: Path | None = Field(
        None, description="folder in which libnss-extrausers looks for names of users and groups"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - part of the signature
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - part of the signature
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, then the environment, then files named in the environment."""
        return init_settings, env_settings, _SecretFiles(settings_cls)

    @field_validator("home")
    @classmethod
    def _home(cls, home: Path) -> Path:
        if not home.is_absolute() or not os.access(home, os.W_OK | os.X_OK):
            raise ValueError("an absolute path of a folder in which this user may write")
        return home

    @field_validator("jupyterhub_service_url", "lab_announce_url")
    @classmethod
    def _url(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", url):
            raise ValueError("an address such as http://127.0.0.1:8888/user/alice/")
        return url

    @field_validator("lab_runtime_dir")
    @classmethod
    def _runtime_dir(cls, path: Path) -> Path:
        if not path.is_absolute() or len(os.fsencode(path)) > RUNTIME_DIR_LENGTH:
            raise ValueError(f"an absolute path of at most {RUNTIME_DIR_LENGTH} bytes, since sockets lie below it")
        return path


def stop(variable: str, value: object, right: str) -> NoReturn:
    """End the start with one line that names a variable, its value, and what would be right.

    Args:
        variable: Name of the variable.
        value: What it was set to; never a secret.
        right: What would be right.

    Raises:
        SystemExit: always, with EX_CONFIG.
    """
    line = f"jld_lab: {variable}={value}: {right}"
    sys.stderr.write("".join(c if c.isprintable() else " " for c in line) + "\n")
    raise SystemExit(EX_CONFIG)


def load() -> Settings:
    """Read the settings.

    Raises:
        SystemExit: where one is missing or wrong, after a line that says so, with EX_CONFIG.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        field = Settings.model_fields[name]
        if first["type"] == "missing":
            stop(name.upper(), "", f"must be set: {field.description}")
        value = "***" if field.annotation is SecretStr else os.environ.get(name.upper(), "")
        stop(name.upper(), value, first["msg"].removeprefix("Value error, "))
