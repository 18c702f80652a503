"""What docs/operate.md promises, by the commands that it has."""

import re
import stat
import subprocess
import tarfile
from pathlib import Path
from textwrap import dedent

import pytest
from containers import ComposeStack, docker
from member import Lab, Member, Visit
from stack import CHECKOUT, until

pytestmark = pytest.mark.target("compose", reason="docs/operate.md is about containers")

DOCUMENT = (CHECKOUT / "docs/operate.md").read_text()

BOB = 5252525


def commands(own: ComposeStack, section: str, about: str) -> str:
    """Return the one block of commands in a section that has a word, with the stack's own names as the document says.

    Args:
        own: The stack.
        section: Its title.
        about: The word.
    """
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
    (block,) = (block for block in re.findall(r"(?:^    .*\n)+", text, re.MULTILINE) if about in block)
    for folder in ("$PWD/var/compose", "var/compose"):
        block = block.replace(folder, str(own.state))
    return re.sub(r"jupyterlabdemo(?=[-_])", own.project, dedent(block)).rstrip()


def run(own: ComposeStack, script: str, folder: Path) -> None:
    """Have a shell run commands in a folder; each of them must do it."""
    done = subprocess.run(
        ["sh", "-euc", script],
        cwd=folder,
        env=own.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}"


def is_signed_in(member: Member) -> bool:
    """Tell whether a browser gets the hub's page without signing in again."""
    page = member.web.get(f"{member.url}/hub/home")
    return page.is_success and page.url.path == "/hub/home"


@pytest.mark.root
def test_backup_and_restore(own: ComposeStack, visit: Visit, tmp_path: Path) -> None:
    """What was changed or lost since the backup is as it was then, and so is what the hub knows of members and labs."""
    bob = visit("bob")
    bob.sign_in()
    bob.start_lab()
    lab, container = Lab(bob), own.lab("bob")["Id"]
    lab.terminal("cd; mkdir -m 2770 work; echo kept | tee work/letter notebook.ipynb; echo old > note")
    lab.terminal("cd; chmod 664 work/letter notebook.ipynb")
    run(own, commands(own, "Backup", "hub.sqlite"), tmp_path)
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert modes == dict.fromkeys(("homes.tar", "hub.sqlite", "secrets.tar"), 0o600)
    with tarfile.open(tmp_path / "secrets.tar") as archive:
        assert {own.state / name for name in archive.getnames()} >= {*(own.state / "secrets").rglob("*")}

    lab.terminal("cd; rm -r work notebook.ipynb; echo new > note; echo later > later")
    with own.github() as github:  # somebody whom no other test has sign in
        newcomer = {"id": 8484848, "organizations": [{"organization": "lsst"}]}
        github.put("/members/newcomer", json=newcomer).raise_for_status()
    late = visit("newcomer")
    late.sign_in()
    assert is_signed_in(late)
    of_one = commands(own, "Restore", "notebook.ipynb").replace("4242424", str(BOB))
    run(own, of_one, tmp_path)
    home = own.export / "homes" / str(BOB)
    check_owner(home / "notebook.ipynb", 0o664)
    assert (home / "note").read_text() == "new\n", "what was not named is left alone"

    for file in (own.state / "hub").glob("jupyterhub.sqlite*"):
        file.unlink()
    run(own, commands(own, "Restore", "cat > /srv/hub/jupyterhub.sqlite"), tmp_path)
    until("the stack is ready", own.is_ready)
    assert is_signed_in(bob)
    assert not is_signed_in(late), "the newcomer came after the backup"
    assert bob.user()["server"] == "/user/bob/"
    assert own.lab("bob")["Id"] == container

    bob.stop_lab()
    run(own, commands(own, "Restore", "--directory /export < homes.tar"), tmp_path)
    for name, mode in ((".", 0o750), ("work", 0o2770), ("work/letter", 0o664)):
        check_owner(home / name, mode)
    bob.start_lab()
    assert Lab(bob).terminal("cd; cat work/letter note later").split() == ["kept", "old", "later"]


def check_owner(path: Path, mode: int) -> None:
    """Assert that something belongs to bob, and has a mode."""
    status = path.stat()
    assert (status.st_uid, status.st_gid, oct(stat.S_IMODE(status.st_mode))) == (BOB, BOB, oct(mode)), path


@pytest.mark.root
def test_new_secrets(own: ComposeStack, alice: Member, lab: Lab, visit: Visit) -> None:
    """Secrets whose files were removed are made anew; the services of the table have them, and no other is restarted.

    Labs, kernels and sessions go on, and new labs can be started.
    """
    names = ("proxy_token", "fileserver_token")
    rows = [re.findall(rf"^\| `{name}` \|[^|]*\|([^|]*)\|", DOCUMENT, re.MULTILINE) for name in names]
    services = {name: {service.strip() for service in row.split(",")} for name, (row,) in zip(names, rows, strict=True)}
    secrets = {name: own.state / "secrets" / name for name in names}
    old, before = {name: secret.read_text() for name, secret in secrets.items()}, own.starts()
    with lab.kernel() as kernel:
        kernel.run("kept = 'still there'")
        (here,) = (one["id"] for one in lab.api("GET", "kernels"))
        secrets["fileserver_token"].unlink()
        run(own, commands(own, "New secrets", "proxy_token"), CHECKOUT)
        after = own.starts()
        assert {name for name in after if after[name] != before[name]} == set().union(*services.values())
        for name, secret in secrets.items():
            assert secret.read_text() != old[name]
            for service in services[name]:
                assert docker("exec", after[service][0], "cat", f"/run/secrets/{name}") == secret.read_text()
        until("the lab answers", lambda: lab.api("GET", "status"))
        with lab.join(here) as again:
            assert again.run("kept") == "'still there'"
    assert is_signed_in(alice)
    bob = visit("bob")
    bob.sign_in()
    assert bob.start_lab().status_code == 200


def test_application_of_ones_own(own: ComposeStack, alice: Member, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an application at a GitHub `make up` removes the stand-in; nobody is signed out, also on the way back."""
    standin = {"github", "nginx-github"}
    assert standin <= {*own.services()}
    with monkeypatch.context() as patch:
        # One that does not answer: nothing is to leave this machine.
        for name, value in (("CLIENT_ID", "own"), ("CLIENT_SECRET", "a secret"), ("URL", "https://127.0.0.1:9")):
            patch.setitem(own.environment, f"GITHUB_{name}", value)
        try:
            own.make("up")
            assert not standin & {*own.services()}
            assert own.is_ready()
            assert is_signed_in(alice)
        finally:
            patch.undo()
            own.make("up")
    assert standin <= {*own.services()}
    assert is_signed_in(alice)
