"""The table of services: what each is, which variables it gets, and how it says that it is ready."""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .settings import CHECKOUT, Settings
from .state import State

HOST = "127.0.0.1"
"""Embedded is for one's own machine: nothing listens elsewhere."""

PORTS = {"proxy": 0, "api": 1, "hub": 2, "github": 3, "fileserver": 4, "keepalive": 5}
"""Who listens where, counted from EMBEDDED_PORT; `api` is the proxy's second port."""

MARKER = "JLD_STATE"
"""Every process of a stack has this variable; its value is the stack's state folder."""

CLIENT_ID = "jupyterlabdemo"
"""What the hub calls itself at the stand-in."""

VENV = Path(sys.prefix).resolve()
"""This environment, without the links of a checkout that labs may be unable to enter."""


@dataclass(frozen=True)
class Service:
    """One process under supervisord.

    Attributes:
        name: its name everywhere.
        argv: what to execute.
        environment: all its variables, but those of `secrets`.
        ready: port and path that answer 200 when it can take work.
        token: file of a token that the answer takes.
        secrets: variables for a program that reads no secret from a file, with their files.
        code: folder of the program, whose change is a reason to start it again.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    ready: tuple[int, str]
    token: Path | None = None
    secrets: Mapping[str, Path] = field(default_factory=dict)
    code: Path | None = None

    def program(self) -> str:
        """Say all that makes the process what it is, as JSON; another text is another process."""
        return json.dumps(
            {
                "argv": self.argv,
                "environment": dict(self.environment),
                "secrets": {name: str(file) for name, file in self.secrets.items()},
                "code": digest(self.code) if self.code else "",
            },
            sort_keys=True,
            indent=1,
        )


def digest(folder: Path) -> str:
    """Digest the files of a folder, but bytecode."""
    total = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "__pycache__" not in file.parts:
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


class Stack:
    """The services of one stack."""

    def __init__(self, settings: Settings, state: State, run: Path, user: Mapping[str, str]) -> None:
        """Take where the stack lives, and what the user has set for its services.

        Args:
            settings: settings of the stack.
            state: its state folder.
            run: a folder with a short path, for sockets.
            user: variables of the user; the ones given here win over them.
        """
        self.state = state
        self.run = run
        self.user = user
        self.standin = not user.get("GITHUB_CLIENT_ID")
        self.ports = {name: settings.port + offset for name, offset in PORTS.items()}
        self.urls = {name: f"http://{HOST}:{port}" for name, port in self.ports.items()}
        self.public_url = f"http://localhost:{settings.port}"
        self.standin_url = f"http://localhost:{self.ports['github']}"
        self.callback_url = user.get("OAUTH_CALLBACK_URL") or f"{self.public_url}/hub/oauth_callback"

    def services(self) -> list[Service]:
        """List the services; the stand-in only where no OAuth application at a real GitHub is named."""
        standin = [self.github()] if self.standin else []
        return [*standin, self.fileserver(), self.keepalive(), self.proxy(), self.hub()]

    def hub(self) -> Service:
        """Describe the hub, whose labs are processes of the stack too."""
        github: dict[str, object] = {
            "GITHUB_URL": self.standin_url,
            "GITHUB_CLIENT_ID": CLIENT_ID,
            "GITHUB_CLIENT_SECRET_FILE": self.state.secret("standin_client_secret"),
        }
        if not self.standin:
            # The user's secret was put into a file, so that it is in no process's environment.
            file = self.user.get("GITHUB_CLIENT_SECRET_FILE") or self.state.secret("github_client_secret")
            github = {"GITHUB_CLIENT_SECRET_FILE": CHECKOUT / file}
        fixed = github | {
            "HUB_HOST": HOST,
            "HUB_PORT": self.ports["hub"],
            "HUB_CONNECT_URL": self.urls["hub"],
            "HUB_PROXY_API_URL": self.urls["api"],
            "HUB_PROXY_TOKEN_FILE": self.state.secret("proxy_token"),
            "HUB_COOKIE_SECRET_FILE": self.state.secret("cookie_secret"),
            "HUB_CRYPT_KEY_FILE": self.state.secret("crypt_key"),
            "HUB_FILESERVER_URL": self.urls["fileserver"],
            "HUB_FILESERVER_TOKEN_FILE": self.state.secret("fileserver_token"),
            "HUB_DATABASE_URL": f"sqlite:///{self.state.hub / 'jupyterhub.sqlite'}",
            "HUB_SPAWNER": "local",
            "HUB_HOMES_DIR": self.state.export,
            "HUB_RUNTIME_DIR": self.run,
            "HUB_LOG_DIR": self.state.log / "labs",
            "HUB_LAB_PYTHON": VENV / "bin/python",
            "HUB_LAB_STACK_DIR": (CHECKOUT / ".stack").resolve(),
            "OAUTH_CALLBACK_URL": self.callback_url,
        }
        # By their whole names, as GITHUB_ alone would catch the tokens of a CI.
        taken = ("HUB_", "LAB_", "GITHUB_URL", "GITHUB_CLIENT_ID", "GITHUB_ORGANIZATION_WHITELIST")
        return self.python("hub", "hub/jld_hub", ["jld_hub"], "/hub/health", self.environment(taken, fixed))

    def github(self) -> Service:
        """Describe the stand-in GitHub."""
        fixed: dict[str, object] = {
            "STANDIN_HOST": HOST,
            "STANDIN_PORT": self.ports["github"],
            "STANDIN_PUBLIC_URL": self.standin_url,
            "STANDIN_CALLBACK_URL": self.callback_url,
            "STANDIN_CLIENT_ID": CLIENT_ID,
            "STANDIN_CLIENT_SECRET_FILE": self.state.secret("standin_client_secret"),
            "STANDIN_CONTROL_SOCKET": self.run / "github.sock",
        }
        if members := self.user.get("STANDIN_MEMBERS_FILE"):
            fixed["STANDIN_MEMBERS_FILE"] = CHECKOUT / members
        environment = self.environment(("STANDIN_",), fixed)
        return self.python("github", "dev/github/jld_github", ["jld_github"], "/readyz", environment)

    def fileserver(self) -> Service:
        """Describe the provisioner of homes."""
        fixed = {
            "FILESERVER_HOST": HOST,
            "FILESERVER_PORT": self.ports["fileserver"],
            "FILESERVER_TOKEN_FILE": self.state.secret("fileserver_token"),
            "FILESERVER_EXPORT": self.state.export,
        }
        arguments = ["jld_fileserver", "provisioner"]
        environment = self.environment(("FILESERVER_",), fixed)
        return self.python("fileserver", "fileserver/jld_fileserver", arguments, "/readyz", environment)

    def keepalive(self) -> Service:
        """Describe the writer that shows that the share takes writes."""
        fixed = {
            "KEEPALIVE_HOST": HOST,
            "KEEPALIVE_PORT": self.ports["keepalive"],
            "KEEPALIVE_PATH": self.state.export / "keepalive",
        }
        arguments = ["jld_fileserver", "keepalive"]
        environment = self.environment(("KEEPALIVE_",), fixed)
        return self.python("keepalive", "fileserver/jld_fileserver", arguments, "/healthz", environment)

    def proxy(self) -> Service:
        """Describe the proxy, a process of its own so that labs outlive a restart of the hub."""
        token = self.state.secret("proxy_token")
        return Service(
            name="proxy",
            argv=(
                *(str(VENV / "bin/node"),),
                str(CHECKOUT / "hub/proxy/node_modules/configurable-http-proxy/bin/configurable-http-proxy"),
                *("--ip", HOST, "--port", str(self.ports["proxy"])),
                *("--api-ip", HOST, "--api-port", str(self.ports["api"])),
                *("--default-target", self.urls["hub"], "--error-target", f"{self.urls['hub']}/hub/error"),
            ),
            environment=self.environment((), {}),
            ready=(self.ports["api"], "/api/routes"),
            token=token,
            secrets={"CONFIGPROXY_AUTH_TOKEN": token},
        )

    def python(self, name: str, code: str, arguments: list[str], ready: str, environment: Mapping[str, str]) -> Service:
        """Describe one of our own programs; -P keeps the working directory off its module path."""
        return Service(
            name=name,
            argv=(str(VENV / "bin/python"), "-P", "-m", *arguments),
            environment=environment,
            ready=(self.ports[name], ready),
            code=CHECKOUT / code,
        )

    def environment(self, taken: tuple[str, ...], fixed: Mapping[str, object]) -> dict[str, str]:
        """Put an environment together.

        Args:
            taken: beginnings of the names that the user may set for this service.
            fixed: what the stack sets; a secret's file replaces the user's secret.
        """
        folders = (VENV / "bin", "/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
        basics = {"LANG": "C.UTF-8", "PATH": ":".join(map(str, folders)), MARKER: str(self.state.root)}
        replaced = {name.removesuffix("_FILE") for name in fixed}
        chosen = {
            name: value
            for name, value in self.user.items()
            if name in {"HOME", "TZ"} or (taken and name.startswith(taken) and name not in replaced)
        }
        return basics | chosen | {name: str(value) for name, value in fixed.items()}
