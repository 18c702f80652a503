"""The settings: the only place that reads the environment."""

import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from . import certificate
from .errors import BadSettingError, CertificateError

SOCKET_LENGTH = 107
"""Bytes that the path of a Unix socket may have (unix(7)); nginx's status is behind one."""


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError as error:
        raise ValueError("should be an IP address of this machine, 0.0.0.0 or ::") from error


def _path(path: Path) -> Path:
    # nginx takes a dollar sign in a path for the beginning of a variable, and has no way to quote it.
    if not path.is_absolute() or "$" in str(path) or not str(path).isprintable():
        raise ValueError("should be an absolute path without dollar signs")
    return path


def _upstream(text: str) -> str:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[\w.-]+):(\d{1,5})", text, re.ASCII)
    if not match or not 0 < int(match[2]) < 2**16:
        raise ValueError("should be a host and a port, as in proxy:8000")
    return text


Address = Annotated[str, AfterValidator(_address)]
AbsolutePath = Annotated[Path, AfterValidator(_path)]


class Settings(BaseSettings):
    """What can be set; a field's name, in capitals, is the variable."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    nginx_listen: Address = Field(
        "0.0.0.0",  # noqa: S104 a container is reached through its own address
        description="IP address to serve HTTPS on; `::` is every address, those of IPv4 too",
    )
    nginx_https_port: int = Field(8443, ge=1, le=65535, description="port to serve HTTPS on")
    nginx_upstream: Annotated[str, AfterValidator(_upstream)] = Field(
        "proxy:8000", description="host and port of the proxy; a name is looked up again and again"
    )
    nginx_certificate_file: AbsolutePath = Field(
        description="file with the certificate and those of its issuers, in PEM"
    )
    nginx_key_file: AbsolutePath = Field(description="file with the certificate's key, in PEM, without a passphrase")
    nginx_hsts_max_age: int = Field(
        63072000,
        ge=0,
        le=2**31 - 1,
        description="for how long browsers are told to come by HTTPS only, in seconds; 0 tells them nothing",
    )
    nginx_http2: bool = Field(
        default=True, description="whether browsers that can are served by HTTP/2, else by HTTP/1.1"
    )
    nginx_runtime_dir: AbsolutePath = Field(
        Path("/tmp/nginx"),  # noqa: S108 it is not used when it belongs to somebody else
        description="folder for nginx's configuration, process id and socket; made when missing",
    )
    nginx_host: Address = Field(
        "0.0.0.0",  # noqa: S104 as above
        description="IP address to serve health and metrics on",
    )
    nginx_port: int = Field(8085, ge=0, le=65535, description="port to serve health and metrics on; 0 takes a free one")

    @property
    def status_socket(self) -> Path:
        """The Unix socket at which nginx tells its figures."""
        return self.nginx_runtime_dir / "status.sock"

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

    # Not ValueErrors below: pydantic would not say which of the fields they are about.

    @model_validator(mode="after")
    def _certificate_works(self) -> Self:
        try:
            certificate.load(self.nginx_certificate_file, self.nginx_key_file)
        except CertificateError as error:
            raise BadSettingError(error.variable, getattr(self, error.variable.lower()), error.right) from error
        return self

    @model_validator(mode="after")
    def _socket_fits(self) -> Self:
        room = SOCKET_LENGTH - len("/status.sock")
        if len(os.fsencode(self.nginx_runtime_dir)) > room:
            raise BadSettingError(
                "NGINX_RUNTIME_DIR", self.nginx_runtime_dir, f"should have at most {room} bytes: a socket goes there"
            )
        return self
