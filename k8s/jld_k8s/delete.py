"""`make k8s-delete`: homes, database and secrets stay unless asked twice."""

from collections.abc import Sequence

from jld_embedded.up import say

from . import owner
from .cluster import FILES, LABS, NAME, NAMESPACES, PART_OF, SYSTEM, Cluster, Object, last_line
from .errors import ClusterError, SiteError
from .lock import locked
from .release import PRUNED
from .site import Site

VOLUMES = (("jupyterlabdemo-homes", LABS), ("jupyterlabdemo-keepalive", SYSTEM), ("jupyterlabdemo-export", FILES))

GONE = 300.0
"""Seconds that what is deleted may take to go: pods have their time to end."""


def delete(site: Site, cluster: Cluster, confirmed: str, data: str) -> None:
    """Remove the system, labs too; what was kept is found again by the next deploy.

    Args:
        site: whose.
        cluster: where.
        confirmed: must be the site's name.
        data: `delete` removes homes, database, logs on their way and secrets too.

    Raises:
        SiteError: where it is not confirmed, or another site's.
        ClusterError: where something is refused, or does not go.
    """
    if confirmed != site.name:
        what = "homes, database and secrets too" if data == "delete" else "homes, database and secrets stay"
        raise SiteError(f"CONFIRM={confirmed}: {site.name}, if the system is to be removed, labs too ({what})")
    if data not in ("", "delete"):
        raise SiteError(f"DATA={data}: delete, to remove homes, database and secrets too")
    with locked(cluster):
        owner.check(site, cluster)
        names = [name for name in NAMESPACES if cluster.find("namespace", name)]
        stop(cluster, names)
        if data:
            erase(cluster, names)
        else:
            remove(cluster, names)


def stop(cluster: Cluster, names: Sequence[str]) -> None:
    """Remove what runs, and what tells it what to do.

    Policies go only when all has ended: nobody's lab is to have a moment without.

    Raises:
        ClusterError: where something is refused, or does not end; policies, volumes and secrets are as they were.
    """
    kinds = ",".join(kind for kind in (*PRUNED, "pods") if kind not in ("networkpolicies", "services"))
    for namespace in names:
        end(cluster, kinds, f"--namespace={namespace}", f"--selector={PART_OF}")
        # Volumes, which may stay, have the fileserver's address, which no later Service would be given.
        end(cluster, "services", f"--namespace={namespace}", f"--selector={PART_OF},{NAME}!=fileserver")


def end(cluster: Cluster, *arguments: str) -> None:
    """Delete, and wait until what is deleted has gone.

    Raises:
        ClusterError: where it is refused, or does not go.
    """
    ended = cluster.ask("delete", *arguments, "--ignore-not-found", f"--timeout={GONE:.0f}s")
    if ended.returncode:
        what = " ".join(word.removeprefix("--namespace=") for word in arguments if not word.startswith("--selector"))
        raise ClusterError(f"not all is removed ({what}: {last_line(ended.stderr)}); the same command goes on")


def remove(cluster: Cluster, names: Sequence[str]) -> None:
    """Remove what is left beside volumes and secrets, which stay."""
    for namespace in names:
        if namespace == LABS:
            # The hub's own: each lab's token.
            cluster.run("delete", "secrets", f"--namespace={LABS}", f"--selector={NAME}=lab")
        cluster.run("delete", "networkpolicies", f"--namespace={namespace}", f"--selector={PART_OF}")
        cluster.run("delete", "secrets", f"--namespace={namespace}", "--field-selector=type=jupyterlabdemo/release")
        say(f"  {namespace}: removed; volumes and secrets stay")


def erase(cluster: Cluster, names: Sequence[str]) -> None:
    """Remove the namespaces with all that is in them, and the volumes.

    Raises:
        ClusterError: where something is refused, or does not go.
    """
    volumes = [found["metadata"]["name"] for found in cluster.items("persistentvolumes") if is_ours(found)]
    if names:
        say(f"  removing {', '.join(names)}")
        end(cluster, "namespaces", *names)
    if volumes:
        cluster.run("delete", "persistentvolumes", *volumes, "--ignore-not-found")
    say("all of it is removed; a folder of a node (single-node), or what a volume with Retain kept, is yours to remove")


def is_ours(volume: Object) -> bool:
    """Whether a volume is the system's: by its name, as others are their class's to remove."""
    return volume["metadata"]["name"] in {name for name, _ in VOLUMES}
