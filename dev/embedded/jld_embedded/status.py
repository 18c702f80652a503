"""`make status`: each part, since when it runs, whether it is healthy and ready, and where its metrics are."""

import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from . import supervision
from .lines import printable
from .processes import descendants, environment, marked, snapshot
from .readiness import obstacle
from .service import HOST, Service
from .state import State

NOT_RUNNING = 3
"""Exit status of a status command for a program that is not running (Linux Standard Base)."""


def status(state: State, services: list[Service]) -> int:
    """Print a table of services and labs.

    Returns:
        0 when all is ready, else 3.
    """
    run = state.run()
    if not run or supervision.pid(run) is None:
        left = len(marked(state.root, snapshot()))
        sys.stdout.write(f"not running ({state.root})\n")
        if left:
            sys.stdout.write(f"{left} processes are left of an earlier start: make down ends them\n")
        return NOT_RUNNING
    known = {process["name"]: process for process in supervision.control(run).getAllProcessInfo()}
    probes = [probe for service in services for probe in (service.health, service.ready, service.metrics)]
    with ThreadPoolExecutor(len(probes)) as pool:
        answers = list(pool.map(obstacle, probes))
    answered = {service.name: answers[3 * index : 3 * index + 3] for index, service in enumerate(services)}
    addresses = {service.name: f"http://{HOST}:{service.metrics.port}{service.metrics.path}" for service in services}
    rows = [("PART", "STATE", "PID", "SINCE", "HEALTHY", "METRICS", "READY")]
    for name, process in known.items():
        unknown = "not part of the stack by today's settings: make up"
        health, ready, metrics = answered.get(name, [unknown, unknown, unknown])
        rows.append(
            (
                *(name, process["statename"].lower(), str(process["pid"] or "-"), since(process)),
                "no" if health else "yes",
                "-" if metrics else addresses[name],
                f"no: {ready}" if ready else "yes",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        sys.stdout.write("  ".join(f"{cell:{width}}" for cell, width in zip(row, [*widths, 0], strict=True)) + "\n")
    running = labs(state)
    sys.stdout.write(f"labs: {', '.join(f'{printable(login)} ({pid})' for login, pid in running) or 'none'}\n")
    return NOT_RUNNING if any(health or ready for health, ready, _ in answered.values()) else 0


def since(process: dict[str, Any]) -> str:
    """Tell when a process was started and how long ago; for one that ended, when that was."""
    begun = process["start"] if process["pid"] else process["stop"]
    if not begun:
        return "-"
    seconds = max(0, process["now"] - begun)
    hours, minutes = seconds // 3600, seconds // 60 % 60
    ago = f"{hours} h {minutes} min" if hours else f"{minutes} min" if minutes else f"{seconds} s"
    return f"{datetime.fromtimestamp(begun).astimezone():%Y-%m-%d %H:%M:%S} ({ago})"


def labs(state: State) -> list[tuple[str, int]]:
    """List running labs: login and process id of the server, which is the topmost process of its member."""
    table = snapshot()
    stack = marked(state.root, table)
    member = {
        process.pid: environment(process.pid).get("JUPYTERHUB_USER") for process in stack | descendants(stack, table)
    }
    return sorted((login, pid) for pid, login in member.items() if login and member.get(table[pid].parent) != login)
