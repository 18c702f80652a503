"""The system's Secrets: made once and kept in the cluster, or given by the operator; never printed."""

import base64
import json
import secrets
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jld_embedded.certificates import LOOPBACK, Authority, self_signed
from jld_embedded.state import write

from .cluster import FILES, LOGS, NAME, NAMESPACES, PART_OF, SYSTEM, Cluster, Object
from .errors import ClusterError
from .finding import Finding
from .manifests import Key, config_maps, mounted_secrets, workloads
from .site import Site

MADE = (
    *("proxy_token", "metrics_token", "cookie_secret", "crypt_key", "fileserver_token"),
    *("standin_client_secret", "publisher_password", "reader_password"),
)
"""Values that nobody need know: 64 hexadecimal digits each."""

PARTS = ("filebeat", "logstash", "broker")
"""Who has a certificate of the pipeline's authority."""

AUTHORITY = Key(SYSTEM, "pipeline-authority")
"""Mounted by nobody. Beside the authority it has, while one follows another, `next` or `previous`, trusted too."""

SECRETS: Mapping[Key, tuple[str, ...]] = {
    Key(SYSTEM, "proxy"): ("proxy_token",),
    Key(SYSTEM, "hub"): (
        *("proxy_token", "metrics_token", "cookie_secret", "crypt_key", "fileserver_token"),
        *("github_client_secret", "database_url"),
    ),
    Key(FILES, "provisioner"): ("fileserver_token",),
    Key(LOGS, "filebeat"): ("authority.pem", "filebeat.pem", "filebeat.key"),
    Key(SYSTEM, "logstash"): (
        *("authority.pem", "logstash.pem", "logstash.key", "broker_password"),
        *("broker_authority.pem", "broker_client.pem", "broker_client.key"),
    ),
    Key(SYSTEM, "nginx"): ("tls.crt", "tls.key"),
    Key(SYSTEM, "github"): ("standin_client_secret", "passphrase", "members.yaml"),
    Key(SYSTEM, "broker"): ("broker.pem", "broker.key", "publisher_password", "reader_password"),
}
"""What each service finds in /run/secrets, as far as it exists."""

REGISTRY = tuple(Key(namespace, "registry") for namespace in NAMESPACES)
"""What nodes show to a registry that asks who they are; each namespace's own, as pods name it."""

REGISTRY_FILE, REGISTRY_KEY = "registry.json", ".dockerconfigjson"
"""What an operator gives, in the form of Docker's config.json, and what Kubernetes calls it."""

TYPES = {"nginx": "kubernetes.io/tls", "registry": "kubernetes.io/dockerconfigjson"}

OPTIONAL = ("database_url", "broker_authority.pem", "broker_client.pem", "broker_client.key", "members.yaml")
"""What an operator gives where a setting names it."""

STAND_IN = b"0" * 64
"""What a component would take for a secret that nobody has given yet."""

ENDS = (
    ("github", "github_client_secret", "standin_client_secret"),
    ("broker", "broker_password", "publisher_password"),
)
"""Parts of the demo, and what each has the other end of, which elsewhere the operator gives."""

REMEDIES = {
    "github_client_secret": "the client secret of the OAuth application that GITHUB_CLIENT_ID names",
    "broker_password": "the password of RABBITMQ_TARGET_USER",
    "tls.crt": "the site's certificate with those of its issuers, PEM (or the component cert-manager)",
    "tls.key": "the key of that certificate, PEM, without a passphrase",
}

Content = Mapping[str, bytes]


class Plan(NamedTuple):
    """What the Secrets are to hold.

    Attributes:
        wanted: content by Secret, the authority's too.
        findings: what the operator has yet to give.
    """

    wanted: Mapping[Key, Content]
    findings: list[Finding]


def existing(cluster: Cluster) -> dict[Key, Object]:
    """Read the Secrets of the system that are in the cluster, whoever made them."""
    return {
        name: one
        for one in cluster.ours("secrets")
        if (name := Key(one["metadata"]["namespace"], one["metadata"]["name"])) in (*SECRETS, AUTHORITY, *REGISTRY)
    }


def content(found: Object) -> Content:
    """Give what a Secret holds."""
    return {name: base64.b64decode(value) for name, value in (found.get("data") or {}).items()}


def needed(objects: Iterable[Object]) -> list[Key]:
    """Choose the Secrets that rendered workloads mount, and that no Certificate of cert-manager's makes."""
    rendered = list(objects)
    mounted = {name for found in workloads(rendered) for name in mounted_secrets(found)}
    elsewhere = {
        Key(found["metadata"]["namespace"], found["spec"]["secretName"])
        for found in rendered
        if found["kind"] == "Certificate"
    }
    return [name for name in SECRETS if name in mounted - elsewhere]


def plan(site: Site, objects: Iterable[Object], kept: Mapping[Key, Content]) -> Plan:
    """Decide what the Secrets are to hold: what the operator gives, else what is kept, else new.

    Args:
        site: the operator's.
        objects: what is rendered.
        kept: what the cluster has.
    """
    rendered = list(objects)
    names = needed(rendered)
    values = Values(site, kept, names)
    settings = [text for found in config_maps(rendered).values() for text in (found.get("data") or {}).values()]
    named = {Path(text).name for text in settings}
    findings: list[Finding] = []
    wanted: dict[Key, Content] = {}
    for owner in names:
        found = {name: values.find(owner, name) for name in SECRETS[owner]}
        wanted[owner] = {name: value for name, value in found.items() if value is not None}
        findings += [
            Finding(f"{site.secrets / name} is missing", f"put {REMEDIES.get(name, 'it')} there, mode 0600")
            for name in found.keys() - wanted[owner].keys()
            if name not in OPTIONAL or name in named
        ]
    if registry := site.given(REGISTRY_FILE) or kept.get(REGISTRY[0], {}).get(REGISTRY_KEY):
        wanted |= {owner: {REGISTRY_KEY: registry} for owner in REGISTRY}
    if values.authority:
        wanted[AUTHORITY] = values.authority
    return Plan(wanted, sorted(findings))


class Values:
    """Finds, or makes, each value once, for all who share it.

    Attributes:
        authority: what the Secret of the pipeline's authority is to hold.
    """

    def __init__(self, site: Site, kept: Mapping[Key, Content], names: Sequence[Key]) -> None:
        """Take the site, what the cluster has, and the Secrets that are needed."""
        self.site = site
        self.kept = kept
        parts = [name.name for name in names if name.name in PARTS]
        issued, self.authority = certificates(kept, parts) if parts else ({}, {})
        self.found: dict[str, bytes] = dict(issued)
        self.aliases = {name: other for part, name, other in ENDS if Key(SYSTEM, part) in names}

    def find(self, owner: Key, name: str) -> bytes | None:
        """Give a value; None where only the operator can."""
        name = self.aliases.get(name, name)
        if name not in self.found and (value := self._given(owner, name) or self._made(name)):
            self.found[name] = value
        return self.found.get(name)

    def _given(self, owner: Key, name: str) -> bytes | None:
        if value := self.site.given(name):
            return value
        if owner.name == "nginx" and self.site.is_demo:
            self.found |= browser_certificate(self.kept.get(owner, {}))
            return self.found[name]
        return self.kept.get(owner, {}).get(name) or first(self.kept, name)

    @staticmethod
    def _made(name: str) -> bytes | None:
        if name == "passphrase":
            return secrets.token_hex(8).encode()
        return token() if name in MADE else None


def whole(plan: Plan) -> Mapping[Key, Content]:
    """Give what the Secrets are to hold, with something in place of what is yet to come: findings tell of that."""
    nginx = Key(SYSTEM, "nginx")
    found = {
        owner: {**dict.fromkeys(names, STAND_IN), **plan.wanted.get(owner, {})} for owner, names in SECRETS.items()
    }
    if STAND_IN in found[nginx].values():
        found[nginx] = browser_certificate({})
    return found


def token() -> bytes:
    """Make a value that nobody need know."""
    return secrets.token_hex(32).encode()


def first(kept: Mapping[Key, Content], name: str) -> bytes | None:
    """Find a value that one Secret has already, for another that is to have the same."""
    return next(
        (kept[owner][name] for owner, names in SECRETS.items() if name in names and name in kept.get(owner, {})), None
    )


def certificates(kept: Mapping[Key, Content], parts: Sequence[str]) -> tuple[Content, Content]:
    """Make what is missing or ends soon of the pipeline's authority and of what it issues.

    What each part trusts is the authority, and the one that follows or went before it while they change.

    Args:
        kept: what the cluster has.
        parts: who is to have a certificate.

    Returns:
        What the parts get, and what the authority's Secret is to hold.
    """
    authority = dict(kept.get(AUTHORITY, {}))
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder:
        root = Path(folder)
        for name in ("authority.pem", "authority.key"):
            if name in authority:
                write(root / name, authority[name])
        for owner in kept:
            for name, found in kept[owner].items():
                if name.partition(".")[0] in parts:
                    write(root / name, found)
        issuer = Authority(root)
        for part in parts:
            issuer.issue(part, (f"{part}.{SYSTEM}", f"{part}.{SYSTEM}.svc", *LOOPBACK))
        made = {file.name: file.read_bytes() for file in root.iterdir()}
    authority |= {name: made.pop(name) for name in ("authority.pem", "authority.key")}
    trusted = [authority[name] for name in ("authority.pem", "next.pem", "previous.pem") if name in authority]
    return {**made, "authority.pem": b"".join(trusted)}, authority


def browser_certificate(kept: Content) -> dict[str, bytes]:
    """Give the demo's certificate, which vouches for itself; make it where it is missing or ends soon."""
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder:
        for name, file in (("tls.crt", "nginx.pem"), ("tls.key", "nginx.key")):
            write(Path(folder) / file, kept.get(name, b""))
        pair = self_signed(Path(folder), "nginx")
        return {"tls.crt": pair.certificate.read_bytes(), "tls.key": pair.key.read_bytes()}


def in_memory() -> str | None:
    """Name a folder that no disk keeps, where the machine has one."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - a folder of our own is made in it


def secret(name: Key, values: Content) -> Object:
    """Write a Secret."""
    label, _, part_of = PART_OF.partition("=")
    made: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name.name, "namespace": name.namespace, "labels": {NAME: name.name, label: part_of}},
        "type": TYPES.get(name.name, "Opaque"),
        "data": {key: base64.b64encode(value).decode() for key, value in values.items()},
    }
    return made


def keep(cluster: Cluster, wanted: Mapping[Key, Content], there: Mapping[Key, Object]) -> list[Key]:
    """Bring the Secrets of the cluster to what they are to hold.

    Returns:
        The names of those that were not so.

    Raises:
        ClusterError: where one is not taken; the text has its name alone.
    """
    changed = [name for name, values in wanted.items() if name not in there or content(there[name]) != values]
    for name in changed:
        try:
            if name in there:
                # Whole: what another put in beside would stay.
                cluster.run("replace", "--filename=-", text=json.dumps(secret(name, wanted[name])))
            else:
                cluster.apply([secret(name, wanted[name])])
        except ClusterError as error:
            raise ClusterError(f"the cluster does not take the Secret {name.namespace}/{name.name}") from error
    return changed


def versions(there: Mapping[Key, Object]) -> dict[Key, str]:
    """Tell which version of each Secret the cluster has."""
    return {name: str(found["metadata"]["resourceVersion"]) for name, found in there.items()}
