"""Settings of the programs: the only place that reads the environment."""

import os
import re
from ipaddress import ip_address
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


def _address(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError as error:
        raise ValueError("should be an IP address to listen on") from error


def _plain(path: Path) -> Path:
    """Refuse what would have to be quoted in Ganesha's configuration."""
    if not re.fullmatch(r"/[\w.@/-]*", str(path)):
        raise ValueError("should be an absolute path of letters, digits and any of ._@/-")
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
PlainFolder = Annotated[Path, AfterValidator(_plain)]
Address = Annotated[str, AfterValidator(_address)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Settings(BaseSettings):
    """How the settings of the programs are read; a field's name, in capitals, is the variable."""

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
        variable = field.upper()
        value = os.environ.get(variable, "")
        right = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
        if first["type"] == "missing":
            right = "required"
        if cls.model_fields[field].annotation is SecretStr:
            file = os.environ.get(f"{variable}_FILE")
            variable, value = (f"{variable}_FILE", file) if file else (variable, value and "(hidden)")
        raise BadSettingError(variable, value, right)

    @classmethod
    def _secrets_from_files(cls) -> dict[str, Any]:
        """Read each secret whose NAME_FILE is set; an empty variable counts as unset."""
        secrets: dict[str, Any] = {}
        for field, info in cls.model_fields.items():
            variable = field.upper()
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


class ServerSettings(Settings):
    """Settings of the NFS server."""

    fileserver_nfs_host: Address = Field("0.0.0.0", description="IP address to serve NFS on")  # noqa: S104 a container
    fileserver_nfs_port: int = Field(2049, ge=1, le=65535, description="port to serve NFS on, over TCP")
    fileserver_export: PlainFolder = Field(Path("/export"), description="folder that is exported")
    fileserver_state_dir: PlainFolder = Field(
        Path("/var/lib/ganesha"),
        description="folder for the list of clients, who reclaim after a restart what they had open and locked; "
        "it must outlive the server and not be in the export",
    )
    fileserver_health_host: Host = "0.0.0.0"  # noqa: S104 a container is reached through its own address
    fileserver_health_port: Port = Field(8088, description="port to serve health and metrics on; 0 takes a free one")

    @model_validator(mode="after")
    def _state_is_not_exported(self) -> Self:
        if self.fileserver_state_dir.is_relative_to(self.fileserver_export):
            raise BadSettingError(
                "FILESERVER_STATE_DIR",
                str(self.fileserver_state_dir),
                f"should not be below FILESERVER_EXPORT ({self.fileserver_export}), where members reach it",
            )
        return self


class ProvisionerSettings(Settings):
    """Settings of the provisioner."""

    fileserver_host: Host = "0.0.0.0"  # noqa: S104 a container is reached through its own address
    fileserver_port: Port = Field(8083, description="port to listen on; 0 takes a free one")
    fileserver_export: Folder = Field(
        Path("/export"), description="folder that is exported, below which homes are made"
    )
    fileserver_token: Annotated[SecretStr, AfterValidator(_bearer)] = Field(
        description="bearer token that the hub presents, at least 16 characters"
    )


class KeepaliveSettings(Settings):
    """Settings of the keepalive writer."""

    keepalive_host: Host = "0.0.0.0"  # noqa: S104 as above
    keepalive_port: Port = Field(8084, description="port to listen on; 0 takes a free one")
    keepalive_path: Folder = Field(Path("/keepalive"), description="folder on the share to write to; it must exist")
    keepalive_interval: Seconds = Field(60, description="time between the starts of two writes, in seconds")
    keepalive_timeout: Seconds = Field(30, description="time one write may take, in seconds")
    keepalive_max_age: Seconds = Field(
        default_factory=lambda data: 3 * data["keepalive_interval"],
        description="age of the last success at which health turns red, in seconds; "
        "default: three times KEEPALIVE_INTERVAL",
    )

    @model_validator(mode="after")
    def _age_above_interval(self) -> Self:
        if self.keepalive_max_age <= self.keepalive_interval:
            # Not a ValueError: pydantic would not say which of the two fields it is about.
            raise BadSettingError(
                "KEEPALIVE_MAX_AGE",
                f"{self.keepalive_max_age:g}",
                f"should be above KEEPALIVE_INTERVAL ({self.keepalive_interval:g})",
            )
        return self
