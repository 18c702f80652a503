"""`make k8s-rotate SECRET=…`: new secrets in place of old ones, without a lost session where that can be."""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from jld_embedded.certificates import Authority
from jld_embedded.up import say

from . import credentials
from .cluster import SYSTEM, Cluster
from .credentials import AUTHORITY, MADE, in_memory
from .deploy import roll
from .errors import SiteError
from .lock import locked
from .manifests import SECRETS_MARK, Key, mark
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


def rotate(site: Site, cluster: Cluster, names: Sequence[str]) -> None:
    """Make secrets anew, all at once, and have all who have them start with the new ones.

    Args:
        site: whose.
        cluster: where.
        names: of the secrets.

    Raises:
        SiteError: for one that is not the tool's to make, or that the operator gives.
    """
    for name in names:
        if name not in KNOWN:
            known = ", ".join(KNOWN)
            raise SiteError(f"SECRET={name}: one of {known}; what is yours you change in {site.secrets}, and deploy")
        if given := next((one for one in files(name) if site.given(one) is not None), ""):
            where = site.secrets / given
            raise SiteError(f"SECRET={name}: {where} says what it is: change that file, or remove it first")
    for name in CONSEQUENCES.keys() & set(names):
        say(CONSEQUENCES[name])
    permitted(site, cluster)
    with locked(cluster):
        for change in steps(cluster, names):
            roll(site, cluster, change)


def steps(cluster: Cluster, names: Sequence[str]) -> Iterator[Change]:
    """Give the changes after each of which the system is rolled out."""
    # Each once: a crypt key that is made anew twice has pushed out the one in use.
    single = [name for name in dict.fromkeys(names) if name != PIPELINE]
    if "crypt_key" in single and is_ahead(cluster, Key(SYSTEM, "hub")):
        # Of two keys the later is not in use yet: one more would push out that which is.
        say("crypt_key: new already, by a run that was interrupted, which is gone on with")
        yield lambda kept: forget(kept, [name for name in single if name != "crypt_key"])
    elif single:
        yield lambda kept: forget(kept, single)
    if PIPELINE not in names:
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


def is_ahead(cluster: Cluster, name: Key) -> bool:
    """Whether a Secret is another than that with which the Deployment of its name was last told to start."""
    running = cluster.find("deployment", name.name, name.namespace)
    if running is None:
        return False
    marks = running["spec"]["template"].get("metadata", {}).get("annotations") or {}
    now = mark(running, credentials.versions(credentials.existing(cluster)))
    return bool(now != marks.get(SECRETS_MARK, ""))


def forget(kept: Kept, names: Sequence[str]) -> None:
    """Forget secrets wherever they are, so that they are made anew; a crypt key stays, behind the one that follows."""
    for values in kept.values():
        for name in names:
            if name == "crypt_key" and name in values:
                values[name] = credentials.token() + b";" + values[name].split(b";")[0]
                continue
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
