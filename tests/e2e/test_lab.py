"""A lab runs as its member, with his groups, in his home."""

import json
import os
import signal
import stat

import httpx
import pytest
from member import Lab, Member, Visit
from stack import CHECKOUT, Stack


def is_closed(stack: Stack, output: str) -> bool:
    """Whether a command found its way barred, as this way to run the stack bars it."""
    return any(error in output for error in stack.barred)


def test_lab_page(alice: Member) -> None:
    """The member's lab page is there, and no page of another site may frame it."""
    page = alice.web.get(f"{alice.url}/user/alice/lab")
    assert page.status_code == 200
    assert "JupyterLab" in page.text
    assert "frame-ancestors" in page.headers["Content-Security-Policy"]


def test_lab_announces_itself(stack: Stack, visit: Visit, lab: Lab) -> None:
    """The start ends by the lab's own word, which nobody else can give."""
    bob = visit("bob")
    bob.sign_in()
    assert bob.start_lab().status_code == 200
    assert "204 POST /hub/api/announcement (bob@" in stack.log("hub")
    address = f"{stack.url}/hub/api/announcement"
    for headers in ({}, {"Authorization": "token wrong"}, lab.headers):
        assert httpx.post(address, verify=stack.tls, headers=headers, json={}).status_code == 403


def test_cell_in_the_stack(lab: Lab) -> None:
    """`import lsst` works in the LSST_Stack kernel, and so do real modules of it."""
    with lab.kernel() as kernel:
        assert kernel.run("import lsst, lsst.daf.butler, lsst.sphgeom, lsst.pipe.base; print('imported')") == "imported"
        assert float(kernel.run("lsst.sphgeom.Angle.fromDegrees(180).asRadians()")) == pytest.approx(3.14159265)


def test_only_the_stack_kernel_is_offered(lab: Lab) -> None:
    """LSST_Stack is the kernel, and the default."""
    kernels = lab.api("GET", "kernelspecs")
    assert list(kernels["kernelspecs"]) == [kernels["default"]]
    assert kernels["kernelspecs"][kernels["default"]]["spec"]["display_name"] == "LSST_Stack"


@pytest.mark.root
def test_terminal_runs_as_the_member(lab: Lab) -> None:
    """A terminal has the member's uid and gid, and the ids of his organizations as groups."""
    assert lab.terminal("id -u; id -g").split() == ["4242424", "4242424"]
    assert sorted(lab.terminal("id -G").split()) == ["1508001", "3050001", "4242424"]


def test_stack_shell(lab: Lab) -> None:
    """loadLSST.bash and setup give a shell in which python is the stack's; an unknown product fails."""
    load = '. "$LAB_STACK_DIR/loadLSST.bash"'
    assert lab.terminal(f"{load}; setup lsst_distrib; python -c 'import lsst.sphgeom; print(1 + 1)'") == "2"
    failed = lab.terminal(f"{load}; setup nosuch; echo status $?")
    assert "nosuch" in failed
    assert "status 0" not in failed


@pytest.mark.root
def test_file_belongs_to_the_member(stack: Stack, lab: Lab) -> None:
    """A file written in a cell belongs to the member, in his own home, closed to others."""
    with lab.kernel() as kernel:
        kernel.run("open('mine.txt', 'w').write('alice')")
    file = stack.export / "homes" / "4242424" / "mine.txt"
    status = file.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (4242424, 4242424, 0o640)
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o750


@pytest.mark.root
def test_members_share_their_organizations_folder(stack: Stack, lab: Lab, visit: Visit) -> None:
    """Bob cannot read alice's home; both work in the folder of lsst, and bob not in that of lsst-sqre."""
    bob = visit("bob")
    bob.sign_in()
    bob.start_lab()
    other = Lab(bob)
    lab.terminal("echo from alice > ~/groups/lsst/note; echo secret > ~/private")
    assert other.terminal("cat ~/groups/lsst/note") == "from alice"
    assert is_closed(stack, other.terminal(f"cat {stack.export}/homes/4242424/private"))
    assert other.terminal("ls ~/groups/") == "lsst"
    assert is_closed(stack, other.terminal(f"ls {stack.export}/groups/1508001"))
    assert (stack.export / "groups" / "3050001" / "note").stat().st_gid == 3050001


def test_lab_knows_nothing_of_the_hubs_secrets(stack: Stack, lab: Lab) -> None:
    """No secret of the stack is in the lab's environment, and the files that hold them are closed to it."""
    secrets = [file.read_text().strip() for file in (stack.state / "secrets").iterdir() if file.is_file()]
    assert len(secrets) >= 4
    environment = lab.terminal("env")
    with lab.kernel() as kernel:
        environment += kernel.run("import os; print(dict(os.environ))")
    assert not [secret for secret in secrets if secret in environment]
    for name in ("GITHUB_", "HUB_PROXY_", "HUB_CRYPT_", "CONFIGPROXY"):
        assert name not in environment


@pytest.mark.root
def test_secrets_are_closed_to_labs(stack: Stack, lab: Lab) -> None:
    """A member cannot read the folder of secrets, nor the hub's environment."""
    assert is_closed(stack, lab.terminal(f"ls {stack.state}/secrets"))
    assert is_closed(stack, lab.terminal(f"cat /proc/{stack.pid('hub')}/environ"))


@pytest.mark.root
def test_member_cannot_change_the_server(stack: Stack, lab: Lab) -> None:
    """Neither the server's environment nor the stack is the member's to write."""
    assert is_closed(stack, lab.terminal(f"touch {(CHECKOUT / '.venv').resolve()}/x"))
    assert is_closed(stack, lab.terminal('touch "$LAB_STACK_DIR/x"'))


def test_home_does_not_configure_the_page(alice: Member, lab: Lab) -> None:
    """A member's own files do not turn on what the lab has turned off, nor change what its page is told."""
    lab.terminal("mkdir -p ~/.jupyter/labconfig")
    lab.terminal("""echo '{"appVersion": "evil", "disabledExtensions": []}' > ~/.jupyter/labconfig/page_config.json""")
    page = alice.web.get(f"{alice.url}/user/alice/lab").text
    assert "evil" not in page
    assert "@jupyterlab/extensionmanager-extension" in page


@pytest.mark.parametrize("image", ["evil/image:1", "lsstsqre/jld-lab-py3:0.1.0\nx", "{unescaped_username}", "<b>"])
def test_posted_image_is_checked(stack: Stack, image: str, visit: Visit) -> None:
    """An image that is not on the menu is answered with 400, in the form and in the API, and nothing starts."""
    carol = visit("carol")
    carol.sign_in()
    page = carol.start_lab(image)
    assert page.status_code == 400, page.text
    headers = {"Authorization": f"token {carol.token()}"}
    address = f"{stack.url}/hub/api/users/carol/server"
    assert httpx.post(address, verify=stack.tls, headers=headers, json={"image": image}, timeout=30).status_code == 400
    assert httpx.post(address, verify=stack.tls, headers=headers, json={"cmd": ["sh"]}, timeout=30).status_code == 400
    user = stack.get("/hub/api/user", headers=headers).json()
    assert user["server"] is None


def test_left_out_organizations_are_said(visit: Visit) -> None:
    """Carol's lab names the organizations beyond the sixteen gids that NFS carries."""
    carol = visit("carol")
    carol.sign_in()
    assert carol.start_lab().status_code == 200
    lab = Lab(carol)
    with lab.kernel() as kernel:
        notices = json.loads(kernel.run("import os; print(os.environ['LAB_NOTICES'])"))
        if os.geteuid() == 0:
            assert len(kernel.run("print(*os.getgroups())").split()) <= 16
    assert any("left out" in notice for notice in notices)


def test_lab_starts_again_in_a_used_home(visit: Visit) -> None:
    """A member who has run a kernel gets a lab again after he stopped his first one."""
    bob = visit("bob")
    bob.sign_in()
    for _ in range(2):
        assert bob.start_lab().status_code == 200
        with Lab(bob).kernel() as kernel:
            assert kernel.run("6 * 7") == "42"
        bob.stop_lab()


@pytest.mark.target("compose", "cluster", reason="nothing holds a process to them")
def test_limits_of_a_lab(visit: Visit) -> None:
    """What a cell starts is ended when it takes more memory than the lab is told to have; the lab goes on.

    Its time on the CPUs is limited too.
    """
    bob = visit("bob")
    bob.sign_in()
    bob.start_lab()
    lab = Lab(bob)
    with lab.kernel() as kernel:
        limit, cpus = kernel.run("import os; print(os.environ['MEM_LIMIT'], os.environ['CPU_LIMIT'])").split()
        take = "import sys; taken = b'x' * int(sys.argv[1])"
        child = "import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', {!r}, '{}']).returncode)"
        assert kernel.run(child.format(take, int(limit) // 4)) == "0"
        assert kernel.run(child.format(take, int(limit) * 11 // 10)) == str(-signal.SIGKILL)
        assert kernel.run("6 * 7") == "42"
    # The first is what cgroups of version 2 have, the others of version 1.
    files = "/sys/fs/cgroup/cpu.max /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us"
    quota, period = map(int, lab.terminal(f"cat {files} 2>/dev/null").split())
    assert quota / period == float(cpus)
