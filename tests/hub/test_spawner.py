"""When a start is over: the announcement, the port, or the lab's death."""

import asyncio
import socket
import time
from typing import Any

import pytest
from jld_hub import spawner as spawner_module
from jld_hub.settings import load
from jld_hub.spawner import LabError, MemberSpawner

NOWHERE = ("127.0.0.1", 9)


class Adapter(MemberSpawner):
    """An adapter whose lab lives until a test ends it."""

    exit_status: int | None = None

    async def poll(self) -> int | None:
        """Return the exit status, None while the lab lives."""
        return self.exit_status

    async def last_words(self) -> str:
        """Return what the lab last said."""
        return "LAB_STACK_DIR=/nowhere: a folder"


@pytest.fixture
def adapter() -> Adapter:
    """Return an adapter with the hub's settings."""
    return Adapter(settings=load())


async def test_announcement_ends_the_wait(adapter: Adapter) -> None:
    """A start is over the moment that the lab says so, long before its port is tried."""
    waiting = asyncio.create_task(adapter.wait_until_it_listens(NOWHERE))
    await asyncio.sleep(0)
    begin = time.monotonic()
    adapter.announced.set()
    await waiting
    assert time.monotonic() - begin < spawner_module.SILENT_SECONDS / 2


async def test_port_ends_the_wait(adapter: Adapter, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that announces nothing is found by its port."""
    monkeypatch.setattr(spawner_module, "SILENT_SECONDS", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await asyncio.wait_for(adapter.wait_until_it_listens(listener.getsockname()), 10)
    assert not adapter.announced.is_set()


async def test_death_ends_the_wait(adapter: Adapter) -> None:
    """A lab that dies ends its start at once, and the member reads its last words."""
    adapter.exit_status = 78
    with pytest.raises(LabError) as error:
        await asyncio.wait_for(adapter.wait_until_it_listens(NOWHERE), 10)
    assert "LAB_STACK_DIR=/nowhere" in str(error.value.jupyterhub_message)


@pytest.mark.parametrize("options", [{"image": "other"}, {"cmd": ["sh"]}])
def test_kept_options_do_not_stick(adapter: Adapter, options: dict[str, Any]) -> None:
    """Options that are refused are forgotten, since a start without options takes the kept ones."""

    class Kept:
        user_options = options

    adapter.orm_spawner = Kept()
    with pytest.raises(LabError) as error:
        adapter.pick_image(options)
    assert error.value.status_code == 400
    assert adapter.orm_spawner.user_options == {}
