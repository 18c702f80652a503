"""`make up`: start what does not run, and wait until all is ready."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from . import ports, processes, supervision
from .certificates import fingerprint
from .errors import BadSettingError, ServiceError, SignalError, StateError
from .lines import readable
from .readiness import obstacle
from .service import Service
from .services import Stack
from .settings import CHECKOUT, Settings
from .state import State

DEADLINE = 90.0
"""Seconds until all must be ready; a slow machine needs 10."""


ROOM = 2**26
"""Bytes that the disk must have free for a start: a database, logs, and a little for homes."""


def up(settings: Settings, state: State, user: Mapping[str, str]) -> None:
    """Start the stack, or what of it does not run or has changed.

    Raises:
        EmbeddedError: where that is not possible; a stack that this call started is ended again.
    """
    state.make_root()
    free = shutil.disk_usage(state.root).free
    if free < ROOM:
        raise StateError(f"EMBEDDED_STATE={state.root}: a disk with {ROOM >> 20} MB free; this one has {free >> 20} MB")
    with state.locked():
        state.make()
        keep_user_secret(state, user)
        if (run := state.run()) and supervision.pid(run) is not None:
            stack = Stack(settings, state, run, user)
            services = stack.services()
            check_ports(stack, services)
            stack.prepare()
            watch = Watch(state, run, services)
            supervision.configure(state, run, services)
            changed = supervision.update(run)
            say(f"changed or ended: {', '.join(changed)}" if changed else "all parts are running")
            watch.wait(changed)
        else:
            stack = start(settings, state, user)
    summary(stack)


def check_ports(stack: Stack, services: Iterable[Service]) -> None:
    """Refuse to start or to change anything while somebody else has a port that a service needs."""
    ports.check(stack.used_ports(services), stack.state.root)


def start(settings: Settings, state: State, user: Mapping[str, str]) -> Stack:
    """Start a stack where none runs; leave nothing behind when it does not come up."""
    if left := processes.end(state.root):
        say(f"ended {left} processes that an earlier start had left")
    with noted(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
        try:
            run = state.make_run()
            stack = Stack(settings, state, run, user)
            services = stack.services()
            check_ports(stack, services)
            stack.prepare()
            supervision.configure(state, run, services)
            watch = Watch(state, run, services, signals)
            watch.supervisor = supervision.start(state, stack.environment((), {}))
            watch.wait([service.name for service in services])
        except BaseException:
            end(state)
            raise
    return stack


@contextlib.contextmanager
def noted(*numbers: signal.Signals) -> Iterator[list[int]]:
    """Collect signals instead of acting on them at once: an exception in the middle of anything may get lost."""
    received: list[int] = []
    before = {number: signal.signal(number, lambda number, _: received.append(number)) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def down(state: State) -> None:
    """End every process of the stack, labs too."""
    ended = False
    if state.root.is_dir():
        with state.locked():
            ended = end(state)
    say("all processes of the stack have ended" if ended else "nothing runs")


def end(state: State) -> bool:
    """End all processes of the stack, and remove its sockets; return whether there was anything to end."""
    run = state.run()
    ended = processes.end(state.root, wake=lambda: supervision.wake(run))
    state.remove_run()
    return bool(run or ended)


def keep_user_secret(state: State, user: Mapping[str, str]) -> None:
    """Put the secret of the user's OAuth application into a file, where the hub takes it from.

    Raises:
        BadSettingError: where an application is named without its secret.
    """
    if not user.get("GITHUB_CLIENT_ID"):
        return
    if secret := user.get("GITHUB_CLIENT_SECRET"):
        state.keep_secret("github_client_secret", secret)
    elif not user.get("GITHUB_CLIENT_SECRET_FILE"):
        raise BadSettingError("GITHUB_CLIENT_SECRET", "", "the secret of the application that GITHUB_CLIENT_ID names")


class Watch:
    """Looks on while services start."""

    def __init__(self, state: State, run: Path, services: list[Service], signals: Sequence[int] = ()) -> None:
        """Remember where each log ends now: what follows is of this start.

        Args:
            state: the stack's state folder.
            run: its folder of sockets.
            services: what to wait for.
            signals: those that came meanwhile, if they are to end the wait.
        """
        self.state = state
        self.run = run
        self.signals = signals
        self.waiting = {service.name: service for service in services}
        self.begun = time.monotonic()
        self.sizes = {log.name: log.stat().st_size for log in state.log.glob("*.log")}
        self.pids: dict[str, int] = {}
        self.supervisor: subprocess.Popen[bytes] | None = None

    def wait(self, news: Collection[str]) -> None:
        """Wait until all services are ready, and say so of those that are news.

        Raises:
            ServiceError: where one ended, or the time is over.
            SignalError: where a signal came.
        """
        obstacles: dict[str, str] = {}
        while True:
            if self.signals:
                raise SignalError(self.signals[0])
            self.check()
            for name, service in list(self.waiting.items()):
                if why := obstacle(service.ready):
                    obstacles[name] = why
                    continue
                del self.waiting[name]
                if name in news:
                    say(f"  {name:11}ready after {time.monotonic() - self.begun:4.1f} s")
            if not self.waiting:
                return
            if time.monotonic() - self.begun > DEADLINE:
                why = "; ".join(f"{name}: {obstacles[name]}" for name in self.waiting)
                raise ServiceError(f"not ready after {DEADLINE:.0f} s: {why} (see make logs)")
            time.sleep(0.05)

    def check(self) -> None:
        """See that supervisord and every service is alive, and the one that was started first."""
        if self.supervisor and self.supervisor.poll() is not None:
            raise ServiceError(f"supervisord ended: {self.last_words('supervisord.err')}")
        try:
            listed = supervision.control(self.run).getAllProcessInfo()
        except OSError:
            return  # it does not listen yet
        for process in listed:
            name, pid = process["name"], process["pid"]
            # At supervisord's own start nothing was started yet; a second process id means that the first one ended.
            if not process["start"] or (pid and self.pids.setdefault(name, pid) == pid):
                continue
            raise ServiceError(f"{name} ended: {self.last_words(f'{name}.log')}", process["exitstatus"])

    def last_words(self, log: str) -> str:
        """Read the last line that was written to a log since this began, or guess why there is none."""
        try:
            with (self.state.log / log).open("rb") as file:
                file.seek(self.sizes.get(log, 0))
                lines = file.read().decode(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        if lines:
            return readable(lines[-1])
        return f"nothing is in {self.state.log / log}"


def say(text: str) -> None:
    """Print a line at once: people watch this."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def summary(stack: Stack) -> None:
    """Tell where to go, who can sign in, and what this is not."""
    say(f"\nopen {stack.public_url}\n")
    if stack.has_nginx:
        certificate = stack.state.certificates / "nginx.pem"
        say(f"its certificate was made for this checkout; SHA-256 fingerprint\n  {fingerprint(certificate)}")
    if stack.standin:
        say("sign in at the stand-in GitHub as")
        for line in people(stack.user):
            say(f"  {line}")
    else:
        say(f"sign in at {stack.user.get('GITHUB_URL') or 'https://github.com'}")
    say(f"state in {stack.state.root}; see also make status, make logs, make down")
    for line in less(stack):
        say(f"less than all: {line}")
    say("for a machine of your own: whoever uses it reaches all ports, and labs are not kept from them")


def less(stack: Stack) -> Iterator[str]:
    """Say what this stack does without, and what brings it."""
    remedy = "make up as root without NO_APT" if shutil.which("apt-get") else "the distribution's package"
    if not stack.has_nginx:
        yield f"nginx is not on this machine, so there is no TLS: plain HTTP on the loopback ({remedy} brings it)"
    if not stack.has_broker:
        yield (f"RabbitMQ is not on this machine, so events go to the file {stack.state.events} ({remedy} brings it)")
    if os.geteuid() != 0:
        yield f"not started by root: every lab runs as you (uid {os.geteuid()}), with no separation between members"


def people(user: Mapping[str, str]) -> list[str]:
    """List who can sign in at the stand-in, and who is refused, from its file of members."""
    path = CHECKOUT / (user.get("STANDIN_MEMBERS_FILE") or "dev/github/jld_github/members.yaml")
    known = yaml.safe_load(path.read_text())
    hidden = {entry["login"].lower() for entry in known["organizations"] if not entry.get("approved", True)}
    enter = {name.strip().lower() for name in user.get("GITHUB_ORGANIZATION_WHITELIST", "").split(",")} - hidden
    lines = []
    for member in known["members"]:
        names = [
            entry if isinstance(entry, str) else entry["organization"] for entry in member.get("organizations", [])
        ]
        shown = [name for name in names if name.lower() in enter]
        others = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
        lines.append(
            f"{member['login']:10}{', '.join(shown)}{others}" if shown else f"{member['login']:10}(will be refused)"
        )
    return lines
