"""`make logs`: follow the events of all containers as they arrive at the broker."""

import contextlib
from collections.abc import Callable, Generator
from datetime import UTC, datetime

from jld_broker.settings import Settings as BrokerSettings
from jld_embedded.arrivals import Broker, Event, away, from_broker
from jld_embedded.errors import EmbeddedError
from jld_embedded.logs import BACK, check, show

from . import engine
from .stack import Stack

PORT: int = BrokerSettings.model_fields["port"].default


def logs(stack: Stack, service: str | None, member: str | None) -> None:
    """Print what arrives, until interrupted.

    Args:
        stack: whose events.
        service: only this service; `lab` for all labs.
        member: only the lab of this member, and lines that name him.

    Raises:
        EmbeddedError: where there is no such service, or the events go to a broker of the user's.
    """
    if not stack.has_broker:
        raise EmbeddedError(f"events go to RABBITMQ_TARGET_HOST={stack.user['RABBITMQ_TARGET_HOST']}: read them there")
    names = ["lab", *stack.services]
    check(service, names)
    begin = datetime.now(UTC) - BACK
    arriving = from_broker(lambda: find(stack), begin, away)
    show(of_stack(stack.project, arriving), names, whence(stack.project), service, member)


def find(stack: Stack) -> Broker:
    """Find the broker in its network, which this machine has a way into; after a restart its address is another.

    Raises:
        ConnectionError: it does not run.
    """
    for one in engine.containers(stack.project):
        if one.service == "broker" and (address := one.address(stack.network("broker"))):
            state = stack.state
            return Broker(
                address, PORT, "broker", state.certificates / "authority.pem", state.secret("reader_password")
            )
    raise ConnectionError("its container does not run")


def of_stack(project: str, events: Generator[Event, None, None]) -> Generator[Event, None, None]:
    """Leave out the events of other containers, all of which are shipped."""
    with contextlib.closing(events):
        yield from (event for event in events if container(event).startswith(f"{project}-"))


def container(event: Event) -> str:
    """Name the container that an event is of; empty where it names none, as another's may."""
    found = event.get("container")
    return str(found.get("name", "")) if isinstance(found, dict) else ""


def whence(project: str) -> Callable[[Event], tuple[str, str | None]]:
    """Make what tells the service and, for a lab, the member that an event is of, by its container's name."""
    lab = f"{project}-lab-"

    def tell(event: Event) -> tuple[str, str | None]:
        name = container(event)
        if name.startswith(lab):
            return "lab", name.removeprefix(lab)
        # Compose names containers <project>-<service>-<number>.
        return name.removeprefix(f"{project}-").rpartition("-")[0], None

    return tell
