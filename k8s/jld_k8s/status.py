"""`make k8s-status` and `make k8s-logs`."""

import subprocess
import sys
from datetime import UTC, datetime

from jld_embedded.lines import printable, readable
from jld_embedded.status import NOT_RUNNING

from .cluster import LABS, NAME, NAMESPACES, PART_OF, Cluster, Object, key, labels
from .errors import K8sError
from .manifests import STARTS, WORKLOADS
from .release import releases
from .report import is_ready
from .rollout import homeless, state, trouble, youngest

LAB = "lab"

MEMBER = "org.lsst.jupyterlabdemo/member"
"""The annotation that says whose a lab is."""

BACK = "1m"
"""How far back logs begin."""


def status(cluster: Cluster) -> int:
    """Print a table of workloads, and the labs.

    Returns:
        0 when all is ready, else 3.
    """
    kinds = ",".join(f"{kind}s".lower() for kind in (*WORKLOADS, "Pod"))
    found = [
        one
        for one in cluster.items(kinds, "--all-namespaces", f"--selector={PART_OF}")
        if one["metadata"]["namespace"] in NAMESPACES
    ]
    pods = [one for one in found if one["kind"] == "Pod"]
    parts = [one for one in found if one["kind"] in WORKLOADS]
    if not parts:
        sys.stdout.write("not running: make k8s-deploy starts it\n")
        return NOT_RUNNING
    parts.sort(key=lambda one: (STARTS.index(name) if (name := key(one)[2]) in STARTS else len(STARTS), name))
    rows = [("PART", "KIND", "PODS", "RESTARTS", "SINCE", "READY")]
    rows += [row(one, pods) for one in parts]
    widths = [max(len(line[column]) for line in rows) for column in range(len(rows[0]) - 1)]
    for line in rows:
        sys.stdout.write("  ".join(f"{cell:{width}}" for cell, width in zip(line, [*widths, 0], strict=True)) + "\n")
    labs = [one for one in pods if labels(one).get(NAME) == LAB]
    told = [f"{printable(one['metadata']['name'])}{'' if is_ready(one) else ' (not ready)'}" for one in labs]
    sys.stdout.write(f"labs: {', '.join(sorted(told)) or 'none'}\n")
    kept = releases(cluster)
    if kept:
        sys.stdout.write(f"release {kept[0].number} of {kept[0].time}\n")
    return 0 if all(state(one).ready for one in parts) else NOT_RUNNING


def row(part: Object, pods: list[Object]) -> tuple[str, str, str, str, str, str]:
    """Describe a workload."""
    own = [pod for pod in pods if (pod["metadata"]["namespace"], labels(pod).get(NAME)) == key(part)[1:]]
    statuses = [one for pod in own for one in (pod.get("status") or {}).get("containerStatuses") or []]
    latest = youngest(key(part), own)
    now = state(part)
    why = (trouble(latest) or homeless(latest) or "not yet") if latest else "there is no pod"
    return (
        *(key(part)[2], part["kind"], now.progress, str(sum(one.get("restartCount", 0) for one in statuses))),
        ago(latest["metadata"]["creationTimestamp"]) if latest else "-",
        "yes" if now.ready else f"no: {printable(why)}",
    )


def ago(stamp: str) -> str:
    """Tell how long ago a time is."""
    seconds = max(0, int((datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds % 60} s"


def logs(cluster: Cluster, service: str, member: str | None) -> int:
    """Follow the logs of a workload, or of a lab, until interrupted.

    Args:
        cluster: where.
        service: name of the workload; `lab` for labs.
        member: only the lab of this member.

    Returns:
        What kubectl ended with.

    Raises:
        K8sError: where nothing of this name runs.
    """
    pods = [
        one
        for one in cluster.items("pods", "--all-namespaces", f"--selector={PART_OF},{NAME}={service}")
        if member in (None, (one["metadata"].get("annotations") or {}).get(MEMBER))
    ]
    if not pods and service == LAB:
        raise K8sError(f"no lab{f' of {member}' if member else ''} runs")
    if not pods:
        running = {
            labels(one).get(NAME, "") for one in cluster.items("pods", "--all-namespaces", f"--selector={PART_OF}")
        }
        raise K8sError(f"service={service}: one of {', '.join(sorted(running)) or 'none, as nothing runs'}")
    namespace = pods[0]["metadata"]["namespace"]
    chosen = f"--selector={PART_OF},{NAME}={service}" if member is None else pods[0]["metadata"]["name"]
    command = cluster.command(
        *("logs", "--follow", "--all-containers", "--prefix", f"--since={BACK}", "--max-log-requests=50"),
        *(f"--namespace={LABS if service == LAB else namespace}", chosen),
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as following:  # noqa: S603 - no shell
        for line in following.stdout or ():
            where, _, said = line.partition("] ")
            sys.stdout.write(f"{where.removeprefix('[pod/')}  {readable(said.rstrip())}\n")
            sys.stdout.flush()
        return following.wait()
