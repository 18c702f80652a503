"""What an operator does to a running system: backup and restore, new secrets, another database."""

import os
import signal
import stat
from pathlib import Path

import pytest
from broker import arrivals
from cluster import SITE, ClusterStack, node_addresses
from jld_k8s.rotate import KNOWN
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


def secrets_of(cluster: ClusterStack) -> dict[str, str]:
    """Return what the files of secrets have that are made by the tool and no part of the pipeline's certificates."""
    cluster.fetch_secrets()
    places = {name: cluster.state / "secrets" / name for name in KNOWN if name not in ("pipeline", "tls")}
    return {name: place.read_text() for name, place in places.items()} | {"tls": cluster.key_pin()}


def test_new_secrets(cluster: ClusterStack, work: Work, writer: Writer, visit: Visit) -> None:
    """All secrets but that of cookies are made anew: lab, kernel and sessions go on, and no event is lost.

    Labs can be started as before.
    """
    before = secrets_of(cluster)
    names = sorted(before.keys() - {"cookie_secret"})
    cluster.make("k8s-rotate", f"SECRET={','.join(names)}", seconds=600)
    after = secrets_of(cluster)
    assert [name for name in before if after[name] != before[name]] == [name for name in before if name in names]
    cluster.trust()
    work.goes_on()
    bob = visit("bob")
    bob.sign_in()
    assert bob.start_lab().status_code == 200
    written = set(writer.end())
    with arrivals(cluster.broker()) as arrived:
        until("every line is at the broker", lambda: written <= set(arrived.messages), seconds=90)


def test_new_cookie_secret(cluster: ClusterStack, work: Work) -> None:
    """With a new secret for cookies members sign in again, and find lab and kernel as they were."""
    assert is_signed_in(work.alice)
    cluster.make("k8s-rotate", "SECRET=cookie_secret", seconds=600)
    assert not is_signed_in(work.alice)
    work.alice.sign_in()
    work.goes_on()


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
