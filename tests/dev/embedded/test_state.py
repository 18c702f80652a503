"""The state folder: secrets, sockets, and who may reach it."""

import os
import stat
from pathlib import Path

import pytest
from jld_embedded.errors import StateError
from jld_embedded.state import SECRETS, State


def mode(path: Path) -> int:
    """Give the permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_made_once_for_their_owner_only(folder: Path) -> None:
    """Secrets are 64 hexadecimal digits in files of mode 0600 below a folder of mode 0700, and stay the same."""
    state = State(folder / "var")
    state.make()
    assert mode(state.secrets) == 0o700
    first = {name: state.secret(name).read_text() for name in SECRETS}
    assert all(len(bytes.fromhex(secret)) == 32 for secret in first.values())
    assert len(set(first.values())) == len(SECRETS)
    assert {mode(state.secret(name)) for name in SECRETS} == {0o600}
    state.make()
    assert {name: state.secret(name).read_text() for name in SECRETS} == first


def test_labs_can_pass_to_homes_but_not_to_logs_and_database(folder: Path) -> None:
    """Other users may enter the export, and neither logs nor database nor programs."""
    state = State(folder / "var")
    state.make()
    assert mode(state.export) & 0o001
    assert not any(mode(closed) & 0o077 for closed in (state.log, state.hub, state.programs))


@pytest.mark.root
def test_unreachable_state_is_refused_and_not_made(folder: Path) -> None:
    """As root, a state that other users cannot enter is refused by the folder in the way, and leaves nothing."""
    closed = folder / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(StateError, match=f"chmod o\\+x {closed}") as error:
        State(closed / "var").make()
    assert error.value.status == 73
    assert not (closed / "var").exists()


def test_run_folder_is_short_and_passable(folder: Path) -> None:
    """However deep the state, sockets lie in a short folder that others may pass and not list; it goes at the end."""
    state = State(folder.joinpath(*["deep" * 10] * 4))
    state.make()
    run = state.make_run()
    assert len(str(run)) < 30
    assert mode(run) == 0o711
    assert state.run() == run
    state.remove_run()
    assert not run.exists()
    assert state.run() is None


def test_stale_run_link_is_no_run_folder(folder: Path) -> None:
    """A link to nothing, or to what is no folder of ours, counts as none and is replaced."""
    state = State(folder)
    state.make()
    for target in (folder / "gone", state.secret("proxy_token")):
        (folder / "run").symlink_to(target)
        assert state.run() is None
        run = state.make_run()
        assert state.run() == run
        state.remove_run()
    assert state.secret("proxy_token").exists()


@pytest.mark.root
def test_anothers_run_folder_is_not_trusted(folder: Path) -> None:
    """A folder that another user has made at the stale link's target is not used, and not removed."""
    state = State(folder / "var")
    state.make()
    other = folder / "other"
    other.mkdir()
    os.chown(other, 4242424, 4242424)
    (state.root / "run").symlink_to(other)
    assert state.run() is None
    state.remove_run()
    assert other.is_dir()


def test_secret_is_replaced_whole(folder: Path) -> None:
    """A secret that is kept anew takes the old one's place, for its owner only."""
    state = State(folder)
    state.make()
    state.keep_secret("github_client_secret", "one")
    state.keep_secret("github_client_secret", "two")
    assert state.secret("github_client_secret").read_text() == "two"
    assert mode(state.secret("github_client_secret")) == 0o600
    kept = {file.name for file in state.secrets.iterdir() if file.is_file()}
    assert kept == {*SECRETS, "github_client_secret"}


def test_lock_is_closed_to_others(folder: Path) -> None:
    """Who is not the stack's owner cannot hold its lock, also one that an older release left open."""
    state = State(folder / "var")
    state.make()
    (state.root / "lock").touch(0o644)
    with state.locked():
        assert mode(state.root / "lock") == 0o600


def test_giving_needs_no_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are given where the machine has no name for who starts the stack, as in many containers."""
    state = State(folder / "var")
    state.make()
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    secret = state.secret("reader_password")
    for _ in range(2):
        given = state.give("broker", "", [secret])
    assert (given / secret.name).read_bytes() == secret.read_bytes()


@pytest.mark.root
def test_given_files_follow_their_user(folder: Path) -> None:
    """A copy that belongs to the wrong user is made anew, and stays as it is where it is right."""
    state = State(folder / "var")
    state.make()
    secret = state.secret("reader_password")
    copy = state.give("broker", "nobody", [secret]) / secret.name
    assert (copy.owner(), mode(copy), copy.read_bytes()) == ("nobody", 0o600, secret.read_bytes())
    state.give("broker", "daemon", [secret])
    assert copy.owner() == "daemon"
    before = copy.stat().st_ino
    state.give("broker", "daemon", [secret])
    assert copy.stat().st_ino == before
