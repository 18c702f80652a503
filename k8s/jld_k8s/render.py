"""From a site's folder to manifests."""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping

import yaml

from . import generated
from .cluster import Cluster, Object, last_line
from .errors import SiteError
from .facts import Facts
from .manifests import Key, parse
from .site import Site


def base(site: Site, cluster: Cluster) -> list[Object]:
    """Render a site without what the tool knows; no cluster is asked.

    Raises:
        SiteError: where kustomize cannot.
    """
    with _alone(site):
        generated.empty(site)
        return _build(site, cluster)


def render(site: Site, cluster: Cluster, facts: Facts, versions: Mapping[Key, str]) -> list[Object]:
    """Render a site; no cluster is asked.

    Args:
        site: what to render.
        cluster: whose kubectl does it.
        facts: what the cluster has told.
        versions: of the Secrets that are in it.

    Raises:
        SiteError: where kustomize cannot.
    """
    found = base(site, cluster)
    with _alone(site):
        generated.empty(site)
        generated.fill(site, found, facts, versions)
        return _build(site, cluster)


@contextlib.contextmanager
def _alone(site: Site) -> Iterator[None]:
    """Let one at a time write into a site's folder and read what it has written."""
    folder = os.open(site.folder, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _build(site: Site, cluster: Cluster) -> list[Object]:
    ended = cluster.ask("kustomize", str(site.folder))
    if ended.returncode:
        raise SiteError(f"{site.folder}: {last_line(ended.stderr)}")
    with contextlib.suppress(yaml.YAMLError, TypeError, LookupError):
        if found := parse(ended.stdout):
            return found
    raise cluster.foreign(ended.stdout)
