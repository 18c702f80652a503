"""What the hub asks of the file server, and what a member reads when it cannot be had."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from jld_hub.homes import HomesError, provision
from jld_hub.identity import Organization, identify
from jld_hub.lab import Lab, describe
from jld_hub.settings import load

ALICE = identify("alice", 4242424, [Organization("lsst", 3050001)], ["lsst"])


@pytest.fixture
def lab() -> Lab:
    """Describe alice's lab."""
    return describe(ALICE, "img", load())


@dataclass
class FileServer:
    """A provisioner that keeps what it was asked, and refuses any token but `right`."""

    url: str
    seen: list[tuple[str, object]]


@pytest.fixture
async def fileserver() -> AsyncIterator[FileServer]:
    """Run one."""
    seen: list[tuple[str, object]] = []

    async def put(request: web.Request) -> web.Response:
        seen.append((request.path, await request.json()))
        if request.headers["Authorization"] != "Bearer right":
            return web.json_response({"error": "unauthorized", "message": "no"}, status=401)
        return web.json_response({}, status=201)

    app = web.Application()
    app.router.add_put("/{path:.*}", put)
    async with TestServer(app) as server:
        yield FileServer(f"http://127.0.0.1:{server.port}", seen)


async def test_home_and_shared_folders_are_asked_for(lab: Lab, fileserver: FileServer) -> None:
    """The home by id with its login, and each whitelisted organization's folder by id with its name."""
    await provision(lab, fileserver.url, "right")
    assert fileserver.seen == [
        ("/v1/homes/4242424", {"login": "alice"}),
        ("/v1/groups/3050001", {"organization": "lsst"}),
    ]


async def test_refusal_is_an_error_with_the_reason(lab: Lab, fileserver: FileServer) -> None:
    """What the provisioner says is in the error, for the log."""
    with pytest.raises(HomesError, match=r"401.*unauthorized"):
        await provision(lab, fileserver.url, "wrong")


async def test_absent_server_is_an_error(lab: Lab) -> None:
    """A file server that is not there is named."""
    with pytest.raises(HomesError, match=r"http://127\.0\.0\.1:9"):
        await provision(lab, "http://127.0.0.1:9", "right")
