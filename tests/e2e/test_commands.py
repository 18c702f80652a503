"""make up, status and down, as an operator types them."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from member import Member
from stack import CommandError, EmbeddedStack, Stack, until

ONE_IS_ENOUGH = pytest.mark.target("embedded", reason="containers take half a minute to start and end")

OF_ITS_OWN = pytest.mark.target("embedded", "compose", reason="a cluster has one; test_cluster_deploy.py looks at that")

SERVICES = ("github", "fileserver", "keepalive", "proxy", "hub", "nginx", "filebeat", "logstash", "broker")
"""Parts that every way to run the system has."""


@OF_ITS_OWN
def test_second_up_finds_all_running(stack: Stack) -> None:
    """A second `make up` says so within some seconds, and restarts nothing."""
    before = stack.pid("hub")
    begin = time.monotonic()
    output = stack.make("up")
    assert time.monotonic() - begin < stack.again
    assert "running" in output
    assert stack.pid("hub") == before


def test_status_shows_each_part(stack: Stack) -> None:
    """`make status` lists each part with its state."""
    output = stack.make("status")
    for part in (*SERVICES, "labs"):
        assert part in output


@pytest.mark.target("embedded", reason="test_containers.py has what containers publish")
def test_only_the_loopback_is_bound(stack: Stack) -> None:
    """No socket of the stack listens on any other address."""
    ours = set()
    for pid in stack.processes():
        with contextlib.suppress(OSError):
            ours |= {str(descriptor.readlink()) for descriptor in Path(f"/proc/{pid}/fd").iterdir()}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in ours:
                assert words[1].startswith(LOOPBACK), line


LOOPBACK = ("0100007F:", "00000000000000000000000001000000:")
"""127.0.0.1 and ::1, as /proc/net/tcp and tcp6 have them."""


@OF_ITS_OWN
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LAB_CPU_LIMIT", "lots"),
        pytest.param("GITHUB_ORGANIZATION_WHITELIST", "", marks=ONE_IS_ENOUGH),
        pytest.param("LAB_MEM_LIMIT", "much", marks=ONE_IS_ENOUGH),
    ],
)
def test_wrong_setting_is_shown(kind: type[Stack], name: str, value: str) -> None:
    """`make up` shows the hub's one line about a wrong setting, fails, and leaves nothing running."""
    broken = kind(**{name: value})
    try:
        with pytest.raises(CommandError) as error:
            broken.up()
        assert f"{name}={value}: " in str(error.value)
        assert not broken.processes()
    finally:
        broken.down()


@OF_ITS_OWN
@pytest.mark.root
def test_full_disk_is_named(kind: type[Stack]) -> None:
    """`make up` says in a line that the disk of the state folder has no room, and leaves nothing running."""
    full = kind()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=0755", "tmpfs", full.state], check=True)
    try:
        with pytest.raises(CommandError, match=f"_STATE={full.state}: a disk with 64 MB free"):
            full.up()
        assert not full.processes()
    finally:
        subprocess.run(["umount", full.state], check=True)
        full.state.rmdir()


@pytest.mark.changes
def test_idle_lab_is_stopped(kind: type[Stack]) -> None:
    """A lab that nobody has used for HUB_CULL_IDLE_SECONDS is stopped, and its member can start it again."""
    own = kind(HUB_CULL_IDLE_SECONDS="3")
    try:
        own.up()
        member = Member(own, "alice")
        member.sign_in()
        idle = {"server": None, "pending": None}
        until("what ran before was stopped", lambda: idle.items() <= member.user().items(), seconds=60)
        member.start_lab()
        until("the idle lab was stopped", lambda: idle.items() <= member.user().items(), seconds=60)
        assert member.start_lab().status_code == 200
        member.web.close()
    finally:
        own.down()


@OF_ITS_OWN
def test_down_leaves_no_process(kind: type[Stack]) -> None:
    """`make down` ends labs and kernels too, also after the hub was killed with -9; twice is fine."""
    own = kind()
    try:
        own.up()
        member = Member(own, "alice")
        member.sign_in()
        assert member.start_lab().status_code == 200
        member.web.close()
        os.kill(own.pid("hub"), signal.SIGKILL)
        own.make("down")
        assert not own.processes()
        own.make("down")
        own.up()
        assert own.get("/hub/health").is_success
    finally:
        own.down()


@pytest.mark.target("embedded", reason="there is no supervisord elsewhere")
def test_down_ends_what_supervisord_left() -> None:
    """`make down` finds every process also after supervisord was killed with -9."""
    own = EmbeddedStack()
    try:
        own.up()
        supervisord = int((own.state / "run" / "supervisord.pid").read_text())
        os.kill(supervisord, signal.SIGKILL)
        own.make("down")
        assert not own.processes()
    finally:
        own.down()


@pytest.mark.parametrize("path", ["/metrics", "/hub/metrics"])
def test_metrics_of_the_hub_are_not_for_everybody(stack: Stack, alice: Member, path: str) -> None:
    """The hub's metrics, which browsers reach through the proxy, are refused to strangers and members."""
    assert stack.get(path).status_code == 403
    assert alice.web.get(f"{stack.url}{path}").status_code == 403
