"""`make k8s-deploy`: from a site to a system that runs, or back to what ran before."""

import re
from collections.abc import Mapping, Sequence

from jld_embedded.up import say

from . import credentials, facts, owner, pairs, rollout
from .cluster import FILES, MANAGER, SYSTEM, Cluster, Object, complaints, listed
from .errors import ClusterError, K8sError, RolloutError, SiteError, StrandedError
from .facts import UNKNOWN
from .generated import PROGRAMS
from .lock import locked
from .manifests import Key, config_maps, marked, named, workloads
from .preflight import Change, Ready, permitted, preflight
from .release import Release, prune, releases, store
from .render import render
from .report import report
from .site import Site

COUNTED = r'[-+]\s+(generation: \d+|deprecated\.daemonset\.template\.generation: "\d+")$'
"""What the cluster counts by itself."""

SHOWN = 60
"""Lines of a difference that a deploy shows; `make k8s-diff` shows all."""


def deploy(site: Site, cluster: Cluster) -> None:
    """Roll a site out.

    Raises:
        FindingsError: where something is to be put right first; nothing was changed.
        RolloutError: where it does not come to run; what ran before runs again.
        StrandedError: where what ran before does not either.
    """
    permitted(site, cluster)
    with locked(cluster):
        ready = roll(site, cluster)
    summary(site, ready)


def roll(site: Site, cluster: Cluster, change: Change | None = None) -> Ready:
    """Roll a site out; the lock is held.

    Args:
        site: what to roll out.
        cluster: where.
        change: changes what the cluster is taken to have of secrets.

    Returns:
        What was rolled out.
    """
    ready = preflight(site, cluster, change)
    there = credentials.existing(cluster)
    former = {name: credentials.content(found) for name, found in there.items()}
    try:
        ready, made = prepare(site, cluster, ready, there)
        if made:
            say(f"secrets made or changed: {', '.join(name.name for name in made)}")
        changes = difference(cluster, ready.objects)
    except K8sError:
        # Who starts meanwhile must not find some secrets new, and others old.
        credentials.keep(cluster, former, credentials.existing(cluster))
        raise
    removed = activate(cluster, ready.objects, changes, former)
    number = store(cluster, ready.objects)
    if number:
        say(f"release {number}" + (f"; removed {', '.join(removed)}" if removed else ""))
    elif not changes and not made and not removed:
        say("nothing was changed: all of it runs as it should")
    return ready


def prepare(site: Site, cluster: Cluster, ready: Ready, there: Mapping[Key, Object]) -> tuple[Ready, list[Key]]:
    """Bring namespaces, the fileserver's address and the Secrets into the cluster, and render with what is known then.

    Args:
        site: what to roll out.
        cluster: where.
        ready: what the preflight has left.
        there: the Secrets of the cluster.

    Returns:
        The same with the manifests as they are to be applied, and the names of the Secrets that were made or changed.
    """
    # By themselves they change nothing that runs; all that follows needs them.
    cluster.apply([found for found in ready.objects if found["kind"] == "Namespace"])
    owner.mark(site, cluster)
    told = ready.facts
    if told.fileserver == UNKNOWN:
        service = named(ready.objects, "Service", "fileserver")
        if service:
            cluster.apply([service])
        found = cluster.find("service", "fileserver", FILES)
        told = told._replace(fileserver=found["spec"]["clusterIP"] if found else UNKNOWN)
    facts.remember(site, told)
    made = credentials.keep(cluster, ready.plan.wanted, there)
    objects = render(site, cluster, told, credentials.versions(credentials.existing(cluster)))
    return ready._replace(objects=objects, facts=told), made


def difference(cluster: Cluster, objects: Sequence[Object]) -> str:
    """Compare what is to be with what is; empty where that is the same.

    Raises:
        ClusterError: where they cannot be compared.
    """
    there = {found["metadata"]["name"] for found in cluster.items("namespaces")}
    comparable = [found for found in objects if found["metadata"].get("namespace") in (None, *there)]
    ended = cluster.ask(
        *("diff", "--server-side", "--force-conflicts", MANAGER, "--filename=-"),
        text=listed(comparable),
        KUBECTL_EXTERNAL_DIFF="diff -u -N",
    )
    if ended.returncode > 1:
        raise ClusterError(f"kubectl diff: {'; '.join(complaints(ended.stderr))}")
    new = [f"+ {found['kind']} {found['metadata']['name']}\n" for found in objects if found not in comparable]
    return tidy(ended.stdout) + "".join(new)


def tidy(text: str) -> str:
    """Name the objects in a difference as people do, and leave out what the cluster counts by itself."""
    lines = []
    for line in text.splitlines():
        if line.startswith(("diff ", "--- ", "@@")) or re.match(COUNTED, line):
            continue
        if head := re.match(r"\+\+\+ \S*/(?:[^./\s]*\.)*?([A-Z]\w+)\.([\w-]*)\.(\S+)", line):
            lines.append(f"{head[1]} {head[3]}" + (f" ({head[2]})" if head[2] else ""))
        else:
            lines.append(f"    {line}")
    return "".join(f"{line}\n" for line in lines)


def show(changes: str, limit: int = SHOWN) -> None:
    """Print a difference: whole, or the objects and the first lines that change."""
    lines = [line for line in changes.splitlines() if not line.startswith("     ")]
    for line in lines[:limit]:
        say(f"  {line[:200]}")
    if len(lines) > limit:
        say(f"  … and {len(lines) - limit} lines more (make k8s-diff shows all of them)")


def activate(
    cluster: Cluster, objects: list[Object], changes: str, former: Mapping[Key, credentials.Content]
) -> list[str]:
    """Apply manifests and wait until all runs; go back to the last release where it does not come to that.

    Args:
        cluster: where.
        objects: what to apply.
        changes: how they differ from what is there.
        former: what Secrets had before this: it may be they that keep it from running.

    Returns:
        What was removed, as it is no longer rendered.
    """
    before = releases(cluster)
    try:
        if changes:
            if before:
                say("changes")
                show(changes)
            else:
                say(f"applying {len(objects)} objects, {len(workloads(objects))} workloads among them")
            cluster.apply(objects)
        rollout.Watch(cluster, objects).wait()
        return prune(cluster, objects)
    except (ClusterError, RolloutError) as error:
        say(f"\nit does not come to run: {error}")
        report(cluster)
        if not before:
            raise RolloutError(
                "the first deploy has failed; mend the cause and run it again, or make k8s-delete"
            ) from error
        restore(cluster, before[0], former)
        raise RolloutError(f"the deploy has failed ({error}); release {before[0].number} runs again") from error


def today(cluster: Cluster, release: Release) -> list[Object]:
    """Give the manifests of a release for the Secrets that there are now."""
    return marked(release.objects, credentials.versions(credentials.existing(cluster)))


def restore(cluster: Cluster, release: Release, former: Mapping[Key, credentials.Content]) -> None:
    """Apply a former release again, with the Secrets that it had.

    Raises:
        StrandedError: where that does not come to run either.
    """
    say(f"\ngoing back to release {release.number}")
    try:
        credentials.keep(cluster, former, credentials.existing(cluster))
        objects = today(cluster, release)
        cluster.apply(objects)
        rollout.Watch(cluster, objects).wait()
        prune(cluster, objects)
    except (ClusterError, RolloutError) as error:
        report(cluster)
        raise StrandedError(f"release {release.number} does not come to run either: {error}") from error


def summary(site: Site, ready: Ready) -> None:
    """Tell where to go, and how to get in."""
    secrets = ready.plan.wanted
    hub = config_maps(ready.objects).get(PROGRAMS["hub"]) or {}
    address = hub.get("data", {}).get("OAUTH_CALLBACK_URL", "").removesuffix("/hub/oauth_callback")
    if address:
        say(f"\nopen {address}")
    if not site.is_demo:
        return
    passphrase = secrets.get(Key(SYSTEM, "github"), {}).get("passphrase", b"").decode()
    certificate = secrets.get(Key(SYSTEM, "nginx"), {}).get("tls.crt")
    if certificate:
        say(f"its certificate vouches for itself; SHA-256 fingerprint\n  {pairs.fingerprint(certificate)}")
    say(f"the stand-in GitHub asks for this passphrase: {passphrase}")


def rollback(cluster: Cluster, number: int | None) -> None:
    """Apply a former release again.

    Args:
        cluster: where.
        number: of the release; the one before the last unless given.

    Raises:
        SiteError: where there is none.
        RolloutError: where it does not come to run; the last one runs again.
    """
    with locked(cluster):
        kept = releases(cluster)
        chosen = next((one for one in kept[1:] if number in (None, one.number)), None)
        if chosen is None:
            known = ", ".join(str(one.number) for one in kept[1:]) or "none"
            raise SiteError(f"RELEASE={number or ''}: a former release; there are {known}")
        say(f"going back from release {kept[0].number} to {chosen.number} of {chosen.time}")
        objects = today(cluster, chosen)
        activate(cluster, objects, difference(cluster, objects), {})
        say(f"release {store(cluster, objects)} is as {chosen.number} was")
