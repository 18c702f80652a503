"""The lab's server: JupyterHub's single-user extension, configured in code that the member cannot change."""

import asyncio
import os
from pathlib import Path
from typing import Any

from jupyter_server.serverapp import ServerApp
from jupyterhub.singleuser.extension import JupyterHubSingleUser
from traitlets import Dict, Unicode
from traitlets.config import Config

from . import kernels, log
from .announcement import announce
from .settings import Settings

TERMINAL = Path(__file__).with_name("terminal.bash")


class Server(ServerApp):
    """Jupyter Server, which leaves what IPython has in the home where it is."""

    def migrate_config(self) -> None:
        """Move nothing of IPython 3's to Jupyter's folder of configuration, which is not the member's here."""


class SingleUser(JupyterHubSingleUser):  # type: ignore[misc]
    """JupyterHub's extension, which tells the hub that it listens."""

    serverapp_class = Server
    # Nothing else is looked for: what a lab serves is decided here.
    serverapp_config = {"jpserver_extensions": {"jupyter_server_terminals": True}}  # noqa: RUF012 - upstream's form
    # As a default too: this class logs before configuration reaches it.
    logging_config = Dict(log.CONFIG).tag(config=True)
    announce_url = Unicode(help="where to tell the hub that the socket accepts; nowhere when empty").tag(config=True)

    async def check_hub_version(self) -> None:
        """Ask for no version before listening: the hub compares versions itself at its first look."""

    async def _start_jupyter_server_extension(self, _: Any) -> None:
        """Tell the hub at once that the socket accepts."""
        if self.announce_url:
            self._announcement = asyncio.create_task(announce(self.announce_url, self.hub_auth.api_token))


def configure(settings: Settings, runtime: Path) -> Config:
    """Return the server's whole configuration.

    Args:
        settings: The lab's settings.
        runtime: Private folder for sockets and databases.
    """
    c = Config()
    # A lab without its sign-in or its page is none.
    c.ServerApp.reraise_server_extension_failures = True
    c.ServerApp.root_dir = str(settings.home)
    c.ServerApp.kernel_spec_manager_class = kernels.Kernels
    c.Application.logging_config = log.CONFIG
    by_https = settings.jupyterhub_public_url.startswith("https:")
    c.ServerApp.tornado_settings = {"log_function": log.log_request, "xsrf_cookie_kwargs": {"secure": by_https}}
    c.ServerApp.terminado_settings = {"shell_command": ["/bin/bash", str(TERMINAL)]}
    c.KernelManager.transport = "ipc"
    c.MappingKernelManager.default_kernel_name = kernels.NAME
    c.MappingKernelManager.kernel_manager_class = "jld_lab.kernels.StackKernelManager"
    c.StackKernelManager.stack_dir = str(settings.lab_stack_dir)
    # SQLite does not work on NFS, where the home is.
    c.NotebookNotary.data_dir = str(runtime)
    c.Lab.notices = settings.lab_notices
    c.SingleUser.announce_url = settings.lab_announce_url or ""
    return c


def run(settings: Settings, runtime: Path) -> None:
    """Serve until told to end.

    Args:
        settings: The lab's settings.
        runtime: Private folder for sockets and databases.
    """
    # Keeps configuration and extensions in the home from being read (jupyterhub.singleuser).
    os.environ["JUPYTERHUB_DISABLE_USER_CONFIG"] = "1"
    server = SingleUser.initialize_server(argv=[], config=configure(settings, runtime))
    for notice in settings.lab_notices:
        server.log.warning("The member is told: %s", notice)
    server.no_browser_open_file = True
    server.start()
