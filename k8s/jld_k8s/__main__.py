"""`python -m jld_k8s VERB`: what `make k8s-…` calls."""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from jld_embedded.errors import EX_IOERR, EmbeddedError
from jld_embedded.lines import printable
from jld_embedded.up import say

from . import credentials, facts, settings, site
from .backup import backup, restore
from .cluster import Cluster, Object
from .delete import delete
from .deploy import deploy, difference, rollback
from .errors import ClusterError
from .lock import locked
from .manifests import dump
from .preflight import permitted, preflight
from .push import push
from .render import render
from .rotate import rotate
from .site import Site
from .status import logs, status

DIFFERENT = 1
"""Exit status of a comparison that finds something, as diff has it."""


def main() -> int:
    """Do what the first argument says; every failure is one line on stderr and an exit status."""
    arguments = parser().parse_args()
    os.umask(0o022)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return VERBS[arguments.verb](arguments)
    except EmbeddedError as error:
        sys.stderr.write(f"jld_k8s: {printable(str(error))}\n")
        return error.status
    except BrokenPipeError:
        # Whoever read this has enough; Python must not fail once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except OSError as error:
        sys.stderr.write(f"jld_k8s: {error.filename or 'kubectl'}: {error.strerror or error}\n")
        return EX_IOERR
    except KeyboardInterrupt:
        sys.stderr.write("jld_k8s: interrupted\n")
        return 128 + signal.SIGINT


def parser() -> argparse.ArgumentParser:
    """Describe the verbs and their arguments."""
    made = argparse.ArgumentParser(prog="jld_k8s", description="The system on a Kubernetes cluster")
    verbs = made.add_subparsers(dest="verb", required=True)
    init = verbs.add_parser("init", help="make the folder of a site")
    init.add_argument("name")
    init.add_argument("--overlay", default="production", help="what it is made from: demo or production")
    for verb, told in (
        ("deploy", "roll a site out"),
        ("preflight", "say what a deploy would want put right; change nothing"),
        ("render", "print a site's manifests"),
        ("diff", "show what a deploy would change"),
    ):
        verbs.add_parser(verb, help=told).add_argument("site")
    verbs.add_parser("status", help="show each part, and whether it is ready")
    follow = verbs.add_parser("logs", help="follow the logs of a part")
    follow.add_argument("--service", default="hub", help="which; lab for labs")
    follow.add_argument("--member", help="only this member's lab")
    back = verbs.add_parser("rollback", help="go back to a former release")
    back.add_argument("--release", type=int, help="its number; the one before the last unless given")
    gone = verbs.add_parser("delete", help="remove the system")
    gone.add_argument("site")
    gone.add_argument("--confirm", default="", help="the site's name")
    gone.add_argument("--data", default="", help="delete: homes, database and secrets too")
    sent = verbs.add_parser("push", help="push the images into a registry, and name them by their digests")
    sent.add_argument("site")
    sent.add_argument("registry")
    verbs.add_parser("backup", help="copy database and homes").add_argument("folder", type=Path)
    again = verbs.add_parser("restore", help="put database and homes back")
    again.add_argument("site")
    again.add_argument("folder", type=Path)
    again.add_argument("--confirm", default="", help="the site's name")
    new = verbs.add_parser("rotate", help="make secrets anew")
    new.add_argument("site")
    new.add_argument("secret", help="its name, or several with commas between them")
    return made


def opened(arguments: argparse.Namespace) -> tuple[Site, Cluster]:
    """Find the site and kubectl."""
    found = site.find(arguments.site, settings.load().sites)
    return found, Cluster(found.settings.kubectl)


def reached(arguments: argparse.Namespace) -> tuple[Site, Cluster]:
    """Find the site, and a cluster that answers."""
    found, where = opened(arguments)
    where.answers()
    return found, where


def cluster() -> Cluster:
    """Find a cluster that answers, for what no site need be known for."""
    found = Cluster(settings.load().kubectl)
    found.answers()
    return found


def init(arguments: argparse.Namespace) -> int:
    """Make the folder of a site."""
    made = site.make(arguments.name, arguments.overlay, settings.load().sites)
    say(f"{made.folder} is yours: see site.env, put secrets into secrets/, then make k8s-deploy OVERLAY={made.name}")
    return 0


def rendered(found: Site, cluster: Cluster) -> list[Object]:
    """Render a site with what the cluster tells or, where none answers, has told before."""
    try:
        told = facts.learn(found, cluster)
        there = credentials.versions(credentials.existing(cluster))
    except ClusterError as error:
        sys.stderr.write(f"jld_k8s: {error}; addresses are those of the last deploy, or {facts.UNKNOWN}\n")
        told, there = facts.recall(found), {}
    return render(found, cluster, told, there)


def look(arguments: argparse.Namespace) -> int:
    """Say what must be put right before a deploy."""
    found, where = opened(arguments)
    permitted(found, where)
    with locked(where):
        preflight(found, where)
    say("nothing is to be put right")
    return 0


def print_manifests(arguments: argparse.Namespace) -> int:
    """Print a site's manifests."""
    sys.stdout.write(dump(rendered(*opened(arguments))))
    return 0


def print_difference(arguments: argparse.Namespace) -> int:
    """Print what a deploy would change."""
    found, where = opened(arguments)
    changes = difference(where, rendered(found, where))
    sys.stdout.write(changes or "nothing would change\n")
    return DIFFERENT if changes else 0


def done(action: Callable[[], object]) -> int:
    """Do something whose failure is an exception."""
    action()
    return 0


VERBS: Mapping[str, Callable[[argparse.Namespace], int]] = {
    "init": init,
    "deploy": lambda given: done(lambda: deploy(*opened(given))),
    "preflight": look,
    "render": print_manifests,
    "diff": print_difference,
    "status": lambda _: status(cluster()),
    "logs": lambda given: logs(cluster(), given.service, given.member),
    "rollback": lambda given: done(lambda: rollback(cluster(), given.release)),
    "push": lambda given: done(lambda: push(*opened(given), given.registry)),
    "backup": lambda given: done(lambda: backup(cluster(), given.folder)),
    "restore": lambda given: done(lambda: restore(*reached(given), given.folder, given.confirm)),
    "rotate": lambda given: done(lambda: rotate(*opened(given), given.secret.split(","))),
    "delete": lambda given: done(lambda: delete(*reached(given), given.confirm, given.data)),
}


if __name__ == "__main__":
    sys.exit(main())
