"""Production as an operator deploys it: images of a registry, his own secrets and certificate, no stand-in.

Run only by whose cluster is thrown away afterwards: from 1.35 on a node that has pulled an image from one registry no
longer takes it under the name by which it was loaded.
"""

import ssl
from pathlib import Path

import httpx
import pytest
import yaml
from cluster import SITE, SYSTEM, ClusterStack, get
from jld_embedded.certificates import Authority
from registry import registry

pytestmark = [
    pytest.mark.root,
    pytest.mark.registry,
    pytest.mark.changes,
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


@pytest.fixture
def summit(cluster: ClusterStack, tmp_path: Path) -> Path:
    """Make a site of production with all that its operator has to give, in place of the demo.

    Returns:
        The certificate of the authority that his one is of.
    """
    cluster.make("down", f"CONFIRM={SITE}", "DATA=delete")
    cluster.make("k8s-init", f"NAME={NAME}", "OVERLAY=production")
    site = cluster.site.parent / NAME
    places = {"K8S_HOMES_DIR": str(cluster.state / NAME)}
    (site / "site.env").write_text("".join(f"{name}={value}\n" for name, value in (SETTINGS | places).items()))
    file = site / "kustomization.yaml"
    made = yaml.safe_load(file.read_text())
    single = made["resources"][0].replace("overlays/production", "components/single-node")
    file.write_text(yaml.safe_dump(made | {"components": [single, *made["components"]]}))
    authority = Authority(tmp_path)
    pair = authority.issue("tls", [HOST])
    pair.certificate.rename(site / "secrets/tls.crt")
    pair.key.rename(site / "secrets/tls.key")
    for secret in ("github_client_secret", "broker_password"):
        (site / "secrets" / secret).write_text(f"{secret} of the operator")
    for file in (site / "secrets").iterdir():
        file.chmod(0o600)
    return authority.pair.certificate


def test_production_from_a_registry(cluster: ClusterStack, summit: Path, tmp_path: Path) -> None:
    """Images are pushed, the nodes pull them by their digests, and the site's own name and certificate answer."""
    with registry(tmp_path) as host:
        cluster.make("k8s-push", f"OVERLAY={NAME}", f"REGISTRY={host}/jld", seconds=600)
        try:
            told = cluster.make("up", f"OVERLAY={NAME}", seconds=600)
            assert f"open https://{HOST}\n" in told
            images = {container["image"] for pod in cluster.pods() for container in pod["spec"]["containers"]}
            assert images
            assert all(image.startswith(f"{host}/jld/jld-") and "@sha256:" in image for image in images), images
            address = get("service", "nginx", f"--namespace={SYSTEM}")["spec"]["clusterIP"]
            trusting = ssl.create_default_context(cafile=str(summit))
            with httpx.Client(verify=trusting, headers={"Host": HOST}) as browser:
                page = browser.get(f"https://{address}/hub/oauth_login", extensions={"sni_hostname": HOST})
            assert page.headers["Location"].startswith("https://github.com/login/oauth/authorize?")
            assert page.headers["Strict-Transport-Security"]
            assert "nothing was changed" in cluster.make("up", f"OVERLAY={NAME}", seconds=600)
        finally:
            cluster.make("down", f"OVERLAY={NAME}", f"CONFIRM={NAME}", "DATA=delete")
