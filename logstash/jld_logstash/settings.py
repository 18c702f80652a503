"""The collector's settings: the only place that reads the environment."""

import contextlib
import os
import re
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .errors import BadSettingError

HOST_LIMIT = 253
"""Characters of a host's name (RFC 1035, section 2.3.4, without the bytes of lengths)."""

NAME_LIMIT = 255
"""Bytes of a routing key, or of a queue's name (AMQP 0-9-1, section 4.2.5.3: short strings)."""

LEAST_SPOOL = 32 * 2**20
"""The largest batch has to fit."""

_SECRETS = (SecretStr, SecretStr | None)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("should be an absolute path")
    return path


def _host(text: str) -> str:
    with contextlib.suppress(ValueError):
        return str(ip_address(text))
    try:
        # As the resolver does it, which raises for a label that is empty or too long.
        name = text.encode("idna").decode().removesuffix(".")
    except UnicodeError:
        name = ""
    if len(name) > HOST_LIMIT or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", name, re.ASCII):
        raise ValueError("should be the name of a host, or an IP address")
    return text


def _short(name: str) -> str:
    if not 0 < len(name.encode()) <= NAME_LIMIT:
        raise ValueError(f"should have 1 to {NAME_LIMIT} bytes")
    return name


def _names(text: Any) -> Any:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise ValueError("should be names, separated by commas")
    return names


def _bytes(value: Any) -> Any:
    """Read bytes with units, in powers of two: `512M`, `1G`, and `1Gi` alike."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:([KMGT])i?)?", str(value).strip(), re.ASCII)
    size = int(float(match[1]) * _UNITS[match[2] or ""]) if match else 0
    if size < LEAST_SPOOL:
        raise ValueError(f"should be an amount such as 512M, 1G or 2Gi, at least {LEAST_SPOOL // 2**20}M")
    return size


Port = Annotated[int, Field(ge=0, le=65535)]
File = Annotated[Path, AfterValidator(_absolute)]
Bytes = Annotated[int, BeforeValidator(_bytes)]


class Settings(BaseSettings):
    """What may be set; a field's name, in capitals, is the variable."""

    model_config = SettingsConfigDict(frozen=True, env_ignore_empty=True)

    shipper_name: Annotated[str, AfterValidator(_short)] = Field(
        "jupyterlabdemo", description="AMQP routing key, and `shipper` of events that have none"
    )
    rabbitmq_target_host: Annotated[str, AfterValidator(_host)] | None = Field(
        None, description="the broker; either this or LOGSTASH_EVENTS_FILE"
    )
    rabbitmq_target_tls: bool = Field(default=True, description="whether to speak TLS to the broker")
    rabbitmq_target_port: Annotated[int, Field(ge=1, le=65535)] = Field(
        default_factory=lambda data: 5671 if data["rabbitmq_target_tls"] else 5672,
        description="port of the broker; 5672 when RABBITMQ_TARGET_TLS is false",
    )
    rabbitmq_target_vhost: str = Field("/", description="virtual host at the broker")
    rabbitmq_target_user: str | None = Field(None, description="user at the broker; required with a broker")
    rabbitmq_target_password: SecretStr | None = Field(None, description="password of that user; required with it")
    rabbitmq_target_ca_file: File | None = Field(
        None, description="PEM certificates of the authorities that may vouch for the broker; unset: the system's"
    )
    rabbitmq_target_certificate_file: File | None = Field(
        None, description="PEM certificate to show to a broker that asks for one"
    )
    rabbitmq_target_key_file: File | None = Field(None, description="PEM key of that certificate")
    rabbitmq_target_queue: Annotated[str, AfterValidator(_short)] | None = Field(
        None, description="durable queue to declare and to bind to the exchange; unset: whoever reads makes one"
    )
    rabbitmq_target_queue_type: Literal["quorum", "classic", "stream"] = Field(
        "quorum", description="type of that queue: quorum, classic or stream"
    )
    rabbitmq_target_events_per_message: Annotated[int, Field(ge=1, le=1000)] = Field(
        1, description="events that may share a message, one a line; with more than 1 readers have to expect that"
    )
    logstash_events_file: File | None = Field(
        None, description="file to write events to, one a line, instead of publishing them"
    )
    logstash_host: str = Field("0.0.0.0", description="address to listen on, for shippers and for HTTP")  # noqa: S104 a container's own
    logstash_port: Port = Field(8087, description="port of health and metrics; 0 takes a free one")
    logstash_beats_port: Port = Field(5044, description="port for shippers; 0 takes a free one")
    logstash_ca_file: File = Field(description="PEM certificates of the authorities that may vouch for shippers")
    logstash_certificate_file: File = Field(description="PEM certificate that shippers see")
    logstash_key_file: File = Field(description="PEM key of that certificate")
    logstash_shippers: Annotated[list[str], NoDecode, BeforeValidator(_names)] | None = Field(
        None, description="comma-separated names of the certificates that may ship; unset: all of the authorities'"
    )
    logstash_spool_dir: File = Field(
        Path("/var/spool/logstash"), description="folder of the events that the broker has not confirmed yet"
    )
    logstash_spool_limit: Bytes = Field(
        2**30, description="bytes that the spool may take, such as 512M, 1G or 2Gi, in powers of two"
    )

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
        value = os.environ.get(field.upper(), "")
        right = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
        raise BadSettingError(field.upper(), value, "required" if first["type"] == "missing" else right)

    @classmethod
    def _secrets_from_files(cls) -> dict[str, Any]:
        """Read each secret whose NAME_FILE is set; an empty variable counts as unset."""
        secrets: dict[str, Any] = {}
        for field, info in cls.model_fields.items():
            variable = field.upper()
            file = os.environ.get(f"{variable}_FILE")
            if info.annotation not in _SECRETS or not file:
                continue
            if os.environ.get(variable):
                raise BadSettingError(f"{variable}_FILE", file, f"should be unset, as {variable} is set too")
            try:
                secret = Path(file).read_text(encoding="utf-8").rstrip("\r\n")
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not text"
                raise BadSettingError(f"{variable}_FILE", file, f"should be a file to read ({reason})") from error
            if not secret:
                raise BadSettingError(f"{variable}_FILE", file, "should be a file that is not empty")
            secrets[field] = SecretStr(secret)
        return secrets

    # These raise no ValueError: pydantic would not say which of the fields it is about.

    @model_validator(mode="after")
    def _one_target(self) -> Self:
        if self.logstash_events_file and self.rabbitmq_target_host:
            raise BadSettingError(
                "LOGSTASH_EVENTS_FILE",
                str(self.logstash_events_file),
                "should be unset, as RABBITMQ_TARGET_HOST is set",
            )
        if not self.logstash_events_file and not self.rabbitmq_target_host:
            raise BadSettingError("RABBITMQ_TARGET_HOST", "", "required, or LOGSTASH_EVENTS_FILE instead")
        return self

    @model_validator(mode="after")
    def _whole_login(self) -> Self:
        if self.rabbitmq_target_host:
            for field in ("rabbitmq_target_user", "rabbitmq_target_password"):
                if not getattr(self, field):
                    raise BadSettingError(field.upper(), "", "required with RABBITMQ_TARGET_HOST")
        return self

    @model_validator(mode="after")
    def _whole_certificate(self) -> Self:
        certificate, key = self.rabbitmq_target_certificate_file, self.rabbitmq_target_key_file
        if key and not certificate:
            raise BadSettingError("RABBITMQ_TARGET_CERTIFICATE_FILE", "", "required with RABBITMQ_TARGET_KEY_FILE")
        if certificate and not key:
            raise BadSettingError("RABBITMQ_TARGET_KEY_FILE", "", "required with RABBITMQ_TARGET_CERTIFICATE_FILE")
        for field in ("rabbitmq_target_ca_file", "rabbitmq_target_certificate_file"):
            if getattr(self, field) and not self.rabbitmq_target_tls:
                raise BadSettingError(field.upper(), str(getattr(self, field)), "needs RABBITMQ_TARGET_TLS=true")
        return self
