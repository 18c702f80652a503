"""Certificates of one machine: who trusts whom, for how long, and who can read the keys."""

import datetime as dt
import ssl
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from jld_embedded import certificates
from jld_embedded.certificates import Authority, fingerprint, self_signed


def lasts(certificate: Path) -> int:
    """Tell for how many days from now a certificate holds."""
    return (
        x509.load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc - dt.datetime.now(dt.UTC)
    ).days + 1


def test_issued_by_the_authority(tmp_path: Path) -> None:
    """What the authority issues is valid by the strict rules of OpenSSL, for servers and clients, by its own name."""
    authority = Authority(tmp_path)
    pair = authority.issue("logstash")
    for purpose in ("sslserver", "sslclient"):
        check = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-verify_hostname", "logstash"]
        subprocess.run([*check, "-CAfile", authority.certificate, pair.certificate], check=True, capture_output=True)
    ssl.create_default_context().load_cert_chain(pair.certificate, pair.key)


def test_made_once(tmp_path: Path) -> None:
    """What is there and holds stays as it is."""
    first = [Authority(tmp_path).pair, Authority(tmp_path).issue("broker"), self_signed(tmp_path, "nginx")]
    before = [path.read_bytes() for pair in first for path in pair]
    again = [Authority(tmp_path).pair, Authority(tmp_path).issue("broker"), self_signed(tmp_path, "nginx")]
    assert [path.read_bytes() for pair in again for path in pair] == before


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    """No key can be read by others."""
    for pair in (Authority(tmp_path).pair, Authority(tmp_path).issue("x"), self_signed(tmp_path, "nginx")):
        assert stat.S_IMODE(pair.key.stat().st_mode) == 0o600


def test_browsers_certificate(tmp_path: Path) -> None:
    """The one for browsers holds for 90 days, for this machine's names, and has the fingerprint that OpenSSL tells."""
    pair = self_signed(tmp_path, "nginx")
    assert lasts(pair.certificate) == 90
    show = ["openssl", "x509", "-in", str(pair.certificate), "-noout", "-fingerprint", "-sha256", "-text"]
    shown = subprocess.run(show, check=True, capture_output=True, text=True).stdout
    assert f"={fingerprint(pair.certificate)}\n" in shown
    assert "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1" in shown
    assert "Subject: CN=localhost" in shown.replace(" = ", "=")  # OpenSSL 3.0 and 3.5


def test_former_one_is_trusted_too(tmp_path: Path) -> None:
    """A client that trusts a certificate and the one that follows, which has its name, takes either."""
    former, new = self_signed(tmp_path, "former"), self_signed(tmp_path, "new")
    both = tmp_path / "both.pem"
    both.write_bytes(former.certificate.read_bytes() + new.certificate.read_bytes())
    for pair in (former, new):
        verify = ["openssl", "verify", "-CAfile", str(both), str(pair.certificate)]
        assert subprocess.run(verify, check=False, capture_output=True).returncode == 0


def test_renewed_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate that ends soon is made anew, and one that holds for longer is not."""
    monkeypatch.setattr(certificates, "DAYS", certificates.RENEW_DAYS)
    old = fingerprint(self_signed(tmp_path, "nginx").certificate)
    monkeypatch.undo()
    new = fingerprint(self_signed(tmp_path, "nginx").certificate)
    assert old != new
    assert fingerprint(self_signed(tmp_path, "nginx").certificate) == new


@pytest.mark.parametrize("damage", ["authority.pem", "authority.key", "filebeat.key", "filebeat.pem"])
def test_damaged_files_are_made_anew(tmp_path: Path, damage: str) -> None:
    """Where a file was lost or cut, what depends on it is made anew, and fits together."""
    Authority(tmp_path).issue("filebeat")
    (tmp_path / damage).write_bytes((tmp_path / damage).read_bytes()[:50])
    authority = Authority(tmp_path)
    pair = authority.issue("filebeat")
    check = ["openssl", "verify", "-x509_strict", "-CAfile", str(authority.certificate), str(pair.certificate)]
    subprocess.run(check, check=True, capture_output=True)
    ssl.create_default_context().load_cert_chain(pair.certificate, pair.key)
