"""JupyterHub, configured from the settings and with a place for announcements."""

import sys
from pathlib import Path

from jupyterhub.app import JupyterHub
from tornado.httpserver import HTTPServer
from traitlets.config import Config

from .announcement import ANNOUNCEMENT_PATH, AnnouncementHandler
from .authenticator import GITHUB_TIMEOUT, MemberAuthenticator
from .health import HANDLERS
from .identity import is_component
from .log import JsonFormatter
from .manifest import TemplateError, read_template
from .settings import Settings, stop

HERE = Path(__file__).parent

REFRESH_SECONDS = 300
"""How old a check of a signed-in member may be before the next page asks GitHub again."""

ROUTES_SECONDS = 5
"""How long a restarted proxy may be without routes; a look is one request to the proxy."""

DEATH_SECONDS = 5
"""How long a lab that died may count as running; until then its member reads that it does not answer."""

MOST_BODY = 2**20
"""Bytes of a request's body. The hub takes forms and names; Tornado keeps a body in memory, 100 MB of it unless told,
before anybody has asked who sends it, and labs reach the hub without nginx."""

START_SECONDS = 120
"""What a lab may take to start; an unpulled image needs an operator's attention before that."""


class Hub(JupyterHub):  # type: ignore[misc]
    """JupyterHub with JSON logs and the announcement handler."""

    name = "jupyterhub"
    _log_formatter_cls = JsonFormatter

    def load_config_file(self, filename: str, path: str | None = None) -> None:
        """Read none: the settings are the configuration, and the working directory may be anybody's."""

    def init_tornado_application(self) -> None:
        """Bound what the server that is made for the application takes in."""
        HTTPServer.configure(None, max_body_size=MOST_BODY)
        super().init_tornado_application()

    def init_handlers(self) -> None:
        """Put probes and announcement before JupyterHub's own catch-alls for unknown paths."""
        super().init_handlers()
        path = rf"/{ANNOUNCEMENT_PATH}"
        self.handlers[:0] = [*HANDLERS, *self.add_url_prefix(self.hub_prefix, [(path, AnnouncementHandler)])]


def configure(settings: Settings) -> Config:
    """Return JupyterHub's configuration.

    Args:
        settings: The hub's settings.

    Raises:
        SystemExit: The template or the cluster that they name cannot serve; after a line that says so, with EX_CONFIG.
    """
    c = Config()
    hub = c.JupyterHub
    hub.hub_bind_url = f"http://{settings.hub_host}:{settings.hub_port}"
    hub.hub_connect_url = settings.hub_connect_url
    hub.public_url = f"{settings.public_url}/"
    hub.tornado_settings = {"cookie_options": {"secure": settings.public_url.startswith("https:")}}
    hub.db_url = settings.database_url
    hub.upgrade_db = True
    hub.cookie_secret = bytes.fromhex(settings.hub_cookie_secret.get_secret_value())
    c.CryptKeeper.keys = [bytes.fromhex(key) for key in settings.hub_crypt_key.get_secret_value().split(";")]

    # Proxy and labs live on while the hub is away. A proxy that was restarted has lost its routes; with each look
    # at the labs' activity the hub compares them with its own list and puts them back.
    hub.last_activity_interval = ROUTES_SECONDS
    hub.cleanup_proxy = hub.cleanup_servers = False
    c.ConfigurableHTTPProxy.should_start = False
    c.ConfigurableHTTPProxy.api_url = settings.hub_proxy_api_url
    c.ConfigurableHTTPProxy.auth_token = settings.hub_proxy_token.get_secret_value()

    hub.template_paths = [str(HERE / "templates")]
    hub.logo_file = str(HERE / "static" / "logo.svg")
    hub.template_vars = {
        "organizations": settings.github_organization_whitelist,
        "github_url": settings.github_url,
    }

    _sign_in(c, settings)
    _start_labs(c, settings)
    spawner = c.Spawner
    c.MemberSpawner.settings = settings
    spawner.start_timeout = START_SECONDS
    spawner.poll_interval = DEATH_SECONDS
    spawner.cpu_limit = settings.lab_cpu_limit
    spawner.mem_limit = settings.lab_mem_limit
    spawner.default_url = "/lab"

    hub.services, hub.load_roles = [], []
    if settings.hub_cull_idle_seconds:
        _cull(c, settings)
    if settings.hub_metrics_token:
        hub.services.append({"name": "metrics", "api_token": settings.hub_metrics_token.get_secret_value()})
        hub.load_roles.append({"name": "metrics", "services": ["metrics"], "scopes": ["read:metrics"]})
    return c


def _start_labs(c: Config, settings: Settings) -> None:
    """Start labs as HUB_SPAWNER says; an adapter's libraries are imported only where it is used."""
    if settings.hub_spawner == "docker":
        from . import container  # noqa: PLC0415 - as above

        c.JupyterHub.spawner_class, c.MemberAuthenticator.is_taken = container.ContainerSpawner, is_component
    elif settings.hub_spawner == "kubernetes":
        from . import pod  # noqa: PLC0415 - as above

        c.JupyterHub.spawner_class, c.MemberAuthenticator.is_taken = pod.PodSpawner, is_component
        try:
            c.PodSpawner.template = read_template(settings.hub_pod_template)
            pod.connect()
        except TemplateError as error:
            stop("HUB_POD_TEMPLATE", str(settings.hub_pod_template), str(error))
        except pod.ConfigException as error:
            stop("HUB_SPAWNER", "kubernetes", f"in a pod with a service account's token, or with a kubeconfig: {error}")
    else:
        from . import local  # noqa: PLC0415 - as above

        c.JupyterHub.spawner_class, c.MemberAuthenticator.is_taken = local.LocalSpawner, local.is_taken


def _sign_in(c: Config, settings: Settings) -> None:
    """Let members sign in with GitHub."""
    c.JupyterHub.authenticator_class = MemberAuthenticator
    c.Authenticator.any_allow_config = True  # MemberAuthenticator decides by itself
    c.Authenticator.enable_auth_state = True
    c.Authenticator.auth_refresh_age = REFRESH_SECONDS
    c.Authenticator.auth_refresh_strict = True
    c.Authenticator.refresh_pre_spawn = False  # pre_spawn_start checks, and can say why
    member = c.MemberAuthenticator
    member.client_id = settings.github_client_id
    member.client_secret = settings.github_client_secret.get_secret_value()
    member.github_url = settings.github_url
    if settings.hub_github_connect_url:
        # As an Enterprise server has them; browsers still go to github_url.
        member.token_url = f"{settings.hub_github_connect_url}/login/oauth/access_token"
        member.github_api = f"{settings.hub_github_connect_url}/api/v3"
    member.oauth_callback_url = settings.oauth_callback_url
    member.scope = ["read:org"]
    member.http_request_kwargs = {"request_timeout": GITHUB_TIMEOUT}
    member.organizations = settings.github_organization_whitelist
    member.membership_grace = settings.hub_membership_grace


def _cull(c: Config, settings: Settings) -> None:
    """Run jupyterhub-idle-culler as a service with the least scopes that its documentation names.

    It is beside the hub: the name by which labs know the hub leads there through policies that do not have it in mind.
    """
    seconds = settings.hub_cull_idle_seconds
    host = settings.hub_host.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - what to reach, not what to listen on
    c.JupyterHub.services.append(
        {
            "name": "idle-culler",
            # A hub that dies takes its culler along, or the next hub would run beside an orphan.
            "command": [
                *("setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "jupyterhub_idle_culler"),
                f"--timeout={seconds}",
                f"--cull-every={min(seconds, 600)}",
                f"--url=http://{host}:{settings.hub_port}/hub/api",
            ],
        }
    )
    c.JupyterHub.load_roles.append(
        {
            "name": "idle-culler",
            "services": ["idle-culler"],
            "scopes": ["list:users", "read:users:activity", "read:servers", "delete:servers"],
        }
    )
