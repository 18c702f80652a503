"""Settings: the only place that reads the environment."""

import os
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import BadSettingError


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("should be an absolute path")
    return path


def _readable(path: Path) -> Path:
    try:
        with _absolute(path).open("rb"):
            return path
    except OSError as error:
        raise ValueError(f"should be a file to read ({error.strerror})") from error


def _password(value: SecretStr) -> SecretStr:
    if not value.get_secret_value():
        raise ValueError("should not be empty")
    return value


Port = Annotated[int, Field(ge=1, le=65535)]
File = Annotated[Path, AfterValidator(_readable)]
Password = Annotated[SecretStr, AfterValidator(_password)]


class Settings(BaseSettings):
    """What may be set; a field's name, in capitals and with BROKER_ before it, is the variable."""

    model_config = SettingsConfigDict(env_prefix="BROKER_", frozen=True, env_ignore_empty=True)

    host: str = Field("0.0.0.0", description="address to listen on for AMQP and metrics")  # noqa: S104 a container's own
    port: Port = Field(5671, description="port for AMQP over TLS; there is none without TLS")
    metrics_port: Port = Field(15692, description="port for `/metrics`")
    node_port: Port = Field(25672, description="port for RabbitMQ's own commands; on the loopback only")
    epmd_port: Port = Field(4369, description="port of the Erlang port mapper; on the loopback only")
    state_dir: Annotated[Path, AfterValidator(_absolute)] = Field(
        Path("/var/lib/rabbitmq"), description="folder of the configuration and the messages"
    )
    certificate_file: File = Field(description="certificate that the broker shows, PEM")
    key_file: File = Field(description="key of that certificate, PEM")
    publisher_password: Password = Field(description="password of `logstash`, who may publish to the exchange `logs`")
    reader_password: Password = Field(description="password of `reader`, who may read the queue `logs`")

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
        variable = f"BROKER_{field}".upper()
        value = os.environ.get(variable, "")
        right = "required" if first["type"] == "missing" else first["msg"]
        if field.endswith("password"):
            file = os.environ.get(f"{variable}_FILE")
            variable, value = (f"{variable}_FILE", file) if file else (variable, value and "(hidden)")
        raise BadSettingError(variable, value, right.removeprefix("Input ").removeprefix("Value error, "))

    @classmethod
    def _secrets_from_files(cls) -> dict[str, Any]:
        """Read each password whose NAME_FILE is set."""
        secrets: dict[str, Any] = {}
        for field in ("publisher_password", "reader_password"):
            variable = f"BROKER_{field}".upper()
            file = os.environ.get(f"{variable}_FILE")
            if not file:
                continue
            if os.environ.get(variable):
                raise BadSettingError(f"{variable}_FILE", file, f"should be unset, as {variable} is set too")
            try:
                secrets[field] = SecretStr(Path(file).read_text(encoding="utf-8").rstrip("\r\n"))
            except (OSError, ValueError) as error:
                reason = error.strerror if isinstance(error, OSError) else "not text"
                raise BadSettingError(f"{variable}_FILE", file, f"should be a file to read ({reason})") from error
        return secrets
