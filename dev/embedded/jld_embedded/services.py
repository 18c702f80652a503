"""The table of services: what each is, which variables it gets, and how it says that it is ready."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from . import machine
from .certificates import Authority, self_signed
from .service import HOST, MARKER, VENV, Probe, Service
from .settings import CHECKOUT, Settings
from .state import State, own

PORTS = (
    *("proxy", "proxy_api", "hub", "github", "fileserver", "keepalive", "filebeat", "logstash", "logstash_beats"),
    *("nginx", "broker", "broker_metrics", "broker_node", "broker_epmd", "proxy_metrics"),
)
"""Who listens where, counted from EMBEDDED_PORT; nginx has EMBEDDED_HTTPS_PORT beside its port for health."""

CLIENT_ID = "jupyterlabdemo"
"""What the hub calls itself at the stand-in."""


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
        self.has_nginx = machine.find("nginx") is not None
        self.has_broker = machine.find("rabbitmq-server") is not None
        self.ports = {name: settings.port + offset for offset, name in enumerate(PORTS)} | {
            "https": settings.https_port
        }
        self.urls = {name: f"http://{HOST}:{port}" for name, port in self.ports.items()}
        self.public_url = f"https://localhost:{self.ports['https']}" if self.has_nginx else self.plain_url
        self.standin_url = f"http://localhost:{self.ports['github']}"
        self.callback_url = user.get("OAUTH_CALLBACK_URL") or f"{self.public_url}/hub/oauth_callback"

    @property
    def plain_url(self) -> str:
        """Where the proxy itself is."""
        return f"http://localhost:{self.ports['proxy']}"

    def services(self) -> list[Service]:
        """List the services; the stand-in only where no OAuth application at a real GitHub is named."""
        return [
            *([self.github()] if self.standin else []),
            *([self.broker()] if self.has_broker else []),
            *(self.fileserver(), self.keepalive(), self.logstash(), self.filebeat()),
            *(self.proxy(), self.hub()),
            *([self.nginx()] if self.has_nginx else []),
        ]

    def used_ports(self, services: Iterable[Service]) -> set[int]:
        """List the ports that services need: a service's own and those that begin with its name."""
        names = {service.name for service in services}
        used = {port for name, port in self.ports.items() if name.partition("_")[0] in names}
        return used | ({self.ports["https"]} if "nginx" in names else set())

    def prepare(self) -> None:
        """Make the certificates and folders that services find when they start, where they are missing."""
        state = self.state
        authority = Authority(state.certificates)
        for name in ("filebeat", "logstash"):
            authority.issue(name)
            own(state.root / name)
        if self.has_nginx:
            user = machine.user("nginx")
            state.give("nginx", user, self_signed(state.certificates, "nginx"))
            own(self.run / "nginx", user)
        if self.has_broker:
            user = machine.user("broker")
            passwords = (state.secret("publisher_password"), state.secret("reader_password"))
            state.give("broker", user, (*authority.issue("broker"), *passwords))
            own(state.root / "broker", user)

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
            "HUB_PROXY_API_URL": self.urls["proxy_api"],
            "HUB_PROXY_TOKEN_FILE": self.state.secret("proxy_token"),
            "HUB_METRICS_TOKEN_FILE": self.state.secret("metrics_token"),
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
        metrics = Probe(self.ports["hub"], "/metrics", self.state.secret("metrics_token"))
        return replace(self.python("hub", "hub/jld_hub", self.environment(taken, fixed)), metrics=metrics)

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
            "STANDIN_TOKENS_FILE": self.state.root / "tokens.json",
        }
        if members := self.user.get("STANDIN_MEMBERS_FILE"):
            fixed["STANDIN_MEMBERS_FILE"] = CHECKOUT / members
        environment = self.environment(("STANDIN_",), fixed)
        return self.python("github", "dev/github/jld_github", environment)

    def fileserver(self) -> Service:
        """Describe the provisioner of homes."""
        fixed = {
            "FILESERVER_HOST": HOST,
            "FILESERVER_PORT": self.ports["fileserver"],
            "FILESERVER_TOKEN_FILE": self.state.secret("fileserver_token"),
            "FILESERVER_EXPORT": self.state.export,
        }
        environment = self.environment(("FILESERVER_",), fixed)
        return self.python("fileserver", "fileserver/jld_fileserver", environment, "provisioner")

    def keepalive(self) -> Service:
        """Describe the writer that shows that the share takes writes."""
        fixed = {
            "KEEPALIVE_HOST": HOST,
            "KEEPALIVE_PORT": self.ports["keepalive"],
            "KEEPALIVE_PATH": self.state.export / "keepalive",
        }
        environment = self.environment(("KEEPALIVE_",), fixed)
        return self.python("keepalive", "fileserver/jld_fileserver", environment, "keepalive")

    def proxy(self) -> Service:
        """Describe the proxy, a process of its own so that labs outlive a restart of the hub."""
        token = self.state.secret("proxy_token")
        return Service(
            name="proxy",
            argv=(
                *(str(VENV / "bin/node"),),
                str(CHECKOUT / "hub/proxy/node_modules/configurable-http-proxy/bin/configurable-http-proxy"),
                *("--ip", HOST, "--port", str(self.ports["proxy"])),
                *("--api-ip", HOST, "--api-port", str(self.ports["proxy_api"])),
                *("--metrics-ip", HOST, "--metrics-port", str(self.ports["proxy_metrics"])),
                # Without it every look of the hub at the routes is a line, one each 5 s.
                *("--log-level", "warn"),
                *("--default-target", self.urls["hub"], "--error-target", f"{self.urls['hub']}/hub/error"),
            ),
            environment=self.environment((), {}),
            health=Probe(self.ports["proxy"], "/_chp_healthz"),
            ready=Probe(self.ports["proxy_api"], "/api/routes", token),
            metrics=Probe(self.ports["proxy_metrics"], "/metrics"),
            secrets={"CONFIGPROXY_AUTH_TOKEN": token},
        )

    def nginx(self) -> Service:
        """Describe the TLS termination; it runs with no rights at all, where root starts the stack."""
        given = self.state.given / "nginx"
        fixed = {
            "NGINX_HOST": HOST,
            "NGINX_PORT": self.ports["nginx"],
            "NGINX_LISTEN": HOST,
            "NGINX_HTTPS_PORT": self.ports["https"],
            "NGINX_UPSTREAM": f"{HOST}:{self.ports['proxy']}",
            "NGINX_CERTIFICATE_FILE": given / "nginx.pem",
            "NGINX_KEY_FILE": given / "nginx.key",
            "NGINX_RUNTIME_DIR": self.run / "nginx",
            # A browser would hold it against every port of localhost, whoever serves there.
            "NGINX_HSTS_MAX_AGE": 0,
        }
        environment = self.environment(("NGINX_",), fixed)
        return replace(self.python("nginx", "nginx/jld_nginx", environment), user=machine.user("nginx"))

    def filebeat(self) -> Service:
        """Describe the shipper, which follows the logs of all services and labs."""
        log = self.state.log
        fixed = {
            "FILEBEAT_HOST": HOST,
            "FILEBEAT_PORT": self.ports["filebeat"],
            "FILEBEAT_INPUTS": f"plain:{log}/*.log*,plain:{log}/labs/*.log*",
            "FILEBEAT_STATE_DIR": self.state.root / "filebeat",
            "FILEBEAT_COLLECTOR_HOST": "localhost",
            "FILEBEAT_COLLECTOR_PORT": self.ports["logstash_beats"],
            **self.tls("FILEBEAT", "filebeat"),
        }
        environment = self.environment(("FILEBEAT_", "SHIPPER_NAME"), fixed)
        return self.python("filebeat", "filebeat/jld_filebeat", environment)

    def logstash(self) -> Service:
        """Describe the collector, which publishes to the broker, or writes to a file where there is none."""
        target: dict[str, object] = {"LOGSTASH_EVENTS_FILE": self.state.events}
        if self.has_broker:
            target = {
                "RABBITMQ_TARGET_HOST": "localhost",
                "RABBITMQ_TARGET_PORT": self.ports["broker"],
                "RABBITMQ_TARGET_USER": "logstash",
                "RABBITMQ_TARGET_PASSWORD_FILE": self.state.secret("publisher_password"),
                "RABBITMQ_TARGET_CA_FILE": self.state.certificates / "authority.pem",
            }
        fixed = target | {
            "LOGSTASH_HOST": HOST,
            "LOGSTASH_PORT": self.ports["logstash"],
            "LOGSTASH_BEATS_PORT": self.ports["logstash_beats"],
            "LOGSTASH_SPOOL_DIR": self.state.root / "logstash",
            # The authority vouches for the broker too, which has no business here.
            "LOGSTASH_SHIPPERS": "filebeat",
            **self.tls("LOGSTASH", "logstash"),
        }
        environment = self.environment(("LOGSTASH_", "SHIPPER_NAME"), fixed)
        return self.python("logstash", "logstash/jld_logstash", environment)

    def tls(self, prefix: str, name: str) -> dict[str, object]:
        """Name the authority and the certificate of a service, so that both ends of a connection know each other."""
        folder = self.state.certificates
        return {
            f"{prefix}_CA_FILE": folder / "authority.pem",
            f"{prefix}_CERTIFICATE_FILE": folder / f"{name}.pem",
            f"{prefix}_KEY_FILE": folder / f"{name}.key",
        }

    def broker(self) -> Service:
        """Describe RabbitMQ, with the rights of the user that its package made."""
        given = self.state.given / "broker"
        fixed = {
            "BROKER_HOST": HOST,
            "BROKER_PORT": self.ports["broker"],
            "BROKER_METRICS_PORT": self.ports["broker_metrics"],
            "BROKER_NODE_PORT": self.ports["broker_node"],
            "BROKER_EPMD_PORT": self.ports["broker_epmd"],
            "BROKER_STATE_DIR": self.state.root / "broker",
            "BROKER_CERTIFICATE_FILE": given / "broker.pem",
            "BROKER_KEY_FILE": given / "broker.key",
            "BROKER_PUBLISHER_PASSWORD_FILE": given / "publisher_password",
            "BROKER_READER_PASSWORD_FILE": given / "reader_password",
        }
        probe = Probe(self.ports["broker"])
        return replace(
            self.python("broker", "dev/broker/jld_broker", self.environment((), fixed)),
            health=probe,
            ready=probe,
            metrics=Probe(self.ports["broker_metrics"], "/metrics"),
            user=machine.user("broker"),
        )

    def python(self, name: str, code: str, environment: Mapping[str, str], *arguments: str) -> Service:
        """Describe one of our own programs; -P keeps the working directory off its module path."""
        port = self.ports[name]
        return Service(
            name=name,
            argv=(str(VENV / "bin/python"), "-P", "-m", Path(code).name, *arguments),
            environment=environment,
            health=Probe(port, "/healthz"),
            ready=Probe(port, "/readyz"),
            metrics=Probe(port, "/metrics"),
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
