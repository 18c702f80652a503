"""What an operator does to a running system: backup and restore, new secrets, another database."""

import os
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from broker import arrivals
from cluster import SITE, ClusterStack, node_addresses
from member import Lab, Member, Visit
from postgresql import Database
from stack import CHECKOUT, Writer, until
from work import Work

pytestmark = [
    pytest.mark.root,
    pytest.mark.changes,
    pytest.mark.target("cluster", reason="test_operation.py has what compose has of it"),
]

BOB = 5252525


@pytest.fixture
def work(cluster: ClusterStack, alice: Member, lab: Lab) -> Iterator[Work]:
    """Have alice work."""
    running = Work(cluster, alice, lab)
    yield running
    lab.api("DELETE", f"kernels/{running.kernel}")


@pytest.fixture
def writer(cluster: ClusterStack) -> Iterator[Writer]:
    """Write to a log beside those of the services."""
    running = cluster.writer()
    yield running
    running.remove()


def is_signed_in(member: Member) -> bool:
    """Tell whether a browser gets the hub's page without signing in again."""
    page = member.web.get(f"{member.url}/hub/home")
    return page.is_success and page.url.path == "/hub/home"


def test_backup_and_restore(cluster: ClusterStack, visit: Visit, tmp_path: Path) -> None:
    """What was changed or lost since the backup is as it was then, owners and modes too.

    Who came later signs in again.
    """
    bob = visit("bob")
    bob.sign_in()
    bob.start_lab()
    Lab(bob).terminal("cd; mkdir -m 2770 work; echo kept > work/letter; echo old > note; chmod 664 work/letter")
    folder = tmp_path / "backup"
    cluster.make("k8s-backup", f"DIR={folder}")
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    Lab(bob).terminal("cd; rm -r work; echo new > note; echo later > later")
    with cluster.github() as github:  # somebody whom no other test has sign in
        newcomer = {"id": 8484848, "organizations": [{"organization": "lsst"}]}
        github.put("/members/newcomer", json=newcomer).raise_for_status()
    late = visit("newcomer")
    late.sign_in()
    assert is_signed_in(late)
    cluster.make("k8s-restore", f"DIR={folder}", f"CONFIRM={SITE}", seconds=600)
    until("the hub answers", cluster.hub_is_ready, seconds=60)
    assert is_signed_in(bob)
    assert not is_signed_in(late), "the newcomer came after the backup"
    home = cluster.export / "homes" / str(BOB)
    for name, mode in ((".", 0o750), ("work", 0o2770), ("work/letter", 0o664)):
        status = (home / name).stat()
        assert (status.st_uid, status.st_gid, oct(stat.S_IMODE(status.st_mode))) == (BOB, BOB, oct(mode)), name
    idle = {"server": None, "pending": None}
    until("the hub has noticed the lab's end", lambda: idle.items() <= bob.user().items(), seconds=60)
    bob.start_lab()
    assert Lab(bob).terminal("cd; cat work/letter note later").split() == ["kept", "old", "later"]


@pytest.mark.parametrize("secret", ["crypt_key", "proxy_token"])
def test_new_secret(cluster: ClusterStack, work: Work, visit: Visit, secret: str) -> None:
    """A secret of the hub's is made anew: lab, kernel and session go on, and new labs can be started."""
    old = (cluster.state / "secrets" / secret).read_text()
    cluster.make("k8s-rotate", f"SECRET={secret}", seconds=600)
    cluster.fetch_secrets()
    assert (cluster.state / "secrets" / secret).read_text() != old
    work.goes_on()
    bob = visit("bob")
    bob.sign_in()
    assert bob.start_lab().status_code == 200


def test_new_pipeline_certificates(cluster: ClusterStack, work: Work, writer: Writer) -> None:
    """Authority and certificates of the pipeline are made anew while lines are written, and all of these arrive."""
    authority = cluster.state / "secrets/certificates/authority.pem"
    old = authority.read_text()
    cluster.make("k8s-rotate", "SECRET=pipeline", seconds=900)
    cluster.fetch_secrets()
    assert authority.read_text().count("BEGIN CERTIFICATE") == 1
    assert authority.read_text() != old
    written = set(writer.end())
    with arrivals(cluster.broker()) as arrived:
        until("every line is at the broker", lambda: written <= set(arrived.messages), seconds=90)
    work.goes_on()


@pytest.mark.postgresql
def test_database_elsewhere(cluster: ClusterStack, visit: Visit) -> None:
    """With the component `postgresql` the hub keeps all in a PostgreSQL, and finds it there after it was killed."""
    (address, *_) = (one.partition("/")[0] for one in node_addresses())
    kustomization, secret = cluster.site / "kustomization.yaml", cluster.site / "secrets/database_url"
    before = kustomization.read_text()
    with Database(cluster.state / "postgresql", address).running() as database:
        secret.write_text(database.url)
        secret.chmod(0o600)
        component = f"{os.path.relpath(CHECKOUT, cluster.site.resolve())}/k8s/components/postgresql"
        kustomization.write_text(before.replace("components:\n- generated", f"components:\n- {component}\n- generated"))
        assert component in kustomization.read_text()
        try:
            cluster.make("up", seconds=600)
            bob = visit("bob")
            bob.sign_in()
            assert bob.start_lab().status_code == 200
            hub = cluster.pid("hub")
            os.kill(hub, signal.SIGKILL)
            until("another hub", lambda: cluster.pid("hub") != hub, seconds=60)
            until("the hub is back", cluster.hub_is_ready, seconds=60)
            assert is_signed_in(bob)
            assert bob.user()["server"] == "/user/bob/"
            assert "bob" in database.ask("select name from users").split()
            bob.stop_lab()
        finally:
            kustomization.write_text(before)
            secret.unlink()
            cluster.make("up", seconds=600)
