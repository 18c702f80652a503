"""Whose system a cluster has: its site's name is on the namespace, so that none is taken for another's."""

from .cluster import SYSTEM, Cluster
from .errors import SiteError
from .site import Site

MARK = "org.lsst.jupyterlabdemo/site"
"""The annotation that names the site."""


def check(site: Site, cluster: Cluster) -> None:
    """See that the cluster's system is this site's, or nobody's yet.

    Raises:
        SiteError: where it is another's.
    """
    found = cluster.find("namespace", SYSTEM)
    owner = (found["metadata"].get("annotations") or {}).get(MARK, site.name) if found else site.name
    if owner != site.name:
        raise SiteError(
            f"OVERLAY={site.name}: {owner}, whose system this cluster has (KUBECONFIG names the cluster; after a site"
            f" got another name: kubectl annotate namespace {SYSTEM} {MARK}-)"
        )


def mark(site: Site, cluster: Cluster) -> None:
    """Say that the cluster's system is this site's."""
    cluster.run("annotate", "namespace", SYSTEM, f"{MARK}={site.name}", "--overwrite")
