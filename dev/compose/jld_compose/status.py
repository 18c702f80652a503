"""`make status`: each container of the stack, since when it runs and whether it is ready."""

import sys
from datetime import UTC, datetime

from jld_embedded.lines import printable
from jld_embedded.status import NOT_RUNNING

from . import engine
from .engine import Container
from .stack import Stack


def status(stack: Stack) -> int:
    """Print a table of services and labs.

    Returns:
        0 when all is ready, else 3.
    """
    found = engine.containers(stack.project)
    services = {one.service: one for one in found if one.service}
    if not services:
        sys.stdout.write(f"not running ({stack.project})\n")
        return NOT_RUNNING
    rows = [("PART", "STATE", "PID", "SINCE", "READY")]
    rows += [row(name, services.get(name)) for name in stack.services]
    rows += [(name, one.state, str(one.pid or "-"), since(one), "not part of the stack by today's settings: make up")
             for name, one in services.items() if name not in stack.services]  # fmt: skip
    widths = [max(len(line[column]) for line in rows) for column in range(len(rows[0]) - 1)]
    for line in rows:
        sys.stdout.write("  ".join(f"{cell:{width}}" for cell, width in zip(line, [*widths, 0], strict=True)) + "\n")
    labs = [f"{printable(one.member)} ({one.pid or one.state})" for one in found if one.member]
    sys.stdout.write(f"labs: {', '.join(labs) or 'none'}\n")
    return 0 if all(name in services and services[name].is_ready for name in stack.services) else NOT_RUNNING


def row(name: str, one: Container | None) -> tuple[str, str, str, str, str]:
    """Describe a service."""
    if one is None:
        return (name, "missing", "-", "-", "no: make up starts it")
    return (name, one.state, str(one.pid or "-"), since(one), "yes" if one.is_ready else f"no: {why(one)}")


def why(one: Container) -> str:
    """Tell why a container is not ready: what its last check printed, if it did."""
    checks = (one.details["State"].get("Health") or {}).get("Log") or []
    said = str(checks[-1]["Output"]).strip().splitlines() if checks else []
    return printable(said[-1]) if said else str((one.details["State"].get("Health") or {}).get("Status", one.state))


def since(one: Container) -> str:
    """Tell when a container was started, and how long ago."""
    seconds = max(0, int((datetime.now(UTC) - one.started).total_seconds()))
    hours, minutes = seconds // 3600, seconds // 60 % 60
    ago = f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{seconds} s"
    return f"{one.started.astimezone():%Y-%m-%d %H:%M:%S} ({ago})"
