"""The shipper's settings: the only place that reads the environment."""

import os
import socket
from pathlib import Path
from typing import Annotated, Any, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .errors import BadSettingError
from .inputs import Format, Input

NAME_BYTES = 255
"""Longest routing key of AMQP 0-9-1, in bytes of UTF-8 (its type `shortstr`)."""


def _name(value: str) -> str:
    try:
        length = len(value.encode())
    except UnicodeEncodeError as error:
        raise ValueError("should be UTF-8") from error
    if not 1 <= length <= NAME_BYTES:
        raise ValueError(f"should have 1 to {NAME_BYTES} bytes of UTF-8")
    return value


def _host(value: str) -> str:
    try:
        value.encode("idna")
    except UnicodeError as error:
        raise ValueError("should be a host name, its labels of 1 to 63 characters, or an address") from error
    return value


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("should be an absolute path")
    return path


def _inputs(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    found = []
    for item in value.split(","):
        form, colon, pattern = item.strip().partition(":")
        if not colon or form not in get_args(Format) or not pattern.startswith("/") or pattern.endswith("/"):
            raise ValueError(
                f"should be comma-separated format:glob with the format {', '.join(get_args(Format))} "
                f"and an absolute glob, not {item.strip()!r}"
            )
        found.append(Input(form, pattern))  # type: ignore[arg-type] # one of Format, as was just seen
    return found


File = Annotated[Path, AfterValidator(_absolute)]
Port = Annotated[int, Field(ge=0, le=65535)]


class Settings(BaseSettings):
    """What an operator may set; a name here, in capitals, is the variable."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    shipper_name: Annotated[str, AfterValidator(_name)] = Field(
        "jupyterlabdemo", description="name of this log, in every event and the AMQP routing key; 1 to 255 bytes"
    )
    filebeat_inputs: Annotated[list[Input], NoDecode, BeforeValidator(_inputs)] = Field(
        description="comma-separated `format:glob`: the files to ship, and whether their format is `plain`, `cri` "
        "or `docker`; the first glob that matches a file wins"
    )
    filebeat_state_dir: File = Field(
        Path("/var/lib/filebeat"), description="folder for the registry: which files were shipped how far"
    )
    filebeat_node_name: str | None = Field(
        None, description="name of the node, in every event; the machine's own when unset"
    )
    filebeat_collector_host: Annotated[str, AfterValidator(_host)] = Field(
        "logstash", description="name of the collector, which its certificate has"
    )
    filebeat_collector_port: int = Field(5044, ge=1, le=65535, description="the collector's port for lumberjack")
    filebeat_ca_file: File = Field(description="certificates of the authorities that the collector's is checked with")
    filebeat_certificate_file: File = Field(
        description="the shipper's certificate, PEM, with intermediate ones behind it"
    )
    filebeat_key_file: File = Field(description="the key of that certificate, PEM, without a passphrase")
    filebeat_host: str = Field("0.0.0.0", description="address that health and metrics listen on")  # noqa: S104 a container's own
    filebeat_port: Port = Field(8086, description="port of health and metrics; 0 takes a free one")

    @classmethod
    def load(cls) -> Self:
        """Read the settings from the environment.

        Raises:
            BadSettingError: for the first setting that cannot be used.
        """
        try:
            return cls()
        except ValidationError as error:
            first = error.errors()[0]
        variable = str(first["loc"][0]).upper()
        right = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
        raise BadSettingError(
            variable, os.environ.get(variable, ""), "required" if first["type"] == "missing" else right
        )

    @property
    def node(self) -> str:
        """Name of the node."""
        return self.filebeat_node_name or socket.gethostname()
