"""What all spawners share: the member's identity, his folders, his choice, and the announcement."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from jupyterhub.spawner import SpawnException
from jupyterhub.utils import url_path_join
from tornado.web import HTTPError
from traitlets import Any as AnyTrait

from .announcement import ANNOUNCEMENT_PATH
from .homes import HomesError, provision
from .identity import Identity
from .lab import Lab, describe
from .menu import Menu, NotOnMenuError
from .settings import Settings

if TYPE_CHECKING:
    from jupyterhub.spawner import Spawner as _Base
else:
    # JupyterHub demands of each subclass of Spawner that it can stop and poll by itself; this one is mixed in.
    from traitlets.config import LoggingConfigurable as _Base

POLL_SECONDS = 0.1
"""How often a start looks whether the lab has died."""

SILENT_SECONDS = 2.0
"""After so long without an announcement, an image that makes none may be meant: its port is tried too."""


class LabError(SpawnException):  # type: ignore[misc]
    """A lab cannot start; the message is for the member.

    Args:
        message: What happened and what to do, in a sentence.
        reason: Label of the failure in the metrics.
        status: HTTP status.
    """

    def __init__(self, message: str, *, reason: str, status: int = 500) -> None:
        super().__init__(message, reason=reason, status_code=status)
        self.jupyterhub_message = message  # what pages and the API show


class MemberSpawner(_Base):  # type: ignore[misc]
    """Mixed into the spawner of each kind, before it."""

    settings: Settings = AnyTrait(help="the hub's settings").tag(config=True)  # type: ignore[assignment]

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.announced = asyncio.Event()
        self.lab: Lab | None = None
        self.image = ""
        menu = self.menu = Menu.of(self.settings)
        self.options_form = menu.form()
        self.options_from_form = self.read_form
        self.apply_user_options = type(self).pick_image

    def read_form(self, form: Mapping[str, list[str]]) -> dict[str, Any]:
        """Read the posted form; JupyterHub shows the page again, with the reason, on an error."""
        try:
            options = self.menu.read_form(form)
            self.menu.pick(options)
        except NotOnMenuError as error:
            raise HTTPError(400, str(error)) from error
        return options

    def pick_image(self, options: Mapping[str, Any]) -> None:
        """Check options wherever they come from: form, query, REST API, or the last start."""
        try:
            self.image = self.menu.pick(options)
        except NotOnMenuError as error:
            # Kept options are used again when a start brings none; an image that has gone must not stick.
            self.orm_spawner.user_options = {}
            raise LabError(str(error), reason="image", status=400) from error

    async def start(self) -> Any:
        """Start the lab and return its address once it listens."""
        state = await self.user.get_auth_state()
        if not state or "identity" not in state:
            raise LabError("Please sign out and in again: your identity is not known.", reason="identity", status=403)
        identity = Identity.from_dict(state["identity"])
        self.lab = describe(identity, self.image, self.settings)
        await self.make_folders(self.lab)
        self.announced.clear()
        address = await super().start()
        await self.wait_until_it_listens(address)
        return address

    async def make_folders(self, lab: Lab) -> None:
        """Have the member's folders made."""
        token = self.settings.hub_fileserver_token.get_secret_value()
        try:
            await provision(lab, self.settings.hub_fileserver_url, token)
        except HomesError as error:
            self.log.error("No home for %s: %s", lab.identity.login, error)  # noqa: TRY400 - the cause is in it
            raise LabError(
                "Your home directory cannot be had right now. Please try again, or tell your operator.",
                reason="home",
                status=503,
            ) from error

    async def wait_until_it_listens(self, address: tuple[str, int]) -> None:
        """Wait for the announcement, or for the port of an image that makes none, or for the lab's death.

        Args:
            address: Host and port of the lab.

        Raises:
            LabError: The lab died; its last line says why.
        """
        waits = {asyncio.create_task(self.announced.wait()), asyncio.create_task(_accepts(*address))}
        try:
            while not (await asyncio.wait(waits, timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED))[0]:
                if await self.poll() is not None:
                    raise LabError(f"Your lab ended while it started. {await self.last_words()}".strip(), reason="lab")
        finally:
            for wait in waits:
                wait.cancel()

    async def last_words(self) -> str:
        """Return the last line that the lab wrote, where the adapter has it."""
        return ""

    def get_env(self) -> dict[str, str]:
        """Return the lab's whole environment."""
        environment: dict[str, str] = super().get_env()
        lab = self.lab.environment(self.notices()) if self.lab else {}
        hub = environment["JUPYTERHUB_API_URL"].removesuffix("/api")
        return environment | lab | {"LAB_ANNOUNCE_URL": url_path_join(hub, ANNOUNCEMENT_PATH)}

    def notices(self) -> list[str]:
        """Return what members must be told about this way to run labs."""
        return []


def last_message(log: bytes) -> str:
    """Return the message of the last line of a lab's log, or the whole line where it is no JSON.

    Args:
        log: The end of the log.
    """
    lines = log.decode(errors="replace").strip().splitlines()
    if not lines:
        return ""
    try:
        return str(json.loads(lines[-1])["message"])
    except (ValueError, TypeError, KeyError):
        return lines[-1]


async def _accepts(host: str, port: int) -> None:
    """Return when a port accepts connections, trying ever less often, from SILENT_SECONDS on."""
    pause = SILENT_SECONDS
    while True:
        await asyncio.sleep(pause)
        with suppress(OSError):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
            return
        pause = 0.5
