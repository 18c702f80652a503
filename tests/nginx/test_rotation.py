"""A new certificate is taken into use, a broken one is not, and no connection notices."""

import datetime as dt
import os
import shutil
import ssl
from pathlib import Path

import pytest
from channel import Channel
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from jld_embedded.certificates import Pair, self_signed
from stack import until

from tests.nginx.conftest import CHUNK, TRUSTING, Edge, Kit, Proxy

pytestmark = pytest.mark.nginx


def _served(edge: Edge, pair: Pair) -> bool:
    return edge.served() == ssl.DER_cert_to_PEM_cert(ssl.PEM_cert_to_DER_cert(pair.certificate.read_text()))


def _replace(pair: Pair, new: Pair) -> None:
    """Replace key and certificate, one after the other, as most tools do."""
    for old, source in ((pair.key, new.key), (pair.certificate, new.certificate)):
        aside = old.with_suffix(".new")
        shutil.copy(source, aside)
        aside.replace(old)


def _weak(folder: Path) -> Pair:
    """Make a certificate that only nginx finds fault with: its key is too short for OpenSSL's taste."""
    pair = Pair(folder / "weak.pem", folder / "weak.key")
    key = rsa.generate_private_key(65537, 1024)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weak")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pair.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return pair


def test_nothing_is_dropped(own: Kit, proxy: Proxy, tmp_path: Path) -> None:
    """New connections see the new certificate, while a websocket and a download begun before go on."""
    edge = own.run(NGINX_UPSTREAM=f"127.0.0.1:{proxy.port}")
    proxy.go_on.clear()
    with (
        Channel(f"wss://127.0.0.1:{edge.port}/socket", {}, TRUSTING) as websocket,
        edge.http.stream("GET", "/download") as download,
    ):
        received = download.iter_raw(len(CHUNK))
        assert next(received) == CHUNK
        new = self_signed(tmp_path, "another")
        _replace(edge.pair, new)
        until("the new certificate is served", lambda: _served(edge, new))
        until("the change is logged", lambda: edge.logged("uses a new configuration"))
        proxy.go_on.set()
        assert b"".join(received) == CHUNK
        websocket.send("still here")
        assert websocket.receive(5) == "still here"
    assert edge.metric("nginx_reloads_total") == 1
    assert edge.metric("nginx_failed_reloads_total") == 0
    assert edge.get("/readyz").status_code == 200


def test_as_kubernetes_does(own: Kit, tmp_path: Path) -> None:
    """A secret's folder that is swapped by a link is noticed."""
    for number in (1, 2):
        folder = tmp_path / f"..{number}"
        folder.mkdir()
        pair = self_signed(folder, "tls")
        pair.certificate.rename(folder / "tls.crt")
    (tmp_path / "..data").symlink_to("..1")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(f"..data/{name}")
    edge = own.run(NGINX_CERTIFICATE_FILE=tmp_path / "tls.crt", NGINX_KEY_FILE=tmp_path / "tls.key")
    first = edge.served()
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    until("the new certificate is served", lambda: edge.served() != first)
    assert _served(edge, edge.pair)


def test_broken_ones_are_kept_out(own: Kit, tmp_path: Path) -> None:
    """Files that do not work leave the old certificate in use, are told once, and are forgotten when put right."""
    edge = own.run()
    first, key = edge.served(), edge.pair.key.read_bytes()
    ends = edge.metric("nginx_certificate_expiry_timestamp_seconds")
    new = self_signed(tmp_path, "another")
    shutil.copy(new.key, edge.pair.key)
    until("the trouble is logged", lambda: edge.logged("stays in use"))
    os.utime(edge.pair.key)
    assert edge.metric("nginx_configuration_current") == 0
    assert edge.metric("nginx_failed_reloads_total") == 1
    assert edge.served() == first
    assert edge.get("/readyz").status_code == 200
    _replace(edge.pair, _weak(tmp_path))
    until("the other trouble is logged", lambda: len(edge.logged("stays in use")) == 2)
    assert edge.served() == first
    _replace(edge.pair, new)
    until("the new certificate is served", lambda: _served(edge, new))
    until("all is well", lambda: edge.metric("nginx_configuration_current") == 1)
    messages = [event["message"] for event in edge.logged("stays in use")]
    assert "NGINX_KEY_FILE should hold the key of the certificate in NGINX_CERTIFICATE_FILE" in messages[0]
    assert "nginx refuses its configuration" in messages[1]
    assert "key too small" in messages[1]
    assert edge.metric("nginx_certificate_expiry_timestamp_seconds") >= ends
    assert key.decode().splitlines()[1] not in edge.text()
