"""`make k8s-push REGISTRY=…`: the images that were built here, into a registry that the nodes can reach."""

import json
import shutil
import subprocess

from jld_embedded.up import say

from dev.images import IMAGES

from . import generated
from .cluster import Cluster, last_line
from .errors import SiteError
from .manifests import images
from .render import base
from .site import Site


def push(site: Site, cluster: Cluster, registry: str) -> None:
    """Push what the site uses, and record the digests, by which the site names the images from then on.

    Args:
        site: whose images.
        cluster: whose kubectl renders the site; it need not answer.
        registry: host, port and folder of a registry, to which Docker is signed in.

    Raises:
        SiteError: where an image is not there, or the registry does not take it.
    """
    rendered = base(site, cluster)
    ours = {image.name: image.version for image in IMAGES}
    wanted = dict.fromkeys([*images(rendered), *generated.menu_as_set(site, rendered)])
    digests = dict(site.digests)
    for tag in wanted:
        name, _, version = tag.partition(":")
        if name not in ours:
            say(f"  {tag} is not built here: left where it is")
            continue
        target = f"{registry.rstrip('/')}/{name.rpartition('/')[2]}"
        version = version or ours[name]  # the menu's default names none
        docker("tag", f"{name}:{version}", f"{target}:{version}")
        docker("push", "--quiet", f"{target}:{version}")
        digests[tag] = f"{target}@{digest(f'{name}:{version}', target)}"
        say(f"  {digests[tag]}")
    site.keep("images.yaml", digests)
    say(f"{site.name} names images by these digests from its next deploy on")


def digest(tag: str, target: str) -> str:
    """Give the digest that a registry knows an image by.

    Raises:
        SiteError: where Docker has none.
    """
    # Docker leaves its own registry's name out.
    known = json.loads(docker("image", "inspect", "--format", "{{json .RepoDigests}}", tag))
    found = dict(one.split("@") for one in known).get(target.removeprefix("docker.io/").removeprefix("library/"))
    if not found:
        raise SiteError(f"docker has pushed {target}, and knows no digest of it: it has {', '.join(known) or 'none'}")
    return str(found)


def docker(*arguments: str) -> str:
    """Run a command of Docker's.

    Raises:
        SiteError: where it fails.
    """
    program = shutil.which("docker")
    if not program:
        raise SiteError("docker is not on PATH: images are built and pushed with it")
    ended = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)  # noqa: S603 - no shell
    if ended.returncode:
        raise SiteError(f"docker {arguments[0]} {arguments[-1]}: {last_line(ended.stderr)}")
    return ended.stdout
