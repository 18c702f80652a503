"""The lab's server: JupyterHub's single-user extension, configured in code that the member cannot change."""

import asyncio
import os
from pathlib import Path
from typing import Any

from jupyterhub.singleuser.extension import JupyterHubSingleUser
from traitlets import Dict
from traitlets.config import Config

from . import kernels, log
from .announcement import announce
from .settings import Settings

TERMINAL = Path(__file__).with_name("terminal.bash")


class SingleUser(JupyterHubSingleUser):  # type: ignore[misc]
    """JupyterHub's extension, which first listens and then turns to all else."""

    # Nothing else is looked for: what a lab serves is decided here.
    serverapp_config = {"jpserver_extensions": {"jupyter_server_terminals": True}}  # noqa: RUF012 - upstream's form
    # As a default too: this class logs before configuration reaches it.
    logging_config = Dict(log.CONFIG).tag(config=True)
    announce_url: str | None = None

    async def check_hub_version(self) -> None:
        """Leave this for later: the hub waits for the socket."""

    async def keep_activity_updated(self) -> None:
        """Leave this for later, likewise."""

    async def _start_jupyter_server_extension(self, _: Any) -> None:
        """Tell the hub at once that the socket accepts; then do what was left for later."""
        self._activity_task = asyncio.create_task(self._turn_to_the_hub())

    async def _turn_to_the_hub(self) -> None:
        if self.announce_url:
            await announce(self.announce_url, self.hub_auth.api_token)
        await super().check_hub_version()
        await super().keep_activity_updated()


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
    c.ServerApp.tornado_settings = {
        "log_function": log.log_request,
        "headers": {"Content-Security-Policy": "frame-ancestors 'none'"},
    }
    c.ServerApp.terminado_settings = {"shell_command": ["/bin/bash", str(TERMINAL)]}
    c.KernelManager.transport = "ipc"
    c.MappingKernelManager.default_kernel_name = kernels.NAME
    c.MappingKernelManager.kernel_manager_class = "jld_lab.kernels.StackKernelManager"
    c.StackKernelManager.stack_dir = str(settings.lab_stack_dir)
    # SQLite does not work on NFS, where the home is.
    c.NotebookNotary.data_dir = str(runtime)
    c.Lab.notices = settings.lab_notices
    return c


def run(settings: Settings, runtime: Path) -> None:
    """Serve until told to end.

    Args:
        settings: The lab's settings.
        runtime: Private folder for sockets and databases.
    """
    # Keeps configuration and extensions in the home from being read (jupyterhub.singleuser).
    os.environ["JUPYTERHUB_DISABLE_USER_CONFIG"] = "1"
    SingleUser.announce_url = settings.lab_announce_url
    server = SingleUser.initialize_server(argv=[], config=configure(settings, runtime))
    for notice in settings.lab_notices:
        server.log.warning("The member is told: %s", notice)
    server.no_browser_open_file = True
    server.start()
