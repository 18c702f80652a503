"""The state folder: homes, databases, queues, and the secrets that each service gets."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from jld_embedded.certificates import Authority, self_signed
from jld_embedded.state import State as Kept

from dev.images import IMAGES, Image

from .engine import docker

UIDS = {Path(image.folder).name: image.uid for image in IMAGES} | {
    "proxy": 64080,
    "provisioner": 0,
    "keepalive": 64083,
    # Which may read the engine's logs, and no more.
    "filebeat": 0,
    "fileserver": 0,
}
"""Who a service is; as compose.yaml and the images have it."""

FOLDERS = ("hub", "filebeat", "logstash", "broker", "github", "fileserver")
"""Services that keep something, each in a folder of its name."""

GIVEN: Mapping[str, tuple[str, ...]] = {
    "nginx": ("nginx.pem", "nginx.key"),
    "proxy": ("proxy_token",),
    "hub": (
        *("proxy_token", "metrics_token", "cookie_secret", "crypt_key", "fileserver_token"),
        "github_client_secret",
    ),
    "provisioner": ("fileserver_token",),
    "filebeat": ("authority.pem", "filebeat.pem", "filebeat.key"),
    "logstash": (
        *("authority.pem", "logstash.pem", "logstash.key"),
        "publisher_password",
        *("broker_password", "broker_authority.pem", "broker_client.pem", "broker_client.key"),
    ),
    "github": ("standin_client_secret", "passphrase", "members.yaml"),
    "broker": ("broker.pem", "broker.key", "publisher_password", "reader_password"),
}
"""Which files each service finds in /run/secrets, as far as they exist."""

HANDOVER = Path(__file__).with_name("handover.py")


class State(Kept):
    """The folder of one stack; its secrets are made as those of the embedded stack are."""

    def make(self) -> None:
        """Make secrets and certificates where they are missing; `hand_over` makes the folders of services."""
        self.root.mkdir(parents=True, exist_ok=True)
        self.make_secrets()
        authority = Authority(self.certificates)
        for name in ("filebeat", "logstash", "broker"):
            authority.issue(name)
        self_signed(self.certificates, "nginx")

    def keep(self, name: str, content: str | None) -> None:
        """Keep what the user gives a service, or forget what he gave it before."""
        if content is None:
            self.secret(name).unlink(missing_ok=True)
        elif not self.secret(name).exists() or self.secret(name).read_text() != content:
            self.keep_secret(name, content)

    def hand_over(self) -> None:
        """Give each service its folder and its secrets, as files that it alone may read.

        Whoever may use the engine need not be root: a container of the file server's image does it, which has Python
        and root.
        """
        plan = {
            "folders": {name: UIDS[name] for name in FOLDERS} | {"export": 0, "export/keepalive": UIDS["keepalive"]},
            "given": {name: [UIDS[name], *files] for name, files in GIVEN.items()},
        }
        rights = [f"--cap-add={name}" for name in ("CHOWN", "DAC_OVERRIDE", "FOWNER")]
        docker(
            *("run", "--rm", "--interactive", "--network=none", "--read-only", "--cap-drop=ALL", *rights),
            *("--security-opt=no-new-privileges", "--user=0:0", "--volume", f"{self.root}:/state"),
            *("--entrypoint=/usr/bin/python3", image("fileserver").tag, "-I", "-c", HANDOVER.read_text()),
            json.dumps(plan),
        )

    def given_since(self, service: str) -> datetime:
        """Tell when a service was last given something else than it had, or something was taken from it."""
        folder = self.root / "given" / {"nginx-github": "nginx"}.get(service, service)
        return datetime.fromtimestamp(folder.stat().st_mtime if folder.exists() else 0, UTC)


def image(folder: str) -> Image:
    """Find the image that is built from a folder."""
    return next(image for image in IMAGES if image.folder == folder)
