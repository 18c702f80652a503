"""NFS-Ganesha: its configuration, and the process that this program starts and sees to the end of."""

import asyncio
import contextlib
import os
import shutil
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from importlib import resources
from pathlib import Path
from string import Template

from .errors import CannotListenError, EndedError
from .lines import Messages
from .settings import ServerSettings

RUNTIME = Path("/run/ganesha")
"""Where the configuration and the file with the process id are; Debian's Ganesha expects the folder."""

GRACE_SECONDS = 8
"""How long Ganesha may take to end: an engine waits 10 s before it kills."""

LINE_LIMIT = 2**16
"""Bytes of a line that Ganesha may write; its own limit is 2048."""

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin", "TZ": "UTC0"}
"""Ganesha needs nothing of the environment."""


def configuration(settings: ServerSettings) -> str:
    """Write Ganesha's configuration."""
    template = (resources.files(__package__) / "ganesha.conf.template").read_text(encoding="utf-8")
    return Template(template).substitute(
        host=settings.fileserver_nfs_host,
        port=settings.fileserver_nfs_port,
        export=settings.fileserver_export,
        state=settings.fileserver_state_dir,
    )


def _write(text: str) -> Path:
    RUNTIME.mkdir(mode=0o755, parents=True, exist_ok=True)
    file = RUNTIME / "ganesha.conf"
    file.write_text(text, encoding="utf-8")
    return file


class Ganesha:
    """Ganesha as a child."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process and self._process.returncode is None else None

    async def run(self, settings: ServerSettings) -> None:
        """Start it, and wait for it to end by itself.

        Raises:
            CannotListenError: it is not installed.
            EndedError: it ended.
        """
        for program in ("ganesha.nfsd", "setpriv"):
            if not shutil.which(program, path=ENVIRONMENT["PATH"]):
                raise CannotListenError(f"{program} should be installed (Debian packages: nfs-ganesha-vfs, util-linux)")
        file = _write(configuration(settings))
        # setpriv: nothing else would end Ganesha when this program is killed.
        # -x: a mistake in the configuration ends it, instead of making it serve something else.
        self._process = await asyncio.create_subprocess_exec(
            "setpriv", "--pdeathsig", "KILL", "--",
            "ganesha.nfsd", "-F", "-x", "-L", "STDOUT", "-f", str(file), "-p", str(RUNTIME / "ganesha.pid"),
            env=ENVIRONMENT, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT, limit=LINE_LIMIT,
        )  # fmt: skip
        assert self._process.stdout  # noqa: S101 for the type checker: it is a pipe, as asked for
        self._reader = asyncio.create_task(Messages().log(self._process.stdout))
        status = await self._process.wait()
        await self._reader
        raise EndedError(
            f"Ganesha was killed ({signal.Signals(-status).name})" if status < 0 else f"Ganesha ended with {status}"
        )

    async def stop(self) -> None:
        """End it, gracefully as far as that does not take long; what clients hold is on disk either way."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, TimeoutError):
            self._process.terminate()
            async with asyncio.timeout(GRACE_SECONDS):
                await self._process.wait()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)
        await self._process.wait()
        if self._reader:
            await asyncio.gather(self._reader, return_exceptions=True)
