"""`make k8s-rotate SECRET=…`: new secrets in place of old ones, without a lost session where that can be."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from jld_embedded.certificates import Authority
from jld_embedded.up import say

from . import credentials
from .cluster import Cluster
from .credentials import AUTHORITY, MADE, in_memory
from .deploy import roll
from .errors import SiteError
from .lock import locked
from .manifests import Key
from .preflight import Change, permitted
from .site import Site

Kept = dict[Key, dict[str, bytes]]

PIPELINE = "pipeline"
"""Stands for the pipeline's authority and all that it issued."""

KNOWN = (*MADE, "passphrase", "tls", PIPELINE)
"""What can be made anew; all else is the operator's to give."""

CONSEQUENCES = {
    "cookie_secret": "members sign in again; labs and kernels go on",
    "crypt_key": "the former key is kept beside the new one until the next rotation",
    "fileserver_token": "the fileserver starts anew: files of labs stand still for a moment",
}
"""What members notice, where that is more than nothing."""


def rotate(site: Site, cluster: Cluster, name: str) -> None:
    """Make a secret anew, and have all who have it start with the new one.

    Args:
        site: whose.
        cluster: where.
        name: of the secret.

    Raises:
        SiteError: for one that is not the tool's to make, or that the operator gives.
    """
    if name not in KNOWN:
        raise SiteError(
            f"SECRET={name}: one of {', '.join(KNOWN)}; what is yours you change in {site.secrets}, and deploy"
        )
    if given := next((one for one in files(name) if site.given(one) is not None), ""):
        raise SiteError(f"SECRET={name}: {site.secrets / given} says what it is: change that file, or remove it first")
    if name in CONSEQUENCES:
        say(CONSEQUENCES[name])
    permitted(site, cluster)
    with locked(cluster):
        for change in steps(cluster, name):
            roll(site, cluster, change)


def steps(cluster: Cluster, name: str) -> Iterator[Change]:
    """Give the changes after each of which the system is rolled out."""
    if name != PIPELINE:
        yield lambda kept: forget(kept, name)
        return
    # What an interrupted run has begun is gone on with.
    found = credentials.existing(cluster).get(AUTHORITY)
    begun = credentials.content(found) if found else {}
    if not begun.keys() & {"next.pem", "previous.pem"}:
        say("1 of 3: all trust the new authority beside the old one")
        yield announce
    if "previous.pem" not in begun:
        say("2 of 3: all have certificates of the new one")
        yield change_over
    say("3 of 3: nobody trusts the old one any more")
    yield retire


def forget(kept: Kept, name: str) -> None:
    """Forget a secret wherever it is, so that it is made anew; a crypt key stays, behind the one that follows it."""
    if name == "crypt_key":
        hub = next((values for owner, values in kept.items() if owner.name == "hub" and name in values), None)
        if hub is not None:
            former = hub[name].split(b";")[0]
            hub[name] = credentials.token() + b";" + former
        return
    for values in kept.values():
        for one in files(name):
            values.pop(one, None)


def files(name: str) -> tuple[str, ...]:
    """Name the files that have a secret."""
    shared = {
        "tls": ("tls.crt", "tls.key"),
        "standin_client_secret": ("standin_client_secret", "github_client_secret"),
        "publisher_password": ("publisher_password", "broker_password"),
    }
    return shared.get(name, (name,))


def announce(kept: Kept) -> None:
    """Make the next authority, which all are to trust before anything of it is shown to them."""
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder:
        pair = Authority(Path(folder)).pair
        kept.setdefault(AUTHORITY, {}).update(
            {"next.pem": pair.certificate.read_bytes(), "next.key": pair.key.read_bytes()}
        )


def change_over(kept: Kept) -> None:
    """Let the next authority issue; the former one's certificates are trusted as long as some have them."""
    authority = kept[AUTHORITY]
    authority["previous.pem"] = authority["authority.pem"]
    for form in ("pem", "key"):
        authority[f"authority.{form}"] = authority.pop(f"next.{form}")


def retire(kept: Kept) -> None:
    """Trust the former authority no longer."""
    kept[AUTHORITY].pop("previous.pem", None)
