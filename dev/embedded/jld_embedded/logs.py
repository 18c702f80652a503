"""`make logs`: follow the events of all services and labs as they arrive at their destination."""

import contextlib
import sys
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from .arrivals import Broker, Event, away, from_broker, from_file
from .errors import EmbeddedError
from .lines import parse, readable
from .service import HOST
from .services import Stack
from .state import State

BACK = timedelta(minutes=1)
"""How far back it begins."""


def logs(state: State, stack: Stack, service: str | None, member: str | None) -> None:
    """Print what arrives, until interrupted.

    Args:
        state: the stack's state folder.
        stack: the stack.
        service: only this service; `lab` for all labs.
        member: only the lab of this member, and lines that name him.

    Raises:
        EmbeddedError: where there is no such service.
    """
    names = ["lab", "supervisord", *(part.name for part in stack.services())]
    check(service, names)
    show(arrivals(state, stack, datetime.now(UTC) - BACK), names, whence, service, member)


def check(service: str | None, names: list[str]) -> None:
    """See that there is such a service.

    Raises:
        EmbeddedError: where there is none.
    """
    if service not in (None, *names):
        raise EmbeddedError(f"service={service}: one of {', '.join(sorted(names))}")


def show(
    arriving: Generator[Event, None, None],
    names: list[str],
    whence: Callable[[Event], tuple[str, str | None]],
    service: str | None,
    member: str | None,
) -> None:
    """Print events, until interrupted.

    Args:
        arriving: the events.
        names: of all services.
        whence: tells the service and, for a lab, the member that an event is of.
        service: only this service.
        member: only the lab of this member, and lines that name him.
    """
    width, begin = max(map(len, names)), datetime.now(UTC) - BACK
    with contextlib.closing(arriving) as events:
        for event in events:
            origin, owner = whence(event)
            line = str(event.get("message", ""))
            if service not in (None, origin) or member not in (None, owner, *line.replace('"', " ").split()):
                continue
            if moment(event) >= begin:
                sys.stdout.write(f"{origin:{width}}  {readable(line, owner, str(event.get('@timestamp', '')))}\n")
                sys.stdout.flush()


def arrivals(state: State, stack: Stack, begin: datetime) -> Generator[Event, None, None]:
    """Take the events from the broker, or from the file of a collector that has none."""
    if not stack.has_broker:
        return from_file(state.events)

    authority, password = state.certificates / "authority.pem", state.secret("reader_password")
    broker = Broker(HOST, stack.ports["broker"], "localhost", authority, password)
    return from_broker(lambda: broker, begin, away)


def whence(event: Event) -> tuple[str, str | None]:
    """Tell the service and, for a lab, the member that an event is of, by the file that its line was in.

    What stands in a lab's line is its member's to choose; the name of its file is not.
    """
    path = Path()
    with contextlib.suppress(KeyError, TypeError):  # another's events may have any form
        path = Path(str(event["log"]["file"]["path"]))
    name = path.name.partition(".log")[0]
    return ("lab", name) if path.parent.name == "labs" else (name, None)


def moment(event: Event) -> datetime:
    """Tell when an event's line was written; now, where it does not say."""
    line = parse(str(event.get("message", ""))) or {}
    for stamp in (line.get("@timestamp"), event.get("@timestamp")):
        try:
            found = datetime.fromisoformat(str(stamp))
        except ValueError:
            continue
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    return datetime.now(UTC)
