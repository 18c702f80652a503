"""`make up` and `make down`: start what does not run, wait until all is ready, end all of it."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

from jld_embedded.certificates import fingerprint
from jld_embedded.errors import ServiceError, StateError
from jld_embedded.lines import readable
from jld_embedded.settings import CHECKOUT
from jld_embedded.up import ROOM, people, say

from . import engine
from .engine import Container, EngineError, docker
from .stack import Stack
from .state import State, image

DEADLINE = 180.0
"""Seconds until all must be ready; a slow machine needs 40."""


def up(stack: Stack, state: State, files: tuple[Path, ...]) -> None:
    """Build the images, and start the stack, or what of it does not run or has changed.

    Args:
        stack: what to start.
        state: its state folder.
        files: for Compose, beside compose.yaml.

    Raises:
        EmbeddedError: where that is not possible; a stack that this call started is ended again.
    """
    stack.compose()  # says so at once where Compose is missing
    state.root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(state.root).free
    if free < ROOM:
        raise StateError(f"COMPOSE_STATE={state.root}: a disk with {ROOM >> 20} MB free; this one has {free >> 20} MB")
    build()
    with state.locked():
        state.make()
        stack.keep_files()
        variables = stack.variables()
        pull(variables.get("LAB_CONTAINER_NAMES", ""))
        state.hand_over()
        before = {one.service: one for one in engine.containers(stack.project) if one.service}
        try:
            # What a real GitHub or broker has taken the place of.
            if gone := [before.pop(name).name for name in {*before} - {*stack.services}]:
                docker("rm", "--force", *gone)
            # Services read their secrets when they start.
            if names := [one.name for name, one in before.items() if one.started < state.given_since(name)]:
                docker("restart", *names)
            start(stack, files, variables, before)
        except BaseException:
            if not before:
                remove(stack, variables)
            raise
    now = {one.service: one for one in engine.containers(stack.project) if one.service}
    changed = [name for name, one in now.items() if name not in before or one.started != before[name].started]
    if before:
        say(f"changed or ended: {', '.join(changed)}" if changed else "all parts are running")
    summary(stack)


def build() -> None:
    """Build the images whose sources have changed."""
    status = subprocess.run([sys.executable, "-P", str(CHECKOUT / "dev/images.py")], check=False).returncode  # noqa: S603 - our own
    if status:
        raise ServiceError("the images cannot be built (see above)", status)


def pull(names: str) -> None:
    """See that the images of the menu are here; what cannot be had is said, and its members will be told."""
    for name in filter(None, (name.strip() for name in names.split(","))):
        if docker("image", "ls", "--quiet", name).strip():
            continue
        try:
            if name.partition(":")[0] == image("lab").name:
                # A further entry of the menu, as .env.example has one: what was built here under another tag.
                docker("tag", image("lab").tag, name)
            else:
                say(f"pulling {name}")
                docker("pull", "--quiet", name)
        except EngineError as error:
            say(f"{name} is not on this machine, and members who pick it are told so ({error})")


def start(stack: Stack, files: tuple[Path, ...], variables: dict[str, str], before: dict[str, Container]) -> None:
    """Have Compose start the services, and wait until all are ready.

    Raises:
        ServiceError: one ended, or the time is over; the text has its last line.
    """
    # Not what they depend on beside: the stand-in, where a real GitHub is in its place.
    options = ("--detach", "--no-deps", "--remove-orphans", "--quiet-pull")
    command = stack.compose("up", *options, *stack.services, files=files)
    begun = time.monotonic()
    known = {one.id: one.starts for one in before.values()}
    told: set[str] = set()
    composing = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: S603 - no shell
    try:
        while True:
            # In this order: what is ready after Compose has ended is what Compose has made.
            status = composing.poll()
            found = [one for one in engine.containers(stack.project) if one.service in stack.services]
            if status:
                said = composing.stdout.read().strip().splitlines() if composing.stdout else []
                raise ServiceError(said[-1].strip() if said else f"Compose ended with status {status}")
            for one in found:
                # Until Compose has ended, one that was there before may be on its way out.
                stays = one.id not in known or status == 0
                if stays and (one.state == "exited" or one.starts > known.get(one.id, 0)):
                    raise ServiceError(f"{one.service} ended: {last_words(one)}", one.details["State"]["ExitCode"])
                if one.is_ready and one.id not in known.keys() | told:
                    told.add(one.id)
                    say(f"  {one.service:13}ready after {time.monotonic() - begun:4.1f} s")
            waiting = {*stack.services} - {one.service for one in found if one.is_ready}
            if status == 0 and not waiting:
                return
            if time.monotonic() - begun > DEADLINE:
                raise ServiceError(f"not ready after {DEADLINE:.0f} s: {', '.join(sorted(waiting))} (see make logs)")
            time.sleep(0.2)
    finally:
        if composing.poll() is None:
            composing.terminate()
        composing.communicate()


def last_words(one: Container) -> str:
    """Read the last line that a container has logged."""
    program = subprocess.run(["docker", "logs", "--tail", "1", one.name], capture_output=True, text=True, check=False)  # noqa: S603, S607 - no shell
    lines = (program.stdout + program.stderr).strip().splitlines()
    return readable(lines[-1]) if lines else "it has logged nothing"


def down(stack: Stack, state: State) -> None:
    """End and remove labs, services and networks; state stays."""
    if not engine.containers(stack.project) and not engine.networks(stack.project):
        say("nothing runs")
        return
    with state.locked():
        remove(stack, stack.variables())
    say("all containers of the stack have ended")


def remove(stack: Stack, variables: dict[str, str]) -> None:
    """Remove the services, and then the labs, of which nobody starts another any more, and their networks."""
    command = stack.compose("down", "--remove-orphans", "--timeout", "10")
    ended = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if labs := [one.name for one in engine.containers(stack.project) if one.member]:
        docker("rm", "--force", *labs)
    if networks := engine.networks(stack.project):
        docker("network", "rm", *networks)
    if ended.returncode:
        raise EngineError(f"compose down: {ended.stderr.strip().splitlines()[-1:]}")


def summary(stack: Stack) -> None:
    """Tell where to go, and who can sign in."""
    say(f"\nopen {stack.public_url}\n")
    certificate = stack.state.certificates / "nginx.pem"
    say(f"its certificate was made for this checkout; SHA-256 fingerprint\n  {fingerprint(certificate)}")
    if stack.standin:
        say(f"sign in at the stand-in GitHub ({stack.standin_url}, with the same certificate) as")
        for line in people(stack.user):
            say(f"  {line}")
    else:
        say(f"sign in at {stack.user.get('GITHUB_URL') or 'https://github.com'}")
    say(f"state in {stack.state.root}; see also make status, make logs, make down")
