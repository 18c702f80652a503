"""Who is heard: those with a certificate of the authority, and a name that is allowed."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jld_embedded.certificates import Authority
from jld_logstash import tls

Connected = Callable[..., Any]


@pytest.mark.parametrize(
    ("shown", "reason"),
    [(None, "peer did not return a certificate"), ("stranger", "unable to get local issuer certificate")],
)
async def test_strangers(
    listening: Any, certificates: Any, caplog: pytest.LogCaptureFixture, shown: str | None, reason: str
) -> None:
    """Who shows no certificate of the authority is refused before a byte is taken, which is said."""
    context = certificates.context(getattr(certificates, shown) if shown else None)

    def ship() -> None:
        # TLS 1.3: the client is through with its handshake before it is refused.
        with pytest.raises(OSError), certificates.shipper(listening.port, context) as shipper:  # noqa: PT011 reset or alert
            shipper.ship([{}])

    await asyncio.to_thread(ship)
    assert [record.message for record in caplog.records] == [f"a shipper is refused: {reason}"]
    assert listening.stored() == []


async def test_old_tls(listening: Any, connected: Connected, certificates: Any) -> None:
    """TLS before 1.2 is not spoken."""
    context = certificates.context(certificates.client)
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")

    def ship() -> None:
        with connected(listening.port, context):
            pass

    with pytest.raises(ssl.SSLError):
        await asyncio.to_thread(ship)


async def test_no_tls(listening: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Who speaks no TLS is refused, which is said; who says nothing is a probe, which is not."""

    def ship() -> None:
        socket.create_connection(("127.0.0.1", listening.port)).close()
        with socket.create_connection(("127.0.0.1", listening.port), timeout=10) as plain:
            plain.sendall(b"2W\0\0\0\1" + b"2J\0\0\0\1\0\0\0\2{}")
            with contextlib.suppress(ConnectionError):
                assert b"2A" not in plain.recv(100)

    await asyncio.to_thread(ship)
    assert [record.message for record in caplog.records] == ["a shipper is refused: wrong version number"]


@pytest.mark.parametrize("listening", [["node-1", "filebeat"]], indirect=True)
async def test_heard_by_name(listening: Any, connected: Connected) -> None:
    """A shipper whose certificate has one of the allowed names is heard, and its events have that name."""

    def ship() -> None:
        with connected(listening.port) as shipper:
            shipper.ship([{"shipper": "x", "shipper_certificate": "node-1"}])

    await asyncio.to_thread(ship)
    assert listening.stored() == ['{"shipper":"x","shipper_certificate":"filebeat"}']


@pytest.mark.parametrize("listening", [["node-1"]], indirect=True)
async def test_not_heard_by_name(listening: Any, connected: Connected, caplog: pytest.LogCaptureFixture) -> None:
    """A shipper whose certificate has another name is refused before anything of it is taken, which is said."""

    def ship() -> None:
        with pytest.raises(OSError), connected(listening.port) as shipper:  # noqa: PT011 reset or end
            shipper.ship([{}])

    await asyncio.to_thread(ship)
    assert caplog.messages == ["a shipper is refused: filebeat is none of LOGSTASH_SHIPPERS"]
    assert listening.metrics.refused.labels("tls")._value.get() == 1
    assert listening.stored() == []


@pytest.mark.parametrize(
    ("certificate", "name"),
    [
        ({"subject": ((("organizationName", "o"),), (("commonName", "a"),)), "subjectAltName": (("DNS", "b"),)}, "a"),
        ({"subject": (), "subjectAltName": (("URI", "spiffe://x/node-1"), ("DNS", "b"))}, "spiffe://x/node-1"),
        ({"subject": (), "subjectAltName": (("IP Address", "192.0.2.1"),)}, "192.0.2.1"),
        ({"subject": (), "subjectAltName": (("email", "a"), ("URI", "a"), ("DNS", "b"))}, "b"),
        ({"subject": (), "subjectAltName": (("DirName", ((("commonName", "a"),),)), ("othername", "a"))}, None),
        ({"subject": ((("organizationName", "o"),),)}, None),
    ],
)
def test_name(certificate: dict[str, Any], name: str | None) -> None:
    """The name of a certificate is its common name, else the first of its hosts, addresses and URIs."""
    assert tls.name_of(certificate) == name


async def test_changed_certificate(
    listening: Any, connected: Connected, certificates: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """New connections meet the certificates as the files have them now, while files that do not fit are not used."""
    caplog.set_level("INFO")
    authority = Authority(tmp_path)
    made = authority.issue("logstash")
    served = certificates.server
    before = served.certificate.read_bytes(), served.key.read_bytes()
    context = certificates.context(certificates.client)
    context.load_verify_locations(authority.certificate)

    def shown() -> bytes:
        with connected(listening.port, context) as shipper:
            shipper.ship([{}])
            certificate: bytes = shipper.connection.getpeercert(binary_form=True)
            return certificate

    def ship() -> None:
        with connected(listening.port) as old:
            first = shown()
            served.certificate.write_bytes(made.certificate.read_bytes())
            assert shown() == first
            served.key.write_bytes(made.key.read_bytes())
            assert shown() != first
            old.ship([{}])

    try:
        await asyncio.to_thread(ship)
    finally:
        served.certificate.write_bytes(before[0])
        served.key.write_bytes(before[1])
    messages = [record.message for record in caplog.records if "certificates" in record.message]
    assert len(messages) == 2
    assert "changed certificates are not used: LOGSTASH_KEY_FILE=" in messages[0]
    assert messages[1] == "changed certificates are used from now on"
