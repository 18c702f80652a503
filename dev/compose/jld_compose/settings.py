"""Settings of the stack in containers: the only place that reads the environment and `.env`."""

import os
import socket
from collections.abc import Mapping
from pathlib import Path

from jld_embedded.errors import BadSettingError
from jld_embedded.settings import CHECKOUT, env_file, written
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX = "COMPOSE_"


class Settings(BaseSettings):
    """What may be set; a name here, in capitals and with COMPOSE_ before it, is the variable."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    state: Path = Field(CHECKOUT / "var/compose", description="folder that holds homes, databases and secrets")
    https_port: int = Field(8443, ge=1, le=65535, description="port to open in a browser")
    github_port: int = Field(8444, ge=1, le=65535, description="port of the stand-in's pages, where it is used")
    project_name: str = Field(
        "jupyterlabdemo",
        pattern="^[a-z0-9][a-z0-9_-]{0,30}$",
        description="name of the stack, which containers and networks begin with; Compose's own variable",
    )


def load() -> tuple[Settings, dict[str, str]]:
    """Read the settings of the stack, and what the user has set for its services.

    Returns:
        The settings, and all variables of the file of settings and the environment, which wins.

    Raises:
        BadSettingError: for the first setting that cannot be used.
    """
    user = {**written(env_file()), **os.environ}
    try:
        return Settings(_env_file=env_file()), user
    except ValidationError as error:
        first = error.errors()[0]
        variable = f"{PREFIX}{first['loc'][0]}".upper()
        raise BadSettingError(variable, user.get(variable, ""), first["msg"]) from error


def node_name(user: Mapping[str, str]) -> str:
    """Name this machine in events: as the user does, or as it does itself."""
    return user.get("FILEBEAT_NODE_NAME") or socket.gethostname()
