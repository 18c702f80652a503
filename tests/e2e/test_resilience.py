"""What dies and comes back, and what stays."""

import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
from member import Lab, Member, Visit
from stack import Stack, until


def test_kernel_outlives_the_hub(stack: Stack, alice: Member, lab: Lab) -> None:
    """The hub is killed with -9 under a running kernel: the kernel counts on over its open websocket."""
    with lab.kernel() as kernel:
        kernel.run(
            "import threading, time\ncount = 0\ndef go():\n    global count\n    while True:\n"
            "        count += 1\n        time.sleep(0.01)\nthreading.Thread(target=go, daemon=True).start()"
        )
        before = int(kernel.run("count"))
        hub = stack.pid("hub")
        os.kill(hub, signal.SIGKILL)
        assert int(kernel.run("count")) > before
        until("the hub is back", stack.hub_is_ready)
        assert stack.pid("hub") != hub
        assert int(kernel.run("count")) > before
        user = stack.get("/hub/api/user", headers=lab.headers).json()
        assert user["server"] == "/user/alice/"
        assert "/hub/login" not in str(alice.web.get(f"{stack.url}/hub/home").url), "the session outlives the hub"


def test_lab_stays_reachable_after_the_proxy_was_killed(stack: Stack, lab: Lab) -> None:
    """The proxy is killed with -9: the hub gives it its routes again."""
    os.kill(stack.pid("proxy"), signal.SIGKILL)
    until("the lab answers through the new proxy", lambda: lab.api("GET", "status"), seconds=40)


def test_kernel_outlives_nginx(stack: Stack, lab: Lab) -> None:
    """The TLS end is killed with -9: it comes back, and the kernel has kept what it was told."""
    with lab.kernel() as kernel:
        kernel.run("kept = 'still there'")
        nginx = stack.pid("nginx")
        os.kill(nginx, signal.SIGKILL)
        until("another nginx", lambda: stack.pid("nginx") != nginx)
        until("the site is back", stack.hub_is_ready)
        (here,) = [one["id"] for one in lab.api("GET", "kernels")]
        with lab.join(here) as again:
            assert again.run("kept") == "'still there'"


def test_stopped_lab_leaves_no_process(stack: Stack, visit: Visit) -> None:
    """Stopping a lab ends its server and its kernels."""
    bob = visit("bob")
    bob.sign_in()
    before = set(stack.processes())
    bob.start_lab()
    lab = Lab(bob)
    lab.api("POST", "kernels", json={"name": "LSST_Stack"})
    assert set(stack.processes()) - before
    bob.stop_lab()
    until("the lab's processes have ended", lambda: not set(stack.processes()) - before)


def peak(stack: Stack, part: str) -> int:
    """Return the most memory, in bytes, that a part has had (VmHWM, proc_pid_status(5))."""
    first = psutil.Process(stack.pid(part))
    status = [Path(f"/proc/{one.pid}/status").read_text() for one in (first, *first.children(recursive=True))]
    return max(int(found[1]) for text in status if (found := re.search(r"VmHWM:\s+(\d+) kB", text))) * 1024


def test_hub_takes_no_large_bodies(stack: Stack) -> None:
    """Requests of anybody with bodies beyond all use are refused, at no cost of memory."""
    before = peak(stack, "hub")

    def send(_: int) -> int:
        return httpx.post(f"{stack.url}/hub/api/announcement", content=bytes(64 * 2**20), verify=stack.tls).status_code

    with ThreadPoolExecutor(4) as threads:
        assert all(status >= 400 for status in threads.map(send, range(4)))
    assert peak(stack, "hub") - before < 32 * 2**20


def test_removed_member_cannot_start(stack: Stack, visit: Visit) -> None:
    """Who has left the organization since he signed in gets no new lab."""
    bob = visit("bob")
    bob.sign_in()
    with stack.github() as github:
        github.delete("/members/bob/organizations/lsst").raise_for_status()
        assert bob.web.get(f"{stack.url}/hub/spawn").status_code == 200
        page = bob.start_lab()
        assert page.status_code == 403
        assert "You may no longer enter" in page.text
    assert "bob" not in [environment.get("JUPYTERHUB_USER") for environment in stack.processes().values()]


def test_recycled_login_is_another_account(stack: Stack, visit: Visit) -> None:
    """A login that passes to another GitHub id gets an empty home, and not the old member's lab."""
    old = visit("bob")
    old.sign_in()
    old.start_lab()
    lab = Lab(old)
    lab.terminal("echo old > ~/letter")
    with stack.github() as github:
        github.put("/members/bob", json={"id": 8282828, "organizations": [{"organization": "lsst"}]}).raise_for_status()
        new = visit("bob")
        assert new.sign_in().status_code == 200
        new.start_lab()
        assert "No such file" in Lab(new).terminal("cat ~/letter")
        Lab(new).terminal("echo new > ~/letter")
        for address in (f"{stack.url}/hub/api/user", f"{lab.url}/api/status"):
            answer = httpx.get(address, verify=stack.tls, headers=lab.headers)
            assert answer.status_code in (302, 403), "the old token has ended"
        new.leave()
    old.started = False  # it ended with its account
    assert (stack.export / "homes" / "5252525" / "letter").read_text() == "old\n"
    assert (stack.export / "homes" / "8282828" / "letter").read_text() == "new\n"


def test_lab_that_died_by_itself(stack: Stack, visit: Visit) -> None:
    """After a lab was killed, what its member had left running ends too, and he can start again."""
    bob = visit("bob")
    bob.sign_in()
    bob.start_lab()
    Lab(bob).terminal("(setsid sleep 1000 >/dev/null 2>&1 &)")
    of_bob = {pid for pid, variables in stack.processes().items() if variables.get("JUPYTERHUB_USER") == "bob"}
    commands = {pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") for pid in of_bob}
    (server,) = (pid for pid, words in commands.items() if b"jld_lab" in words and b"python" in words[0])
    os.kill(server, signal.SIGKILL)
    until("the hub has noticed", lambda: not bob.user()["server"], seconds=60)
    assert not of_bob & set(stack.processes())
    assert bob.start_lab().status_code == 200
