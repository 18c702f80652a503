"""One run at a time changes a cluster: a Lease that a dead run holds for half a minute."""

import _thread
import contextlib
import getpass
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

from jld_embedded.up import say

from .cluster import Cluster, Object
from .errors import ClusterError

NAMESPACE, NAME = "default", "jupyterlabdemo"
"""Where the Lease is: in a namespace that is there before the system's."""

RENEWED = 10.0
"""Seconds between two signs of life."""

DEAD = 30.0
"""Seconds without a sign of life after which a holder is dead. By the clock of who waits: others' clocks differ."""

REFUSED = ("Conflict", "NotFound", "Forbidden")
"""Answers to a sign of life after which the lock is lost, now or soon; an API server that is away may come back."""


@contextlib.contextmanager
def locked(cluster: Cluster) -> Iterator[None]:
    """Hold the lock, waiting for who has it; when somebody else takes it over, this run is interrupted."""
    lease = acquire(cluster)
    over = threading.Event()
    renewing = threading.Thread(target=renew, args=(cluster, lease, over), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        over.set()
        renewing.join()
        found = cluster.find("lease", NAME, NAMESPACE)
        if found and found["spec"]["holderIdentity"] == lease["spec"]["holderIdentity"]:
            cluster.run("delete", "lease", NAME, f"--namespace={NAMESPACE}")


def acquire(cluster: Cluster) -> Object:
    """Make the Lease, or take it over from a dead run."""
    seen, since, told = "", time.monotonic(), False
    while True:
        ended = cluster.ask("create", "--filename=-", "--output=json", text=json.dumps(written()))
        if ended.returncode == 0:
            return cluster.read(ended.stdout)
        found = cluster.find("lease", NAME, NAMESPACE)
        if found is None:
            if "AlreadyExists" not in ended.stderr:
                raise ClusterError(f"no lock: {ended.stderr.strip()}")
            continue
        if not told:
            told = True
            who = found["spec"]["holderIdentity"].rpartition("/")[0]
            say(f"{who} is at work on this cluster: waiting for that to end")
        version = found["metadata"]["resourceVersion"]
        if version != seen:
            seen, since = version, time.monotonic()
        elif time.monotonic() - since > DEAD:
            # With the version that was seen, of two that wait only one succeeds.
            taken = cluster.ask("replace", "--filename=-", "--output=json", text=json.dumps(written(version)))
            if taken.returncode == 0:
                return cluster.read(taken.stdout)
        time.sleep(1)


def renew(cluster: Cluster, lease: Object, over: threading.Event) -> None:
    """Give signs of life until the run is over."""
    version = lease["metadata"]["resourceVersion"]
    while not over.wait(RENEWED):
        body = written(version)
        body["spec"]["holderIdentity"] = lease["spec"]["holderIdentity"]
        ended = cluster.ask("replace", "--filename=-", "--output=json", text=json.dumps(body))
        if ended.returncode == 0:
            version = json.loads(ended.stdout)["metadata"]["resourceVersion"]
        elif any(word in ended.stderr for word in REFUSED):
            _thread.interrupt_main()
            return


def user() -> str:
    """Name who runs this, by number where the system knows no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def written(version: str = "") -> Object:
    """Write the Lease."""
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": NAME, "namespace": NAMESPACE, **({"resourceVersion": version} if version else {})},
        "spec": {
            "holderIdentity": f"{user()}@{socket.gethostname()}/{os.getpid()}",
            "leaseDurationSeconds": int(DEAD),
            "acquireTime": now,
            "renewTime": now,
        },
    }
