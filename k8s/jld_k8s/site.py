"""A site: the operator's folder, with all that tells his system from another's."""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from jld_embedded.settings import CHECKOUT
from jld_embedded.state import own, write

from dev.configuration import COMPONENTS, Variable, variables

from . import settings
from .errors import SiteError
from .settings import Settings

OVERLAYS = ("demo", "production")

NAME = r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?"

DECIDED = re.compile(
    r"GITHUB_(CLIENT_ID|URL|ORGANIZATION_WHITELIST)|OAUTH_CALLBACK_URL|HUB_(PUBLIC_URL|MEMBERSHIP_GRACE"
    r"|CULL_IDLE_SECONDS)|LAB_[A-Z_]+|KEEPALIVE_(INTERVAL|TIMEOUT|MAX_AGE)|SHIPPER_NAME|LOGSTASH_SPOOL_LIMIT"
    r"|RABBITMQ_TARGET_(HOST|PORT|VHOST|USER|TLS|CA_FILE|CERTIFICATE_FILE|KEY_FILE|QUEUE|QUEUE_TYPE|EVENTS_PER_MESSAGE)"
    r"|NGINX_(HSTS_MAX_AGE|HTTP2)|K8S_(NODE_CIDRS|HOMES_DIR)"
)
"""What operators decide, of all that can be set: what a new `site.env` names."""


class Site:
    """One site.

    Attributes:
        name: of its folder.
        folder: the operator's; its `generated` is the tool's.
        user: what its `site.env` sets.
        settings: the tool's own settings.
    """

    def __init__(self, folder: Path) -> None:
        """Read a site.

        Raises:
            SiteError: where it cannot be read.
        """
        self.folder = folder
        self.name = folder.name
        self.generated = folder / "generated"
        self.secrets = folder / "secrets"
        file = folder / "site.env"
        self.user: Mapping[str, str] = settings.written(file) if file.exists() else {}
        self.settings: Settings = settings.load(self.user)

    @property
    def is_demo(self) -> bool:
        """Whether all of it is in the cluster, a stand-in for GitHub too."""
        return "demo" in self.bases

    @property
    def bases(self) -> list[str]:
        """Name the folders of what this site is made of."""
        try:
            made = yaml.safe_load((self.folder / "kustomization.yaml").read_text())
            return [Path(path).name for path in (*made["resources"], *made.get("components", []))]
        except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
            raise SiteError(f"{self.folder / 'kustomization.yaml'}: a kustomization ({shortly(error)})") from error

    def given(self, key: str) -> bytes | None:
        """Read a secret that the operator gives; None where he gives none.

        Raises:
            SiteError: where others could read it, or nobody can.
        """
        file = self.secrets / key
        try:
            mode = file.stat().st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise SiteError(f"{file}: a file that its owner alone can read (chmod 600 {file})")
            content = file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SiteError(f"{file}: a readable file ({error.strerror})") from error
        # Editors end a line; what is on it is the secret.
        return content if b"-----BEGIN" in content else content.strip()

    @property
    def digests(self) -> dict[str, str]:
        """What `push` has recorded: for an image's name and tag, its name and digest in a registry."""
        found = self.kept("images.yaml")
        if bad := [tag for tag, digest in found.items() if "@sha256:" not in str(digest)]:
            raise SiteError(
                f"{self.folder / 'images.yaml'}: names with digests, as make k8s-push writes them, not {bad[0]}"
            )
        return found

    def kept(self, name: str) -> dict[str, Any]:
        """Read what `keep` has kept: nothing where there is no such file, or it is empty.

        Raises:
            SiteError: where it holds something else.
        """
        file = self.folder / name
        try:
            found = yaml.safe_load(file.read_bytes()) or {}
            return dict(found.items())
        except FileNotFoundError:
            return {}
        except (yaml.YAMLError, AttributeError) as error:
            raise SiteError(f"{file}: what the tool has written; else remove it ({shortly(error)})") from error

    def keep(self, name: str, content: object) -> None:
        """Keep what was found out about the cluster or the images, in a file of the site's."""
        write(self.folder / name, yaml.safe_dump(content, sort_keys=True).encode())


def shortly(error: Exception) -> str:
    """Put what is wrong with a file on one line."""
    return " ".join(str(error).split())


def find(name: str, folder: Path) -> Site:
    """Find a site; the one of the demo is made where it is missing.

    Args:
        name: of the site.
        folder: of all sites.

    Raises:
        SiteError: where there is none of this name.
    """
    if (folder / name / "kustomization.yaml").exists() and re.fullmatch(NAME, name):
        return Site(folder / name)
    if name == "demo":
        return make(name, "demo", folder)
    if name == "production":
        raise SiteError(
            f"OVERLAY=production: a site of yours (make k8s-init NAME=production, then edit {folder}/{name})"
        )
    known = sorted(file.parent.name for file in folder.glob("*/kustomization.yaml"))
    raise SiteError(
        f"OVERLAY={name}: one of {', '.join(dict.fromkeys(['demo', *known]))} (make k8s-init NAME={name} makes it)"
    )


def make(name: str, overlay: str, folder: Path) -> Site:
    """Make the folder of a site; what is there stays.

    Args:
        name: of the site.
        overlay: what it is made from.
        folder: of all sites.

    Raises:
        SiteError: for a name that cannot be one, an unknown overlay, or a site that is there.
    """
    if not re.fullmatch(NAME, name):
        raise SiteError(f"NAME={name}: lower-case letters, digits and dashes, at most 32")
    if overlay not in OVERLAYS:
        raise SiteError(f"OVERLAY={overlay}: one of {', '.join(OVERLAYS)}")
    root = folder / name
    if (root / "kustomization.yaml").exists():
        raise SiteError(f"NAME={name}: another name, as {root} is there")
    root.mkdir(parents=True, exist_ok=True)
    own(root / "secrets")
    base = os.path.relpath(CHECKOUT / "k8s", root.resolve())
    made = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{base}/overlays/{overlay}"],
        "components": ["generated"],
    }
    components = sorted(path.parent.name for path in (CHECKOUT / "k8s/components").glob("*/kustomization.yaml"))
    features = "".join(f"#   - {base}/components/{one}\n" for one in components)
    write(root / "site.env", "\n".join(template(overlay)).encode())
    # Last, as it is what makes a site one.
    text = yaml.safe_dump(made, sort_keys=False)
    write(
        root / "kustomization.yaml",
        f"# Yours. Features to put before `generated`, where they are wanted:\n{features}{text}".encode(),
    )
    return Site(root)


def template(overlay: str) -> Iterator[str]:
    """Write a new site's settings: all that an operator may decide, with what holds unless he does."""
    yield "# Settings of this site; docs/configuration.md has more. What is commented out shows the default."
    yield "# Secrets are files in secrets/, mode 0600, each named in k8s/README.md."
    for variable in decided():
        needed = variable.default is None or variable.name in ("RABBITMQ_TARGET_HOST", "RABBITMQ_TARGET_USER")
        yield f"\n# {variable.meaning[:1].upper()}{variable.meaning[1:]}."
        yield f"{'' if needed and overlay == 'production' else '#'}{variable.name}={variable.default or ''}"
    yield ""


def decided() -> list[Variable]:
    """List what operators decide, each once."""
    known = [variable for component in COMPONENTS if component.folder != "lab" for variable in component.variables()]
    found = {
        variable.name: variable
        for variable in (*known, *variables(Settings))
        if not variable.secret and DECIDED.fullmatch(variable.name)
    }
    return list(found.values())


def unknown(site: Site) -> list[str]:
    """List what a site sets though nothing reads it."""
    names = {variable.name for component in COMPONENTS for variable in component.variables()}
    names |= {variable.name for variable in variables(Settings)}
    return [name for name in site.user if name not in names]
