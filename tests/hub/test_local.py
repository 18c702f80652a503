"""Labs as processes: which process is one's own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from jld_hub.local import LocalSpawner, is_taken
from jld_hub.settings import load
from jupyterhub import orm
from jupyterhub.user import User


@pytest.fixture
def stranger() -> Iterator[int]:
    """Run a process that is no lab, and give its id."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process.pid
        assert process.poll() is None, "it was harmed"
        process.communicate(b"\n")


@pytest.fixture
def spawner() -> Iterator[LocalSpawner]:
    """Return a spawner of a hub that has just started."""
    session = orm.new_session_factory("sqlite:///:memory:")()
    alice = orm.User(name="alice")
    session.add(alice)
    session.commit()
    yield LocalSpawner(settings=load(), user=User(alice, settings={"spawner_class": LocalSpawner}))
    session.close()
    session.get_bind().dispose()


async def test_process_of_an_earlier_hub(spawner: LocalSpawner, stranger: int) -> None:
    """A process with the id and the beginning that were kept is the lab."""
    spawner.load_state({"pid": stranger, "born": time.time(), "uid": 0})
    assert await spawner.poll() is None


async def test_strangers_with_a_labs_old_id_are_left_alone(spawner: LocalSpawner, stranger: int) -> None:
    """A process that got the id of a lab that has ended is not the lab, and stopping the lab does not touch it."""
    spawner.load_state({"pid": stranger, "born": time.time() - 86400, "uid": 0})
    assert await spawner.poll() == 0
    await spawner.stop()


def test_ids_of_this_machine_are_taken() -> None:
    """The ids of users and groups that the machine knows are no members'; others are free."""
    assert is_taken(0)
    assert is_taken(os.getuid()) or os.getuid() >= 1000
    assert not is_taken(4242424)
