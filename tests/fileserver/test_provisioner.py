"""The provisioner over HTTP."""
# ruff: noqa: ASYNC240 the loop of a test may wait for a local file

import asyncio
import json
import logging
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from jld_fileserver.folders import Export
from jld_fileserver.provisioner import Provisioner
from jld_fileserver.worker import Worker

URL = "/v1/homes/4242424"
ALICE = {"login": "alice"}

Client = TestClient[Any, Any]


@pytest.fixture
def provisioner(export: Path, token: str) -> Provisioner:
    """Give a provisioner of the export."""
    return Provisioner(Export(export), token)


@pytest.fixture
async def client(provisioner: Provisioner, token: str) -> AsyncIterator[Client]:
    """Give a client that has the token."""
    headers = {"Authorization": f"Bearer {token}"}
    async with TestClient(TestServer(provisioner.application()), headers=headers) as client:
        yield client


async def _refusal(response: ClientResponse) -> tuple[int, str]:
    body = await response.json()
    assert set(body) == {"error", "message"}
    assert body["message"].endswith(".")
    return response.status, body["error"]


async def test_home(client: Client, export: Path) -> None:
    """The first call makes the home, the second finds it, and both say where it is."""
    expected = {"path": f"{export}/homes/4242424", "link": f"{export}/by-login/alice"}
    for status in (201, 200):
        response = await client.put(URL, json=ALICE)
        assert (response.status, await response.json()) == (status, expected)
    assert (export / "homes" / "4242424").is_dir()


async def test_group(client: Client, export: Path) -> None:
    """Group folders are made likewise, by organization."""
    response = await client.put("/v1/groups/3050001", json={"organization": "lsst"})
    assert (response.status, (await response.json())["path"]) == (201, f"{export}/groups/3050001")


async def test_fifty_at_once(client: Client) -> None:
    """Of fifty calls at once for one id exactly one is told that it made the home."""
    responses = await asyncio.gather(*(client.put(URL, json=ALICE) for _ in range(50)))
    assert sorted(response.status for response in responses) == [200] * 49 + [201]


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer wrong", "Basic a-token-for-tests-only", "a-token-for-tests-only",
              "Bearer a-token-for-tests-onl", "Bearer a-token-for-tests-only,x", "Bearer \xff\udcfe"],
)  # fmt: skip
async def test_no_token(client: Client, export: Path, given: str) -> None:
    """Without the token nothing is made, and the answer says which scheme is asked for."""
    response = await client.put(URL, json=ALICE, headers={"Authorization": given})
    assert await _refusal(response) == (401, "unauthorized")
    assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert not list(export.iterdir())


async def test_scheme_in_any_case(client: Client, token: str) -> None:
    """The scheme's name may be written in any case (RFC 9110, section 11.1)."""
    response = await client.put(URL, json=ALICE, headers={"Authorization": f"bearer {token}"})
    assert response.status == 201


@pytest.mark.parametrize(
    ("url", "body", "refusal"),
    [
        ("/v1/homes/999", ALICE, (422, "invalid")),
        ("/v1/homes/alice", ALICE, (422, "invalid")),
        ("/v1/homes/..%2f4242424", ALICE, (422, "invalid")),
        ("/v1/homes/%2e%2e", ALICE, (404, "not-found")),
        ("/v1/homes/4242424%00", ALICE, (422, "invalid")),
        ("/v1/homes/%D9%A1%D9%A2%D9%A3%D9%A4", ALICE, (422, "invalid")),
        ("/v1/homes/4242424/..", ALICE, (404, "not-found")),
        ("/v1/homes/", ALICE, (404, "not-found")),
        ("/v1/users/4242424", ALICE, (404, "not-found")),
        (URL, {}, (422, "invalid")),
        (URL, {"login": "../bob"}, (422, "invalid")),
        (URL, {"login": 7}, (422, "invalid")),
        (URL, {"organization": "lsst"}, (422, "invalid")),
        (URL, ["login"], (422, "invalid")),
        (URL, 7, (422, "invalid")),
        (URL, {"login": "a" * 5000}, (413, "too-large")),
    ],
)
async def test_refused(client: Client, export: Path, url: str, body: object, refusal: tuple[int, str]) -> None:
    """What is no id, no name or no address is refused with a slug and a sentence, and nothing is made."""
    assert await _refusal(await client.put(url, json=body)) == refusal
    assert not list(export.iterdir())


@pytest.mark.parametrize(
    ("content_type", "body", "status", "slug"),
    [
        ("text/plain", b'{"login": "alice"}', 415, "unsupported-media-type"),
        ("application/json", b"", 400, "malformed"),
        ("application/json", b'{"login": "alice"', 400, "malformed"),
        ("application/json", b"\xff\xfe\xff", 400, "malformed"),
        ("application/json", b"[" * 4000, 400, "malformed"),
        ("application/json", b'{"login": "\\ud800"}', 422, "invalid"),
    ],
)
async def test_bad_body(client: Client, content_type: str, body: bytes, status: int, slug: str) -> None:
    """A body that is not a small JSON document is refused."""
    response = await client.put(URL, data=body, headers={"Content-Type": content_type})
    assert await _refusal(response) == (status, slug)


async def test_other_method(client: Client) -> None:
    """Other methods are refused with the one that is right."""
    response = await client.delete(URL)
    assert await _refusal(response) == (405, "method-not-allowed")
    assert response.headers["Allow"] == "PUT"


async def test_in_the_way(client: Client, export: Path) -> None:
    """Something else in the place of a home is a conflict that says what it is."""
    (export / "homes").mkdir()
    (export / "homes" / "4242424").touch()
    response = await client.put(URL, json=ALICE)
    assert (await response.json())["message"] == "homes/4242424 is not a folder; an operator has to move it away."
    assert response.status == 409


async def test_probes(client: Client, export: Path) -> None:
    """It is ready as long as the export is there, and alive without."""
    for status in (200, 503):
        assert (await client.get("/healthz")).status == 200
        assert (await client.get("/readyz")).status == status
        if status == 200:
            export.rmdir()
    assert await _refusal(await client.put(URL, json=ALICE)) == (503, "storage-failed")


async def test_failure_is_one_line(client: Client, export: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A failing storage is one error in the log, without a traceback."""
    export.rmdir()
    await client.put(URL, json=ALICE)
    errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in errors] == [
        f"homes/4242424: The storage fails (No such file or directory: {export})."
    ]
    assert not errors[0].exc_info


async def test_hanging_storage(provisioner: Provisioner, client: Client, tmp_path: Path) -> None:
    """While the storage hangs, calls are refused in time and the loop turns."""
    os.mkfifo(tmp_path / "pipe")
    provisioner._changes = Worker(0.1)
    stuck = asyncio.create_task(provisioner._changes.run((tmp_path / "pipe").read_bytes))
    assert await _refusal(await client.put(URL, json=ALICE)) == (503, "storage-failed")
    assert (await client.get("/healthz")).status == 200
    (tmp_path / "pipe").write_bytes(b"")
    await asyncio.gather(stuck, return_exceptions=True)


async def test_unexpected_failure(
    client: Client, provisioner: Provisioner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug shows its traceback in the log and none of it to the caller."""
    monkeypatch.setattr(provisioner.export, "provide", lambda *_: 1 / 0)
    response = await client.put(URL, json=ALICE)
    assert "ZeroDivisionError" not in await response.text()
    assert await _refusal(response) == (500, "internal")
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


async def test_metrics(client: Client) -> None:
    """Metrics count requests by outcome, time them, and tell the export's space."""
    await client.put(URL, json=ALICE)
    await client.put("/v1/homes/1", json=ALICE)
    text = await (await client.get("/metrics")).text()
    assert 'fileserver_requests_total{kind="homes",status="201"} 1.0' in text
    assert 'fileserver_requests_total{kind="homes",status="422"} 1.0' in text
    assert 'fileserver_request_seconds_count{kind="homes"} 2.0' in text
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith("fileserver_export"))
    assert 0 < float(figures["fileserver_export_free_bytes"]) <= float(figures["fileserver_export_size_bytes"])
    assert 0 <= float(figures["fileserver_export_free_files"]) <= float(figures["fileserver_export_files"])


async def test_metrics_without_storage(client: Client, export: Path) -> None:
    """Metrics answer without the export, whose figures are then unknown."""
    export.rmdir()
    response = await client.get("/metrics")
    assert response.status == 200
    assert "fileserver_export_free_bytes NaN" in await response.text()


PIECES = [
    *(
        "4242424",
        "1000",
        "0",
        "-1",
        "9" * 400,
        "%D9%A1",
        "..",
        ".",
        "%2e%2e",
        "%2f",
        "%00",
        "%",
        "%zz",
        "/",
        "//",
        "\\",
    ),
    *("homes", "groups", "v1", "~", "*", "?", ";", "%ff", "%F0%9F%98%80", "by-login", ".4242424.new"),
]
NAMES: list[object] = [
    "alice",
    "octo_corp",
    "-",
    "a" * 39,
    "a" * 4096,
    "Alice",
    "..",
    "../../x",
    "a/b",
    "",
    "\0",
    "\ud800",
]
NAMES += [None, 7, 1e308, True, [], {}]
TYPES = ["application/json", "application/json; charset=x", "text/plain", "", "application/json;", "\xff"]


async def test_random_requests(client: Client, export: Path, token: str) -> None:
    """No request out of a thousand odd ones makes the service fail or leaves something odd behind."""
    chance = random.Random(20240229)  # fixed, so that a failure can be repeated
    assert client.port
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    seen = set()
    for _ in range(1000):
        kind = chance.choice(["homes", "groups"])
        path = f"/v1/{kind}/4242424"
        if chance.random() < 0.6:
            path = chance.choice([f"/v1/{kind}/", "/"]) + "".join(chance.choices(PIECES, k=chance.randint(1, 3)))
        body = json.dumps({chance.choice(["login", "organization"]): chance.choice(NAMES)}).encode()
        if chance.random() < 0.2:
            body = chance.randbytes(chance.randint(0, 60))
        lines = [
            f"{chance.choice(['PUT', 'PUT', 'PUT', 'GET', 'POST'])} {path} HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {token if chance.random() < 0.9 else 'wrong'}",
            f"Content-Type: {chance.choice(TYPES)}",
            f"Content-Length: {len(body)}",
        ]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        status = int(head.split()[1])
        assert status < 500, (lines, body)
        seen.add(status)
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
        await reader.readexactly(int(length.split()[1]))
        if b"connection: close" in head.lower():
            writer.close()
            await writer.wait_closed()
            reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    writer.close()
    await writer.wait_closed()
    assert {200, 201, 400, 401, 404, 405, 413, 415, 422} <= seen
    for kind in ("homes", "groups"):
        assert {path.name for path in (export / kind).iterdir()} <= {"4242424", "1000"}
    for links in ("by-login", "by-organization"):
        assert {path.name for path in (export / links).iterdir()} <= {"alice", "a" * 39, "-", "octo_corp"}
    assert {path.name for path in export.iterdir()} == {"homes", "groups", "by-login", "by-organization"}
