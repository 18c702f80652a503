"""`make logs`: follow the events of all containers as they arrive at the broker."""

from collections.abc import Callable
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
    show(from_broker(lambda: find(stack), begin, away), names, whence(stack.project), service, member)


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


def whence(project: str) -> Callable[[Event], tuple[str, str | None]]:
    """Make what tells the service and, for a lab, the member that an event is of, by its container's name."""
    lab = f"{project}-lab-"

    def tell(event: Event) -> tuple[str, str | None]:
        container = event.get("container")
        name = str(container.get("name", "")) if isinstance(container, dict) else ""
        if name.startswith(lab):
            return "lab", name.removeprefix(lab)
        # Compose names containers <project>-<service>-<number>.
        return name.removeprefix(f"{project}-").rpartition("-")[0] or name, None

    return tell
