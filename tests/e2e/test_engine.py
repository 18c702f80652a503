"""The engine itself dies, with all containers; run only by who says how to start it again."""

import subprocess
import time

import pytest
from member import Lab, Member
from stack import Stack, until

pytestmark = pytest.mark.target("compose", reason="there is an engine")


def test_stack_comes_back_with_the_engine(stack: Stack, restart_engine: str) -> None:
    """After the engine was killed with -9 the stack gets ready by itself, and nobody has to sign in again."""
    alice = Member(stack, "alice")
    alice.sign_in()
    assert alice.start_lab().status_code == 200
    Lab(alice).terminal("echo kept > ~/letter")
    begun = time.monotonic()
    subprocess.run(restart_engine, shell=True, check=True)
    until("the stack is ready", stack.is_ready, seconds=120)
    print(f"ready {time.monotonic() - begun:.0f} s after the engine was killed")  # noqa: T201 - a figure for CI's log
    assert "/hub/login" not in str(alice.web.get(f"{stack.url}/hub/home").url)
    until("the hub has noticed the lab's end", lambda: not alice.user()["server"], seconds=60)
    assert alice.start_lab().status_code == 200
    assert Lab(alice).terminal("cat ~/letter") == "kept"
    alice.leave()
