"""The start and the end of the process: settings, the members file, addresses, signals, logs."""

import asyncio
import json
import os
import signal
import socket
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from jld_github.__main__ import main
from jld_github.tokens import BadTokensFileError, Token, Tokens

SECRET = "a-secret-not-to-be-seen"

Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


def free_port() -> int:
    """Find a port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start the stand-in with settings; whatever still runs at the end is killed."""
    processes = []

    async def start(**settings: object) -> asyncio.subprocess.Process:
        given = {"client_secret": SECRET, "host": "127.0.0.1", "port": free_port()} | settings
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "jld_github",
            env={**os.environ, **{f"STANDIN_{name}".upper(): str(value) for name, value in given.items()}},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def said(out: str, error: str) -> str:
    """Check that one line was written, and that on stderr; gives what follows the program's name."""
    assert out == ""
    assert error.count("\n") == 1
    assert error.startswith("jld_github: ")
    assert SECRET not in error
    return error.removeprefix("jld_github: ").strip()


async def refusal(process: asyncio.subprocess.Process) -> tuple[int | None, str]:
    """Wait for a start to fail; gives status and the one line that says why."""
    out, error = await process.communicate()
    return process.returncode, said(out.decode(), error.decode())


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Start in this process with settings that prevent it; gives the one line that says why."""

    def refused(**settings: object) -> str:
        for name, value in ({"client_secret": SECRET} | settings).items():
            monkeypatch.setenv(f"STANDIN_{name}".upper(), str(value))
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 78
        return said(*capsys.readouterr())

    return refused


async def ready(process: asyncio.subprocess.Process) -> dict[str, object]:
    """Wait until it is ready; gives the line of log that says so."""
    assert process.stdout
    line: dict[str, object] = json.loads(await process.stdout.readline())
    assert str(line["message"]).startswith("ready")
    return line


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"client_secret": ""}, "STANDIN_CLIENT_SECRET=: must be set: "),
        ({"port": "http"}, "STANDIN_PORT=http: "),
        ({"port": 70000}, "STANDIN_PORT=70000: "),
        ({"public_url": "localhost:8082"}, "STANDIN_PUBLIC_URL=localhost:8082: an address without a path"),
        ({"public_url": "http://x/github"}, "STANDIN_PUBLIC_URL=http://x/github: an address without a path"),
        ({"callback_url": "http://x"}, "STANDIN_CALLBACK_URL=http://x: an address such as"),
        ({"client_secret_file": "/dev/null"}, "STANDIN_CLIENT_SECRET_FILE=/dev/null: set either this or"),
        ({"passphrase_file": "/nowhere"}, "STANDIN_PASSPHRASE_FILE=/nowhere: a readable text file"),
        ({"client_secret": "", "client_secret_file": "/dev/null"}, "STANDIN_CLIENT_SECRET=***: "),
        ({"members_file": "/nowhere.yaml"}, "STANDIN_MEMBERS_FILE=/nowhere.yaml: a readable YAML file"),
    ],
)
def test_bad_setting(refused: Callable[..., str], settings: dict[str, object], line: str) -> None:
    """A bad setting ends the start with one line that names variable, value and what would be right."""
    assert refused(**settings).startswith(line)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("organizations: [\n", "line 2, column 1: "),
        ("\x00", "unacceptable character"),
        ("just text", "as a whole: "),
        ("organizations: []", "members: Field required"),
        ("organizations: []\nmembers: [{login: a, id: '5'}]", "members.0.id: "),
        ("organizations: []\nmembers: [{login: a/b, id: 5}]", "members.0.login: "),
        ("organizations: []\nmembers: [{login: a, id: 5, uid: 6}]", "members.0.uid: "),
        ("organizations: []\nmembers: [{login: a, id: 5, organizations: [b]}]", "a is in b, which is not listed"),
        ("organizations: [{login: a, id: 5}]\nmembers: [{login: A, id: 6}]", "A (id 6) has a login or id that"),
        ("organizations: [{login: b, id: 1}]\nmembers: [{login: a, id: 5, organizations: [b, B]}]", "twice"),
    ],
)
def test_bad_members_file(refused: Callable[..., str], tmp_path: Path, text: str, place: str) -> None:
    """A bad members file ends the start with one line that names the file and the place."""
    file = tmp_path / "members.yaml"
    file.write_text(text)
    line = refused(members_file=file)
    assert line.startswith(f"STANDIN_MEMBERS_FILE={file}: ")
    assert place in line


@pytest.mark.parametrize(
    ("settings", "line", "status"),
    [
        ({"host": "256.0.0.1"}, "STANDIN_HOST=256.0.0.1: an address of this machine", 78),
        ({"control_socket": "/nowhere/control"}, "STANDIN_CONTROL_SOCKET=/nowhere/control: a path for a socket", 78),
        ({"control_socket": f"/tmp/{'x' * 120}"}, f"STANDIN_CONTROL_SOCKET=/tmp/{'x' * 120}: a path for a socket", 78),
        ({"control_socket": "/dev/null"}, "STANDIN_CONTROL_SOCKET=/dev/null: a path at which there is nothing", 69),
    ],
)
async def test_bad_address(start: Start, settings: dict[str, object], line: str, status: int) -> None:
    """An address that cannot be had ends the start in the same way."""
    found, message = await refusal(await start(**settings))
    assert message.startswith(line)
    assert found == status


async def test_busy_port(start: Start) -> None:
    """A busy port ends the start with status 69 and a line that names it."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, line = await refusal(await start(port=port))
    assert status == 69
    assert line == f"STANDIN_PORT={port}: a free port; something listens at 127.0.0.1:{port} already"


async def test_life(start: Start, tmp_path: Path) -> None:
    """It serves web and control, logs JSON without secrets or probes, and SIGTERM ends it with status 0."""
    secret, path, port = tmp_path / "secret", tmp_path / "control", free_port()
    secret.write_text(f"{SECRET}\n")
    process = await start(client_secret="", client_secret_file=secret, control_socket=path, port=port)
    assert (await ready(process))["port"] == port
    mode = path.stat().st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as web:
        for probe in ("/healthz", "/readyz", "/metrics"):
            assert (await web.get(probe)).status_code == 200
        form = {"client_id": "jupyterlabdemo", "client_secret": SECRET, "code": "x"}
        assert "bad_verification_code" in (await web.post("/login/oauth/access_token", data=form)).text
        await web.get("/login/oauth/authorize?client_id=jupyterlabdemo&state=not-to-be-seen-either")
    process.send_signal(signal.SIGTERM)
    out, error = await process.communicate()
    assert (process.returncode, error) == (0, b"")
    assert not path.exists()
    assert b"not-to-be-seen" not in out
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["message"] for line in lines] == [
        "POST /login/oauth/access_token 200",
        "GET /login/oauth/authorize 200",
        "ended",
    ]
    assert all(line["@version"] == "1" and line["@timestamp"].endswith("Z") for line in lines)
    assert all("taskName" not in line for line in lines)


async def test_hanging_requests_end(start: Start, tmp_path: Path) -> None:
    """SIGTERM ends the process also while an outage holds requests."""
    path, port = tmp_path / "control", free_port()
    process = await start(control_socket=path, port=port)
    await ready(process)
    uds = httpx.AsyncHTTPTransport(uds=str(path))
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as web,
        httpx.AsyncClient(base_url="http://control", transport=uds) as control,
    ):
        await control.put("/outage", json={"kind": "hang"})
        hanging = asyncio.create_task(web.get("/api/v3/user"))
        while not (await control.get("/requests")).json():
            pass
        process.send_signal(signal.SIGTERM)
        assert (await hanging).status_code == 401
        async with asyncio.timeout(5):
            await process.communicate()
    assert process.returncode == 0


async def test_socket_left_behind(start: Start, tmp_path: Path) -> None:
    """The socket of a killed stand-in is replaced; that of a living one is not."""
    path = tmp_path / "control"
    first = await start(control_socket=path)
    await ready(first)
    status, line = await refusal(await start(control_socket=path))
    assert status == 69
    assert line.startswith(f"STANDIN_CONTROL_SOCKET={path}: ")
    first.kill()
    await first.communicate()
    assert path.exists()
    await ready(await start(control_socket=path))


async def test_no_control_by_default(start: Start) -> None:
    """Without a path there is no control interface."""
    assert (await ready(await start()))["message"] == "ready"


def test_tokens_outlive_a_kill(tmp_path: Path) -> None:
    """A token is good after the stand-in was started again, is not readable in the file, and ends when revoked."""
    file = tmp_path / "tokens.json"
    first = Tokens(file)
    text, other = first.issue(Token(1, ("read:org",))), first.issue(Token(2, ()))
    assert text not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = Tokens(file)
    assert again.find(text) == Token(1, ("read:org",))
    assert again.revoke(1) == 1
    last = Tokens(file)
    assert (last.find(text), last.find(other)) == (None, Token(2, ()))


@pytest.mark.parametrize("content", ["[]", "{", '{"a": 1}', '{"a": []}'])
def test_tokens_file_of_somebody_else(tmp_path: Path, content: str) -> None:
    """A file that the stand-in did not write is refused and left as it is."""
    file = tmp_path / "tokens.json"
    file.write_text(content)
    with pytest.raises(BadTokensFileError, match="a file that the stand-in wrote, or none"):
        Tokens(file)
    assert file.read_text() == content
