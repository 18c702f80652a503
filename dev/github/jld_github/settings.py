"""The stand-in's settings: the only place that reads the environment."""

import os
import re
import sys
from pathlib import Path
from typing import Any, NoReturn

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

EX_UNAVAILABLE = 69
"""Exit status of a start for which an address was not free (sysexits.h)."""

EX_CONFIG = 78
"""Exit status of a start that a setting prevented (sysexits.h)."""

PREFIX = "STANDIN_"


class _SecretFiles(EnvSettingsSource):
    """Takes NAME from the file that NAME_FILE names, for every secret."""

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            variable = f"{name}_file"
            path = _value(variable)
            if field.annotation not in (SecretStr, SecretStr | None) or not path:
                continue
            if _value(name):
                stop(variable, path, f"set either this or {PREFIX}{name.upper()}, not both")
            try:
                found[name] = Path(path).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                stop(variable, path, f"a readable text file with the secret ({error})")
        return found


class Settings(BaseSettings):
    """What may be set; a name here, in capitals and with STANDIN_ before it, is the variable."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    host: str = Field("0.0.0.0", description="address to listen on")  # noqa: S104 - a container's own
    port: int = Field(8082, ge=1, le=65535, description="port to listen on")
    public_url: str = Field(
        "http://localhost:8082", description="the stand-in as browsers and the hub reach it, without a path"
    )
    client_id: str = Field("jupyterlabdemo", description="client id of the one registered application")
    client_secret: SecretStr = Field(min_length=1, description="client secret of that application")
    callback_url: str = Field(
        "http://localhost:8000/hub/oauth_callback", description="the application's registered callback URL"
    )
    members_file: Path = Field(
        Path(__file__).with_name("members.yaml"), description="YAML file of members and organizations"
    )
    control_socket: Path | None = Field(
        None, description="Unix socket (mode 0600) of the control interface for tests; none when unset"
    )
    tokens_file: Path | None = Field(
        None, description="file in which tokens outlive a restart; they end with the process when unset"
    )
    passphrase: SecretStr | None = Field(
        None, min_length=1, description="asked for on the authorize page; nothing is asked when unset"
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

    @field_validator("public_url")
    @classmethod
    def _origin(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^\s/?#@]+/?", url):
            raise ValueError("an address without a path, such as http://localhost:8082")
        return url.rstrip("/")

    @field_validator("callback_url")
    @classmethod
    def _callback(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^\s/?#@]+/[^\s?#]*", url):
            raise ValueError("an address such as http://localhost:8000/hub/oauth_callback")
        return url


def _value(name: str) -> str:
    return os.environ.get(f"{PREFIX}{name}".upper(), "")


def stop(name: str, value: object, right: str, status: int = EX_CONFIG) -> NoReturn:
    """End the start with one line that names a variable, its value, and what would be right.

    Args:
        name: name of the setting, a field of `Settings`.
        value: what it was set to; never a secret.
        right: what would be right.
        status: exit status.

    Raises:
        SystemExit: always, with `status`.
    """
    line = f"jld_github: {PREFIX}{name.upper()}={value}: {right}".replace("\n", " ")
    print(line, file=sys.stderr)  # noqa: T201 - before logging exists
    raise SystemExit(status)


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
            stop(name, "", f"must be set: {field.description}")
        secret = field.annotation in (SecretStr, SecretStr | None)
        stop(name, "***" if secret else _value(name), first["msg"].removeprefix("Value error, "))
