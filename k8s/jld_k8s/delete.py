"""`make k8s-delete`: homes, database and secrets stay unless asked twice."""

from jld_embedded.up import say

from .cluster import FILES, LABS, NAME, NAMESPACES, PART_OF, SYSTEM, Cluster, Object
from .errors import SiteError
from .lock import locked
from .release import PRUNED
from .site import Site

VOLUMES = (("jupyterlabdemo-homes", LABS), ("jupyterlabdemo-keepalive", SYSTEM), ("jupyterlabdemo-export", FILES))


def delete(site: Site, cluster: Cluster, confirmed: str, data: str) -> None:
    """Remove the system, labs too; what was kept is found again by the next deploy.

    Args:
        site: whose.
        cluster: where.
        confirmed: must be the site's name.
        data: `delete` removes homes, database, logs on their way and secrets too.

    Raises:
        SiteError: where it is not confirmed.
    """
    if confirmed != site.name:
        what = "homes, database and secrets too" if data == "delete" else "homes, database and secrets stay"
        raise SiteError(f"CONFIRM={confirmed}: {site.name}, if the system is to be removed, labs too ({what})")
    if data not in ("", "delete"):
        raise SiteError(f"DATA={data}: delete, to remove homes, database and secrets too")
    with locked(cluster):
        if data:
            erase(cluster)
        else:
            remove(cluster)


def remove(cluster: Cluster) -> None:
    """Remove what runs, and what tells it what to do."""
    for namespace in NAMESPACES:
        if cluster.find("namespace", namespace):
            # Policies last: nobody's lab is to have a moment without.
            kinds = ",".join(kind for kind in (*PRUNED, "pods") if kind not in ("networkpolicies", "services"))
            cluster.ask("delete", kinds, f"--namespace={namespace}", f"--selector={PART_OF}", "--ignore-not-found")
            # Volumes, which stay, have the fileserver's address, which no later Service would be given.
            services = f"--selector={PART_OF},{NAME}!=fileserver"
            cluster.ask("delete", "services", f"--namespace={namespace}", services, "--ignore-not-found")
            if namespace == LABS:
                # The hub's own: each lab's token.
                cluster.run("delete", "secrets", f"--namespace={LABS}", f"--selector={NAME}=lab")
            cluster.run("delete", "networkpolicies", f"--namespace={namespace}", f"--selector={PART_OF}")
            cluster.run("delete", "secrets", f"--namespace={namespace}", "--field-selector=type=jupyterlabdemo/release")
            say(f"  {namespace}: removed; volumes and secrets stay")


def erase(cluster: Cluster) -> None:
    """Remove the namespaces with all that is in them, and the volumes."""
    names = [name for name in NAMESPACES if cluster.find("namespace", name)]
    volumes = [found["metadata"]["name"] for found in cluster.items("persistentvolumes") if is_ours(found)]
    if names:
        say(f"  removing {', '.join(names)}")
        cluster.ask("delete", "namespaces", *names, "--ignore-not-found", "--timeout=300s")
    if volumes:
        cluster.run("delete", "persistentvolumes", *volumes, "--ignore-not-found")
    say("all of it is removed; a folder of a node (single-node), or what a volume with Retain kept, is yours to remove")


def is_ours(volume: Object) -> bool:
    """Whether a volume is the system's: by its name, as others are their class's to remove."""
    return volume["metadata"]["name"] in {name for name, _ in VOLUMES}
