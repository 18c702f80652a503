"""Production as an operator deploys it: images of a registry, his own secrets and certificate, no stand-in.

Run alone, on a cluster that is thrown away afterwards: from Kubernetes 1.35 on a node that has pulled an image from a
registry no longer takes it under the name by which it was loaded.
"""

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import yaml
from cluster import SYSTEM, ClusterStack, get
from jld_embedded.certificates import Authority
from registry import registry
from stack import Stack

pytestmark = [
    pytest.mark.root,
    pytest.mark.registry,
    pytest.mark.target("cluster", reason="the other targets are no production"),
]

NAME = "summit"
HOST = "jupyter.example.org"

SETTINGS = {
    "GITHUB_CLIENT_ID": "Iv1.abc",
    "GITHUB_ORGANIZATION_WHITELIST": "lsst",
    "OAUTH_CALLBACK_URL": f"https://{HOST}/hub/oauth_callback",
    "RABBITMQ_TARGET_HOST": "broker.example.org",
    "RABBITMQ_TARGET_USER": "logs",
    "LAB_CONTAINER_NAMES": "lsstsqre/jld-github:0.1.0",  # a small one: no lab is started here
}


class Summit:
    """A site of production with all that its operator has to give.

    Attributes:
        stack: By which its verbs are called.
        authority: The certificate of the authority that the site's own is of.
    """

    def __init__(self, stack: ClusterStack) -> None:
        self.stack = stack
        stack.make("k8s-init", f"NAME={NAME}", "OVERLAY=production")
        folder = stack.site.parent / NAME
        settings = SETTINGS | {"K8S_HOMES_DIR": str(stack.state / NAME)}
        (folder / "site.env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        file = folder / "kustomization.yaml"
        made = yaml.safe_load(file.read_text())
        single = made["resources"][0].replace("overlays/production", "components/single-node")
        file.write_text(yaml.safe_dump(made | {"components": [single, *made["components"]]}))
        authority = Authority(stack.state)
        self.authority = authority.pair.certificate
        pair = authority.issue("tls", [HOST])
        pair.certificate.rename(folder / "secrets/tls.crt")
        pair.key.rename(folder / "secrets/tls.key")
        for secret in ("github_client_secret", "broker_password"):
            (folder / "secrets" / secret).write_text(f"{secret} of the operator")
        for given in (folder / "secrets").iterdir():
            given.chmod(0o600)

    def make(self, verb: str, *words: str) -> str:
        """Run a verb for this site."""
        return self.stack.make(verb, f"OVERLAY={NAME}", f"CONFIRM={NAME}", *words, seconds=600)


@pytest.fixture
def summit(kind: type[Stack]) -> Iterator[Summit]:
    """Make the site, and remove what comes of it."""
    stack = kind()
    assert isinstance(stack, ClusterStack)
    yield Summit(stack)
    stack.down()


def test_production_from_a_registry(summit: Summit, tmp_path: Path) -> None:
    """Images are pushed, the nodes pull them by their digests, and the site's own name and certificate answer."""
    with registry(tmp_path) as host:
        summit.make("k8s-push", f"REGISTRY={host}/jld")
        try:
            assert f"open https://{HOST}\n" in summit.make("up")
            images = {container["image"] for pod in summit.stack.pods() for container in pod["spec"]["containers"]}
            assert images
            assert all(image.startswith(f"{host}/jld/jld-") and "@sha256:" in image for image in images), images
            address = get("service", "nginx", f"--namespace={SYSTEM}")["spec"]["clusterIP"]
            trusting = ssl.create_default_context(cafile=str(summit.authority))
            with httpx.Client(verify=trusting, headers={"Host": HOST}) as browser:
                page = browser.get(f"https://{address}/hub/oauth_login", extensions={"sni_hostname": HOST})
            assert page.headers["Location"].startswith("https://github.com/login/oauth/authorize?")
            assert page.headers["Strict-Transport-Security"]
            assert "nothing was changed" in summit.make("up")
        finally:
            summit.make("down", "DATA=delete")
