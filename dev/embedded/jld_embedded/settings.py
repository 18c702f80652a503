"""Settings of the embedded stack: the only place that reads the environment and `.env`."""

import os
import re
from io import StringIO
from pathlib import Path

from dotenv import dotenv_values
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from .errors import BadSettingError

CHECKOUT = Path(__file__).resolve().parents[3]

PREFIX = "EMBEDDED_"

HIGHEST_PORT = 65520
"""The base port leaves room for the ports that are counted from it."""


class Settings(BaseSettings):
    """What may be set; a name here, in capitals and with EMBEDDED_ before it, is the variable."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    state: Path = Field(CHECKOUT / "var", description="folder that holds homes, databases, logs and secrets")
    port: int = Field(
        8000, ge=1, le=HIGHEST_PORT, description="port of the proxy, plain HTTP; the next fourteen are used too"
    )
    https_port: int = Field(8443, ge=1, le=65535, description="port to open in a browser, where nginx is installed")
    env_file: Path = Field(CHECKOUT / ".env", description="file of settings; the environment wins over it")


def env_file() -> Path:
    """Name the file of settings: EMBEDDED_ENV_FILE, else `.env` in the checkout.

    Raises:
        BadSettingError: where the one that is named is not there.
    """
    named = os.environ.get(f"{PREFIX}ENV_FILE")
    if named and not Path(named).exists():
        raise BadSettingError(f"{PREFIX}ENV_FILE", named, "a file that exists")
    return Path(named) if named else CHECKOUT / ".env"


def make_env_file() -> bool:
    """Make `.env` from `.env.example` where there is none; it may come to hold a secret.

    Returns:
        Whether it was made.
    """
    file = env_file()
    if file.exists():
        return False
    aside = file.with_name(".env.new")
    aside.touch(0o600)
    aside.write_text((CHECKOUT / ".env.example").read_text())
    aside.replace(file)
    return True


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
        field = str(error.errors()[0]["loc"][0])
        variable = f"{PREFIX}{field}".upper()
        highest = {"port": HIGHEST_PORT, "https_port": 65535}.get(field)
        right = f"a number from 1 to {highest}" if highest else error.errors()[0]["msg"]
        raise BadSettingError(variable, user.get(variable, ""), right) from error


def written(file: Path) -> dict[str, str]:
    """Read a file of settings; `$` has no meaning in it.

    Raises:
        BadSettingError: where it is no text.
    """
    try:
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
    except UnicodeDecodeError as error:
        raise BadSettingError("EMBEDDED_ENV_FILE", str(file), f"a text in UTF-8 (see byte {error.start})") from error
    if "\0" in text:
        raise BadSettingError("EMBEDDED_ENV_FILE", str(file), "a text without NUL bytes")
    return {name: value or "" for name, value in dotenv_values(stream=StringIO(text), interpolate=False).items()}


def unknown() -> list[str]:
    """List what the file of settings sets though nothing reads it, as `.env.example` names all there is."""
    example = (CHECKOUT / ".env.example").read_text()
    return [name for name in written(env_file()) if not re.search(rf"^#?{re.escape(name)}=", example, re.MULTILINE)]
