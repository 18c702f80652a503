"""JupyterLab's page and its API, built on JupyterLab's own server package.

JupyterLab's own LabApp adds what a lab must not have, an extension manager, a builder and news, and what that
costs: importing it starts a Node process that asks Yarn for its configuration. The page's parts for these are
turned off by labextensions/jld-lab/package.json, as is the one for language servers, of which there are none.
"""

import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import jupyter_server
from jupyterlab_server.app import LabServerApp
from traitlets import List, Unicode

APP_DIR = Path(sys.prefix) / "share/jupyter/lab"


class Lab(LabServerApp):
    """JupyterLab as the server of one member shows it."""

    name = "lab"
    app_name = "JupyterLab"
    default_url = Unicode("/lab")
    notices = List(Unicode(), help="sentences that the member must see").tag(config=True)

    def initialize_templates(self) -> None:
        """Take JupyterLab's page and files; this runs before initialize_settings."""
        self.static_dir = self.templates_dir = str(APP_DIR / "static")
        super().initialize_templates()

    def initialize_settings(self) -> None:
        """Fill in where JupyterLab lies, and what its page is told."""
        config_dir = Path.home() / ".jupyter" / "lab"
        self.app_version = metadata.version("jupyterlab")
        self.app_settings_dir = str(APP_DIR / "settings")
        self.schemas_dir = str(APP_DIR / "schemas")
        self.themes_dir = str(APP_DIR / "themes")
        self.user_settings_dir = str(config_dir / "user-settings")
        self.workspaces_dir = str(config_dir / "workspaces")
        self.extra_labextensions_path = [str(Path(__file__).with_name("labextensions"))]
        self.cache_files = False
        server: Any = self.serverapp
        server.web_app.settings.setdefault("page_config_data", {}).update(
            buildAvailable=False,
            buildCheck=False,
            devMode=False,
            exposeAppInBrowser=False,
            quitButton=False,
            allow_hidden_files=server.contents_manager.allow_hidden,
            delete_to_trash=server.contents_manager.delete_to_trash,
            # The page expects JSON within JSON here.
            notebookVersion=json.dumps(jupyter_server.version_info),
            news={"disabled": True},
            jldNotices=json.dumps(self.notices),
        )
        super().initialize_settings()
