"""TLS as Mozilla's guideline 6.0 has it, intermediate; mozilla-6.0.json is its text in the form that sslyze takes."""

import subprocess
import sys
from pathlib import Path

import pytest
from jld_embedded import certificates

from tests.nginx.conftest import Edge, Kit

pytestmark = pytest.mark.nginx

GUIDELINE = Path(__file__).with_name("mozilla-6.0.json")


def test_guideline(own: Kit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scanner sslyze finds nothing that the guideline does not allow."""
    # What the authority issues for the stack's inner ports lasts for longer than the guideline lets browsers see.
    monkeypatch.setattr(certificates, "INNER_DAYS", certificates.DAYS)
    authority = certificates.Authority(tmp_path)
    pair = authority.issue("hub.example")
    edge = own.run(NGINX_CERTIFICATE_FILE=pair.certificate, NGINX_KEY_FILE=pair.key)
    scan = subprocess.run(
        [sys.executable, "-m", "sslyze", "--custom_tls_config", str(GUIDELINE), "--sni", "hub.example",
         "--certinfo_ca_file", str(authority.certificate), f"127.0.0.1:{edge.port}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "OK - Compliant" in scan.stdout, scan.stdout + scan.stderr
    assert scan.returncode == 0


def test_hsts(edge: Edge, shared: Kit) -> None:
    """Browsers are told to come by HTTPS for two years, on every page, and not at all where that is switched off."""
    for path in ("/", "/status/500", "/.jld-nginx/x"):
        assert edge.http.get(path).headers["Strict-Transport-Security"] == "max-age=63072000"
    other = shared.run(NGINX_HSTS_MAX_AGE=0)
    assert "Strict-Transport-Security" not in other.http.get("/").headers
