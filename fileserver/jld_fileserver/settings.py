"""Settings of both programs: the only place that reads the environment."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import BadSettingError

TOKEN_LENGTH = 16
"""Least number of characters of a token: with fewer, guessing over the network becomes an option."""


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("should be an absolute path")
    return path


def _bearer(token: SecretStr) -> SecretStr:
    """Refuse what no Authorization header can carry (RFC 6750, section 2.1: b64token)."""
    value = token.get_secret_value()
    if len(value) < TOKEN_LENGTH or not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", value):
        raise ValueError(f"should be at least {TOKEN_LENGTH} letters, digits or any of -._~+/")
    return token


Host = Annotated[str, Field(description="address to listen on")]
Port = Annotated[int, Field(ge=0, le=65535)]
Folder = Annotated[Path, AfterValidator(_absolute)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """What the settings of both programs share: how they are read and how they are refused."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    @classmethod
    def load(cls) -> Self:
        """Read the settings from the environment.

        Raises:
            BadSettingError: for the first setting that cannot be used.
        """
        try:
            return cls(**cls._secrets_from_files())
        except ValidationError as error:
            first = error.errors()[0]
        field = str(first["loc"][0])
        variable = cls._variable(field)
        right = "required" if first["type"] == "missing" else first["msg"]
        value = os.environ.get(variable, "")
        if cls.model_fields[field].annotation is SecretStr and value:
            value = "(hidden)"
        raise BadSettingError(variable, value, right.removeprefix("Input ").removeprefix("Value error, "))

    @classmethod
    def _variable(cls, field: str) -> str:
        return f"{cls.model_config['env_prefix']}{field}".upper()

    @classmethod
    def _secrets_from_files(cls) -> dict[str, Any]:
        """Read each secret whose NAME_FILE is set; an empty variable counts as unset."""
        secrets: dict[str, Any] = {}
        for field, info in cls.model_fields.items():
            variable = cls._variable(field)
            file = os.environ.get(f"{variable}_FILE")
            if info.annotation is not SecretStr or not file:
                continue
            if os.environ.get(variable):
                raise BadSettingError(f"{variable}_FILE", file, f"should be unset, as {variable} is set too")
            try:
                secrets[field] = SecretStr(Path(file).read_text(encoding="utf-8").rstrip("\r\n"))
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not text"
                raise BadSettingError(f"{variable}_FILE", file, f"should be a file to read ({reason})") from error
        return secrets


class ProvisionerSettings(Settings):
    """Settings of the provisioner."""

    model_config = SettingsConfigDict(env_prefix="FILESERVER_")

    host: Host = "0.0.0.0"  # noqa: S104 a container is reached through its own address
    port: Port = Field(8083, description="port to listen on; 0 takes a free one")
    export: Folder = Field(Path("/export"), description="folder that is exported, below which homes are made")
    token: Annotated[SecretStr, AfterValidator(_bearer)] = Field(
        description="bearer token that the hub presents, at least 16 characters"
    )


class KeepaliveSettings(Settings):
    """Settings of the keepalive writer."""

    model_config = SettingsConfigDict(env_prefix="KEEPALIVE_")

    host: Host = "0.0.0.0"  # noqa: S104 as above
    port: Port = Field(8084, description="port to listen on; 0 takes a free one")
    path: Folder = Field(Path("/keepalive"), description="folder on the share to write to; it must exist")
    interval: Seconds = Field(60, description="time between the starts of two writes, in seconds")
    timeout: Seconds = Field(30, description="time one write may take, in seconds")
    max_age: Seconds = Field(
        default_factory=lambda data: 3 * data["interval"],
        description="age of the last success at which health turns red, in seconds; "
        "default: three times KEEPALIVE_INTERVAL",
    )

    @model_validator(mode="after")
    def _age_above_interval(self) -> Self:
        if self.max_age <= self.interval:
            # Not a ValueError: pydantic would not say which of the two fields it is about.
            raise BadSettingError(
                "KEEPALIVE_MAX_AGE", f"{self.max_age:g}", f"should be above KEEPALIVE_INTERVAL ({self.interval:g})"
            )
        return self
