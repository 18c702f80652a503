"""What this stack is made of: its services, and the variables that compose.yaml asks for."""

import os
from collections.abc import Mapping
from pathlib import Path

from jld_broker.settings import Settings as Broker
from jld_embedded.errors import BadSettingError
from jld_embedded.services import CLIENT_ID
from jld_embedded.settings import CHECKOUT
from jld_github.settings import Settings as Standin

from . import engine
from .settings import Settings, node_name
from .state import State

SERVICES = ("nginx", "proxy", "hub", "fileserver", "provisioner", "keepalive", "filebeat", "logstash")

TARGET = "RABBITMQ_TARGET_"

BROKER_FILES = {
    "CA_FILE": "broker_authority.pem",
    "CERTIFICATE_FILE": "broker_client.pem",
    "KEY_FILE": "broker_client.key",
}
"""Files that a user names for his broker, and what the collector finds them as."""


class Stack:
    """The services of one stack, and what they are told."""

    def __init__(self, settings: Settings, state: State, user: Mapping[str, str]) -> None:
        """Take where the stack lives, and what the user has set for its services.

        Args:
            settings: settings of the stack.
            state: its state folder.
            user: variables of the user.
        """
        self.project = settings.project_name
        self.settings = settings
        self.state = state
        self.user = user
        self.standin = not user.get("GITHUB_CLIENT_ID")
        self.has_broker = not user.get(f"{TARGET}HOST")
        self.public_url = f"https://localhost:{settings.https_port}"
        self.standin_url = f"https://localhost:{settings.github_port}"

    @property
    def services(self) -> list[str]:
        """Name the services; those of the profile for development only as far as nothing real is in their place."""
        return [
            *SERVICES,
            *(("github", "nginx-github") if self.standin else ()),
            *(("broker",) if self.has_broker else ()),
        ]

    def network(self, name: str) -> str:
        """Name a network of compose.yaml as the engine knows it."""
        return f"{self.project}_{name}"

    def keep_files(self) -> None:
        """Keep what the user gives as values or files, for the services to find in /run/secrets."""
        state = self.state
        secret = (
            state.secret("standin_client_secret").read_text() if self.standin else self.given("GITHUB_CLIENT_SECRET")
        )
        if not secret:
            raise BadSettingError(
                "GITHUB_CLIENT_SECRET", "", "the secret of the application that GITHUB_CLIENT_ID names"
            )
        state.keep("github_client_secret", secret)
        state.keep("passphrase", self.given("STANDIN_PASSPHRASE"))
        state.keep("members.yaml", self.read("STANDIN_MEMBERS_FILE"))
        state.keep("broker_password", None if self.has_broker else self.given(f"{TARGET}PASSWORD"))
        for name, kept in BROKER_FILES.items():
            state.keep(kept, None if self.has_broker else self.read(f"{TARGET}{name}"))

    def given(self, name: str) -> str | None:
        """Take a secret from NAME, or from the file that NAME_FILE names."""
        if self.user.get(name) and self.user.get(f"{name}_FILE"):
            raise BadSettingError(f"{name}_FILE", self.user[f"{name}_FILE"], f"set either this or {name}, not both")
        value = self.user.get(name) or self.read(f"{name}_FILE")
        return value.strip() if value else None

    def read(self, name: str) -> str | None:
        """Read the file that a variable names, from the checkout where it has no absolute path."""
        if not self.user.get(name):
            return None
        try:
            return (CHECKOUT / self.user[name]).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not text in UTF-8"
            raise BadSettingError(name, self.user[name], f"a readable file ({reason})") from error

    def variables(self) -> dict[str, str]:
        """Give the environment in which Compose reads compose.yaml: the user's, and what the stack sets."""
        socket = engine.engine_socket()
        fixed = {
            "COMPOSE_PROJECT_NAME": self.project,
            "COMPOSE_STATE": str(self.state.root),
            "COMPOSE_HTTPS_PORT": str(self.settings.https_port),
            "COMPOSE_GITHUB_PORT": str(self.settings.github_port),
            "COMPOSE_ENGINE_ROOT": engine.root(),
            "COMPOSE_ENGINE_SOCKET": str(socket),
            "COMPOSE_ENGINE_GID": str(socket.stat().st_gid),
            "FILEBEAT_NODE_NAME": node_name(self.user),
            "OAUTH_CALLBACK_URL": self.user.get("OAUTH_CALLBACK_URL") or f"{self.public_url}/hub/oauth_callback",
        }
        if self.standin:
            fixed |= {
                "GITHUB_CLIENT_ID": CLIENT_ID,
                "GITHUB_URL": self.standin_url,
                "HUB_GITHUB_CONNECT_URL": f"http://github:{Standin.model_fields['port'].default}",
                "STANDIN_PASSPHRASE_FILE": self.secret("passphrase"),
                "STANDIN_MEMBERS_FILE": self.secret("members.yaml"),
            }
        if self.has_broker:
            fixed |= {
                f"{TARGET}HOST": "broker",
                f"{TARGET}PORT": str(Broker.model_fields["port"].default),
                f"{TARGET}VHOST": "",
                f"{TARGET}USER": "logstash",
                f"{TARGET}TLS": "",
                f"{TARGET}PASSWORD_FILE": "/run/secrets/publisher_password",
                f"{TARGET}CA_FILE": "/run/secrets/authority.pem",
                f"{TARGET}CERTIFICATE_FILE": "",
                f"{TARGET}KEY_FILE": "",
            }
        else:
            fixed |= {f"{TARGET}{name}": self.secret(kept) for name, kept in BROKER_FILES.items()}
            fixed[f"{TARGET}PASSWORD_FILE"] = self.secret("broker_password")
        # Compose's own variables are not for the user to mix in: compose.yaml is the stack.
        return {name: value for name, value in self.user.items() if not name.startswith("COMPOSE_")} | fixed

    def secret(self, name: str) -> str:
        """Name a secret as its service finds it; nothing where the user has given none."""
        return f"/run/secrets/{name}" if self.state.secret(name).exists() else ""

    def compose(self, *arguments: str, files: tuple[Path, ...] = ()) -> list[str]:
        """Put a command of Compose's together.

        Args:
            arguments: the command.
            files: beside compose.yaml.
        """
        named = [word for file in (CHECKOUT / "compose.yaml", *files) for word in ("--file", str(file))]
        return [
            *engine.compose(),
            *("--project-name", self.project, "--project-directory", str(CHECKOUT)),
            # .env was read already, by rules in which `$` has no meaning.
            *("--env-file", os.devnull, "--profile", "development", *named, *arguments),
        ]
