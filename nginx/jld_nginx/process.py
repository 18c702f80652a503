"""The nginx that this program starts, and sees to the end of."""

import asyncio
import contextlib
import os
import shutil
import signal
import ssl
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from ipaddress import ip_address

from .configuration import Abilities
from .errors import CannotListenError, EndedError, NotTakenError, RefusedError
from .lines import Messages, parse, pass_on
from .settings import Settings

GRACE_SECONDS = 3
"""How long requests under way may take after SIGTERM; websockets end then."""

HANDSHAKE_SECONDS = 1
"""How long the answer to a connection is waited for."""

LINE_LIMIT = 2**20
"""Bytes of a line that nginx may write; it has reason for 4096."""

LEASH = "read -r _; kill -s KILL 0"
"""A shell that waits for the end of this program, and then kills its process group.

The group is nginx's: when this program is killed, nothing else would end the workers, whom nginx leaves behind when
it is killed itself.
"""

ENVIRONMENT = {"TZ": "UTC0"}
"""nginx needs nothing of the environment, and takes sockets over that a variable NGINX may name."""


def program() -> str:
    """Find nginx.

    Raises:
        CannotListenError: it is not installed.
    """
    # /usr/sbin is not on everybody's PATH.
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if not found:
        raise CannotListenError("nginx should be installed (Debian package: nginx-light or nginx)")
    return found


async def abilities(path: str) -> Abilities:
    """Ask an nginx for what it can do."""
    asked = await asyncio.create_subprocess_exec(path, "-V", env=ENVIRONMENT, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT)
    output, _ = await asked.communicate()
    return Abilities.told_by(output.decode(errors="replace"))


async def _reader(pipe: int) -> asyncio.StreamReader:
    """Read from a pipe."""
    reader = asyncio.StreamReader(LINE_LIMIT)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(pipe, "rb")
    )
    return reader


class Nginx:
    """nginx as a child.

    Args:
        settings: where it listens and keeps its files.
        path: of the program.
    """

    def __init__(self, settings: Settings, path: str) -> None:
        self._folder = settings.nginx_runtime_dir
        every = ip_address(settings.nginx_listen).is_unspecified
        self._address = "127.0.0.1" if every else settings.nginx_listen, settings.nginx_https_port
        self._command = [path, "-e", "stderr", "-p", f"{self._folder}/", "-c"]
        self._master: Process | None = None
        self._leash: Process | None = None
        self._readers: list[asyncio.Task[None]] = []
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls.check_hostname = False
        # It is asked which certificate it has, not whether that is to be believed.
        self._tls.verify_mode = ssl.CERT_NONE

    async def take(self, configuration: str) -> None:
        """Have nginx use a configuration, provided it passes nginx's own test; start nginx when it does not run.

        Raises:
            RefusedError: the configuration does not pass. What was in use stays in use.
            NotTakenError: it cannot be written or tested now. Likewise.
        """
        new, current = self._folder / "new.conf", self._folder / "nginx.conf"
        try:
            new.write_text(configuration, encoding="utf-8")
            await self._test(new.name)
            new.replace(current)
            if self._master is None:
                await self._start(current.name)
            else:
                self._master.send_signal(signal.SIGHUP)
        except OSError as error:
            raise NotTakenError(f"nginx cannot be given a configuration: {error}") from error

    async def _test(self, name: str) -> None:
        test = await asyncio.create_subprocess_exec(
            *self._command, name, "-t", "-q", env=ENVIRONMENT, stdin=DEVNULL, stdout=PIPE, stderr=STDOUT
        )
        output, _ = await test.communicate()
        if test.returncode and test.returncode < 0:
            raise NotTakenError(f"nginx was killed while it tested its configuration (signal {-test.returncode})")
        if test.returncode:
            said = [parse(line) for line in output.decode(errors="replace").splitlines()]
            reasons = [text for level, text, _ in said if level == "emerg"] or [f"status {test.returncode}"]
            raise RefusedError(f"nginx refuses its configuration: {reasons[0]}")

    @property
    def is_running(self) -> bool:
        """Whether nginx was started and has not ended."""
        return self._master is not None and self._master.returncode is None

    async def _start(self, name: str) -> None:
        # A socket that a killed nginx left behind would be in the way.
        (self._folder / "status.sock").unlink(missing_ok=True)
        self._leash = await asyncio.create_subprocess_exec(
            "/bin/sh", "-c", LEASH, stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL, process_group=0
        )
        # Pipes of our own: asyncio would take nginx for alive as long as a worker that survives it holds one.
        (access, access_end), (errors, errors_end) = os.pipe(), os.pipe()
        try:
            self._master = await asyncio.create_subprocess_exec(
                *self._command, name, env=ENVIRONMENT, stdin=DEVNULL, stdout=access_end, stderr=errors_end,
                process_group=self._leash.pid,
            )  # fmt: skip
        finally:
            os.close(access_end)
            os.close(errors_end)
        self._readers = [
            asyncio.create_task(pass_on(await _reader(access))),
            asyncio.create_task(Messages().log(await _reader(errors))),
        ]

    async def served(self) -> bytes | None:
        """Connect as a client would, and give the server's certificate in DER; None when there is no answer."""
        address, port = self._address
        try:
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                _, writer = await asyncio.open_connection(address, port, ssl=self._tls, server_hostname="")
        except (OSError, TimeoutError):
            return None
        found: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.transport.abort()
        return found

    async def ended(self) -> None:
        """Wait for nginx to end by itself.

        Raises:
            EndedError: it did, or something without which it must not go on.
        """
        if self._master and self._leash:
            waits = [asyncio.create_task(process.wait()) for process in (self._master, self._leash)]
            await asyncio.wait([*waits, *self._readers], return_when=asyncio.FIRST_COMPLETED)
            if self._leash.returncode is not None:
                raise EndedError("what ends nginx when this program is killed was ended itself")
            if any(reader.done() and reader.exception() for reader in self._readers):
                # nginx would wait for ever for somebody to read on.
                raise EndedError("nginx's log cannot be passed on")
            raise EndedError(f"nginx ended with status {await self._master.wait()}")

    async def stop(self) -> None:
        """End nginx, gracefully as far as that does not take long."""
        if self._leash is None:
            return
        if self._master:
            with contextlib.suppress(ProcessLookupError, TimeoutError):
                self._master.send_signal(signal.SIGQUIT)
                async with asyncio.timeout(GRACE_SECONDS):
                    await self._master.wait()
        # The leash; what still has a websocket, about which workers that are told to hurry write alarms; and workers,
        # where nginx was killed.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._leash.pid, signal.SIGKILL)
        ends = [process.wait() for process in (self._leash, self._master) if process]
        await asyncio.gather(*ends, *self._readers, return_exceptions=True)
