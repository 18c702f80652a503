"""Wherever the stack runs, the collector hears its shipper and nobody else whom the same authority vouches for."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.x509.oid import NameOID
from jld_embedded.certificates import Authority
from jld_embedded.services import Stack

from dev.configuration import ROOT

Environment = Mapping[str, str | None]


def of_containers() -> dict[str, Environment]:
    """Give what compose.yaml tells each service."""
    services: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    return {name: service.get("environment", {}) for name, service in services.items()}


def of_processes(make_stack: Callable[..., Stack]) -> dict[str, Environment]:
    """Give what the embedded stack tells each service, though its user would have it otherwise."""
    return {service.name: service.environment for service in make_stack(LOGSTASH_SHIPPERS="anybody").services()}


def of_a_cluster() -> dict[str, Environment]:
    """Give what the components' settings tell each workload, in every overlay."""
    return {
        name: dict(
            line.split("=", 1)
            for line in (ROOT / name / "settings.env").read_text().splitlines()
            if not line.startswith("#")
        )
        for name in ("filebeat", "logstash")
    }


def issued_name(shown: str | None, folder: Path) -> str:
    """Give the name in the certificate that the stack's authority issues for a file of a service."""
    assert shown
    pair = Authority(folder).issue(Path(shown).stem)
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    (name,) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(name.value)


@pytest.mark.parametrize("deployment", ["containers", "processes", "cluster"])
def test_only_the_shipper_is_heard(deployment: str, make_stack: Callable[..., Stack], tmp_path: Path) -> None:
    """Each deployment tells its collector the one name that its shipper's certificate has."""
    match deployment:
        case "containers":
            told = of_containers()
        case "processes":
            told = of_processes(make_stack)
        case _:
            told = of_a_cluster()
    name = issued_name(told["filebeat"]["FILEBEAT_CERTIFICATE_FILE"], tmp_path)
    assert told["logstash"].get("LOGSTASH_SHIPPERS") == name
    assert name != issued_name(told["logstash"]["LOGSTASH_CERTIFICATE_FILE"], tmp_path)


@pytest.mark.parametrize("overlay", sorted(path.parent.name for path in ROOT.glob("k8s/overlays/*/kustomization.yaml")))
def test_no_overlay_opens_it(overlay: str) -> None:
    """No overlay tells the collector something else."""
    texts = [path.read_text() for path in (ROOT / "k8s/overlays" / overlay).iterdir()]
    assert texts
    assert not [text for text in texts if "LOGSTASH_SHIPPERS" in text]
