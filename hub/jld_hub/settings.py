"""The hub's settings: the only place that reads the environment."""

import math
import os
import re
import sys
from contextlib import suppress
from ipaddress import IPv4Network
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

EX_CONFIG = 78
"""Exit status of a start that a setting prevented (sysexits.h)."""

DEFAULT_IMAGE = "lsstsqre/jld-lab-py3"

DEFAULT_DATABASE = "sqlite:////srv/hub/jupyterhub.sqlite"

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}

# Names made before GitHub forbade it begin or end with a dash, or have two in a row.
_GITHUB_NAME = re.compile(r"[a-z0-9-]{1,39}")

# The distribution's reference grammar, loosely: host:port/path:tag@digest, without white space or shell's signs.
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*")


def _split(value: Any) -> Any:
    """Split a comma-separated setting; an empty one is an empty list."""
    if not isinstance(value, str):
        return value
    return [item.strip() for item in value.split(",")] if value.strip() else []


def _cpus(value: Any) -> Any:
    """Read CPUs as Kubernetes writes them: `1`, `0.2` or `200m`."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(m?)", str(value).strip())
    if not match:
        raise ValueError("a number of CPUs such as 1, 0.2 or 200m")
    cpus = float(match[1]) / (1000 if match[2] else 1)
    if not 0 < cpus < math.inf:
        raise ValueError("a number of CPUs greater than 0, such as 1, 0.2 or 200m")
    return cpus


def _bytes(value: Any) -> Any:
    """Read memory as JupyterHub does, in powers of two: `512M`, `2G`, and `2Gi` alike."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:([KMGT])i?)?", str(value).strip())
    size = int(float(match[1]) * _UNITS[match[2] or ""]) if match else 0
    if size <= 0:
        raise ValueError("an amount of memory such as 512M, 2G or 2Gi")
    return size


Names = Annotated[list[str], NoDecode, BeforeValidator(_split)]
Cpus = Annotated[float, BeforeValidator(_cpus)]
Bytes = Annotated[int, BeforeValidator(_bytes)]


class _SecretFiles(EnvSettingsSource):
    """Takes NAME from the file that NAME_FILE names, for every secret."""

    def __call__(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, field in self.settings_cls.model_fields.items():
            variable = f"{name}_file".upper()
            if field.annotation not in (SecretStr, SecretStr | None) or not os.environ.get(variable):
                continue
            if os.environ.get(name.upper()):
                stop(variable, os.environ[variable], f"set either this or {name.upper()}, not both")
            try:
                found[name] = Path(os.environ[variable]).read_text().strip()
            except (OSError, UnicodeDecodeError) as error:
                stop(variable, os.environ[variable], f"a readable text file with the secret ({error})")
        return found


class Settings(BaseSettings):
    """What an operator may set; a name here, in capitals, is the variable."""

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    github_client_id: str = Field(description="client id of the OAuth application")
    github_client_secret: SecretStr = Field(description="client secret of the OAuth application")
    github_url: str = Field("https://github.com", description="GitHub, or a GitHub Enterprise server")
    hub_github_connect_url: str | None = Field(
        None, description="GitHub as the hub itself reaches it, where that is not GITHUB_URL, which browsers use"
    )
    oauth_callback_url: str = Field(description="where GitHub sends the browser: https://…/hub/oauth_callback")
    github_organization_whitelist: Names = Field(
        description="comma-separated organizations whose members may sign in; case does not matter"
    )

    lab_container_names: Names = Field([DEFAULT_IMAGE], description="comma-separated images")
    lab_container_descs: Names = Field(
        [], description="description of the image in the same position; a missing one is the image's name"
    )
    lab_selector_title: str = Field("Container Image Selector", description="text above the image list")
    lab_cpu_limit: Cpus = Field(1.0, description="CPUs a lab may use: 1, 0.2 or 200m")
    lab_mem_limit: Bytes = Field(2 * 2**30, description="memory a lab may use: 512M, 2G or 2Gi, powers of two")
    lab_cpu_guarantee: Cpus = Field(0.05, description="CPUs a node must have free for a lab")
    lab_mem_guarantee: Bytes = Field(256 * 2**20, description="memory a node must have free for a lab")

    hub_host: str = Field("0.0.0.0", description="address the hub listens on")  # noqa: S104 - a container's own
    hub_port: int = Field(8081, ge=1, le=65535, description="port the hub listens on")
    hub_connect_url: str = Field("http://hub:8081", description="the hub as proxy and labs reach it")
    hub_proxy_api_url: str = Field("http://proxy:8001", description="the proxy's API as the hub reaches it")
    hub_public_url: str | None = Field(
        None, description="the whole site as browsers reach it; derived from OAUTH_CALLBACK_URL when unset"
    )
    hub_database_url: SecretStr | None = Field(
        None, description="SQLAlchemy URL of the database; the file /srv/hub/jupyterhub.sqlite when unset"
    )
    hub_proxy_token: SecretStr = Field(description="token of the proxy's API")
    hub_cookie_secret: SecretStr = Field(description="key that signs cookies: 64 hexadecimal digits")
    hub_crypt_key: SecretStr = Field(
        description="key that encrypts auth_state: 64 hexadecimal digits; former ones, which still decrypt, behind `;`"
    )
    hub_fileserver_url: str = Field("http://fileserver:8083", description="the provisioner of homes")
    hub_fileserver_token: SecretStr = Field(description="the provisioner's bearer token")
    hub_metrics_token: SecretStr | None = Field(
        None, description="token that `/metrics` takes; unset: an administrator's only"
    )
    hub_membership_grace: int = Field(
        86400, ge=0, description="seconds for which the last good check holds while GitHub does not answer"
    )
    hub_cull_idle_seconds: int = Field(
        86400, ge=0, description="seconds without activity after which a lab is stopped; 0: never"
    )
    hub_spawner: Literal["local", "docker", "kubernetes"] = Field(
        "local",
        description="how labs are started: `local`, as processes, `docker`, as containers, `kubernetes`, as pods",
    )
    hub_homes_dir: Path = Field(
        Path("/homes"), description="the folder that the provisioner exports; docker: its path on the engine's host"
    )
    hub_docker_url: str = Field("unix:///var/run/docker.sock", description="docker: the engine's API")
    hub_docker_project: str = Field(
        "jupyterlabdemo",
        description="docker: Compose's name for the stack, by which hub and proxy are found and labs are named",
    )
    # The engine's own pools (in 172.16.0.0/12 and 192.168.0.0/16) end after some 30 networks; Kubernetes' usual
    # ranges are others of 10.0.0.0/8.
    hub_docker_networks: IPv4Network = Field(
        IPv4Network("10.213.0.0/16"),
        description="docker: addresses for labs' networks, 16 for each; no other network of the host's",
    )
    hub_pod_template: Path = Field(
        Path("/etc/jld/pod.yaml"), description="kubernetes: file with what all labs' pods have in common"
    )
    hub_labs_namespace: str = Field("jupyterlabdemo-labs", description="kubernetes: the labs' namespace, for labs only")
    hub_labs_claim: str = Field(
        "homes", description="kubernetes: the claim there of the folder that holds homes and groups"
    )
    hub_runtime_dir: Path = Field(Path("/run/jld"), description="local: short path for labs' sockets")
    hub_log_dir: Path = Field(Path("/var/log/labs"), description="local: a log file for each lab")
    hub_lab_python: Path = Field(
        Path(sys.executable), description="local: interpreter that has jld_lab; the hub's own when unset"
    )
    hub_lab_stack_dir: Path = Field(Path("/opt/lsst/software/stack"), description="local: the LSST stack")

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

    @field_validator("github_organization_whitelist")
    @classmethod
    def _organizations(cls, names: list[str]) -> list[str]:
        lowered = [name.lower() for name in names]
        if not lowered or not all(_GITHUB_NAME.fullmatch(name) for name in lowered):
            raise ValueError("one or more names of GitHub organizations, such as lsst-sqre,lsst")
        return list(dict.fromkeys(lowered))

    @field_validator("lab_container_names")
    @classmethod
    def _images(cls, names: list[str]) -> list[str]:
        if not names or not all(_IMAGE.fullmatch(name) for name in names) or len(set(names)) < len(names):
            raise ValueError("different image names, such as lsstsqre/jld-lab-py3:1.0,lsstsqre/jld-lab-py3:2.0")
        return names

    @field_validator("hub_docker_url")
    @classmethod
    def _engine(cls, url: str) -> str:
        if not re.fullmatch(r"unix:///\S+|(tcp|https?)://[^\s/@]+", url):
            raise ValueError("an address such as unix:///var/run/docker.sock or tcp://host:2376")
        return url

    @field_validator("hub_docker_project")
    @classmethod
    def _project(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", name):
            raise ValueError("a name of lower-case letters, digits, - and _, as Compose takes it")
        return name

    @field_validator("hub_labs_namespace", "hub_labs_claim")
    @classmethod
    def _object(cls, name: str) -> str:
        if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name):
            raise ValueError("a name of at most 63 lower-case letters, digits and -, as Kubernetes takes it")
        return name

    @field_validator("hub_docker_networks", mode="before")
    @classmethod
    def _networks(cls, value: Any) -> Any:
        with suppress(ValueError):
            network = IPv4Network(value)
            if network.is_private and network.prefixlen <= 28:  # noqa: PLR2004 - what a lab gets
                return network
        raise ValueError("a private range of at least 16 addresses, such as 10.213.0.0/16")

    @field_validator(
        *("github_url", "hub_connect_url", "hub_proxy_api_url", "hub_fileserver_url", "hub_github_connect_url"),
        "hub_public_url",
    )
    @classmethod
    def _url(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", url):
            raise ValueError("an address such as https://host:port")
        return url.rstrip("/")

    @field_validator("oauth_callback_url")
    @classmethod
    def _callback(cls, url: str) -> str:
        if not re.fullmatch(r"https?://[^\s/?#@]+/hub/oauth_callback", url):
            raise ValueError("an address such as https://host/hub/oauth_callback")
        return url

    @field_validator("hub_cookie_secret")
    @classmethod
    def _key(cls, key: SecretStr) -> SecretStr:
        if not re.fullmatch(r"[0-9a-fA-F]{64}", key.get_secret_value()):
            raise ValueError("64 hexadecimal digits, as `openssl rand -hex 32` prints them")
        return key

    @field_validator("hub_crypt_key")
    @classmethod
    def _keys(cls, keys: SecretStr) -> SecretStr:
        for key in keys.get_secret_value().split(";"):
            cls._key(SecretStr(key))
        return keys

    @model_validator(mode="after")
    def _positions(self) -> "Settings":
        if len(self.lab_container_descs) > len(self.lab_container_names):
            stop(
                "LAB_CONTAINER_DESCS",
                ",".join(self.lab_container_descs),
                f"at most {len(self.lab_container_names)}, one for each of LAB_CONTAINER_NAMES",
            )
        for resource in ("cpu", "mem"):
            limit, guarantee = f"lab_{resource}_limit", f"lab_{resource}_guarantee"
            if guarantee in self.model_fields_set and getattr(self, guarantee) > getattr(self, limit):
                stop(guarantee.upper(), os.environ.get(guarantee.upper(), ""), f"at most {limit.upper()}")
        return self

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL of the database, with its password where it has one."""
        return self.hub_database_url.get_secret_value() if self.hub_database_url else DEFAULT_DATABASE

    @property
    def public_url(self) -> str:
        """The whole site as browsers reach it, without a slash at the end."""
        return (self.hub_public_url or self.oauth_callback_url.removesuffix("/hub/oauth_callback")).rstrip("/")


def stop(variable: str, value: str, right: str) -> NoReturn:
    """End the start with one line that names a variable, its value, and what would be right.

    Raises:
        SystemExit: always, with EX_CONFIG.
    """
    shown = "".join(sign if sign.isprintable() else "?" for sign in value)  # one line, whatever the value holds
    print(f"jld_hub: {variable}={shown}: {right}", file=sys.stderr)  # noqa: T201 - before logging exists
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
        secret = field.annotation in (SecretStr, SecretStr | None)
        value = "***" if secret else os.environ.get(name.upper(), "")
        stop(name.upper(), value, first["msg"].removeprefix("Value error, "))
