"""What ends a start, with which line."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from jld_lab.settings import EX_CONFIG, RUNTIME_DIR_LENGTH, Group, load

from tests.lab.conftest import Lab

GOOD = {
    "USER": "alice",
    "JUPYTERHUB_API_TOKEN": "secret",
    "JUPYTERHUB_SERVICE_URL": "http://127.0.0.1:8888/user/alice/",
}


@pytest.fixture(autouse=True)
def good(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Set what must be set."""
    for name, value in (GOOD | {"HOME": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    for name in ("LAB_GROUPS", "LAB_NOTICES", "LAB_RUNTIME_DIR", "LAB_ANNOUNCE_URL", "LAB_NSS_DIR"):
        monkeypatch.delenv(name, raising=False)


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line with which a start ends."""
    with pytest.raises(SystemExit) as end:
        load()
    assert end.value.code == EX_CONFIG
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


@pytest.mark.parametrize(
    ("name", "value", "right"),
    [
        ("HOME", "/nowhere", "an absolute path of a folder in which this user may write"),
        ("HOME", "there", "an absolute path"),
        ("JUPYTERHUB_SERVICE_URL", "8888", "an address such as"),
        ("LAB_ANNOUNCE_URL", "ftp://hub", "an address such as"),
        ("LAB_GROUPS", "lsst", "organization:gid,…"),
        ("LAB_GROUPS", "lsst:12x", "organization:gid,…"),
        ("LAB_NOTICES", "a sentence", "a JSON list of sentences"),
        ("LAB_NOTICES", "[1]", "a JSON list of sentences"),
        ("LAB_RUNTIME_DIR", "/tmp/" + "x" * 60, f"an absolute path of at most {RUNTIME_DIR_LENGTH} bytes"),
        ("LAB_RUNTIME_DIR", "run", "an absolute path"),
    ],
)
def test_bad_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, right: str
) -> None:
    """A bad value ends the start with a line that names variable, value and what would be right."""
    monkeypatch.setenv(name, value)
    assert re.match(f"jld_lab: {name}={re.escape(value)}: .*{re.escape(right)}", refusal(capsys))


@pytest.mark.parametrize("name", ["USER", "JUPYTERHUB_API_TOKEN", "JUPYTERHUB_SERVICE_URL"])
def test_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """What must be set and is not ends the start."""
    monkeypatch.delenv(name)
    assert refusal(capsys).startswith(f"jld_lab: {name}=: must be set: ")


def test_longest_runtime_dir_leaves_room_for_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the longest folder that is taken, the longest name of a socket has the 107 bytes that it may have."""
    folder = "/".ljust(RUNTIME_DIR_LENGTH, "x")
    monkeypatch.setenv("LAB_RUNTIME_DIR", folder)
    assert str(load().lab_runtime_dir) == folder
    assert len(f"{folder}/kernel-{'u' * 36}-ipc-5") == 107


def test_good_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups come as pairs, and notices without what would command a terminal."""
    monkeypatch.setenv("LAB_GROUPS", "lsst-sqre:1508001,lsst:3050001")
    monkeypatch.setenv("LAB_NOTICES", '["\\u001b[2Jgone\\n"]')
    settings = load()
    assert settings.lab_groups == [Group("lsst-sqre", 1508001), Group("lsst", 3050001)]
    assert settings.lab_notices == [" [2Jgone "]
    assert "secret" not in repr(settings)


def test_token_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The token may come as a file."""
    (tmp_path / "token").write_text("of a file\n")
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN")
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN_FILE", str(tmp_path / "token"))
    assert load().jupyterhub_api_token.get_secret_value() == "of a file"


def test_token_twice(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The token as a variable and as a file is an error that shows no token."""
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN_FILE", "/run/token")
    assert refusal(capsys) == (
        "jld_lab: JUPYTERHUB_API_TOKEN_FILE=/run/token: set either this or JUPYTERHUB_API_TOKEN, not both\n"
    )


def test_line_stays_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A line break in a value does not make a second line."""
    monkeypatch.setenv("LAB_GROUPS", "a\nb")
    assert "LAB_GROUPS=a b: " in refusal(capsys)


def ended(lab: Lab) -> str:
    """Return the line with which a lab that must not start ended."""
    assert lab.process
    assert lab.process.wait(20) == EX_CONFIG
    line = lab.log.read_text()
    assert line.count("\n") == 1
    return line


@pytest.mark.root
def test_never_root(new_lab: Callable[..., Lab]) -> None:
    """A lab that is started as root ends."""
    assert ended(new_lab().start(root=True)) == "jld_lab: uid=0: the member's own: a lab is never root\n"


def test_never_with_the_home_on_the_import_path(new_lab: Callable[..., Lab]) -> None:
    """A lab that is started so that the home could shadow its modules ends."""
    assert "start as `python -I -m jld_lab`" in ended(new_lab().start(interpreter_options=()))


@pytest.mark.root
def test_private_folder_of_somebody_else(new_lab: Callable[..., Lab]) -> None:
    """A private folder that belongs to another user is refused."""
    lab = new_lab()
    (lab.folder / "run").mkdir(mode=0o777)
    assert f"LAB_RUNTIME_DIR={lab.folder}/run: a folder of this user's" in ended(lab.start())
