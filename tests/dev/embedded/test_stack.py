"""The commands over a real supervisord, with services of a few lines."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from jld_embedded.processes import environment, marked, snapshot
from stack import PORTS, free_ports

FAKES = Path(__file__).with_name("fake_stack.py")
PLAIN = {"hub": "", "fileserver": ""}


class Commands:
    """The commands of one stack."""

    def __init__(self, state: Path, port: int) -> None:
        self.state = state
        self.settings = {
            "EMBEDDED_STATE": str(state),
            "EMBEDDED_PORT": str(port),
            "EMBEDDED_ENV_FILE": os.devnull,
            "GITHUB_ORGANIZATION_WHITELIST": "lsst",
        }

    def begin(self, verb: str, services: dict[str, str] = PLAIN, *more: str) -> "subprocess.Popen[str]":
        """Begin a command."""
        return subprocess.Popen(
            [sys.executable, str(FAKES), verb, *more],
            env=os.environ | self.settings | {"FAKE_SERVICES": json.dumps(services)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, verb: str, services: dict[str, str] = PLAIN, status: int = 0) -> str:
        """Run a command to its end; return what it wrote."""
        with self.begin(verb, services) as process:
            output, _ = process.communicate(timeout=30)
        assert process.returncode == status, output
        return output

    def processes(self) -> set[int]:
        """List the processes of the stack."""
        return {process.pid for process in marked(self.state, snapshot())}

    def all_ready(self) -> bool:
        """Ask whether every service is ready."""
        with self.begin("status") as process:
            process.communicate()
        return process.returncode == 0

    def pids(self) -> dict[str, int]:
        """Ask for the process id of each service."""
        lines = self.run("status").splitlines()[1:]
        return {words[0]: int(words[2]) for words in map(str.split, lines) if words[1] == "running"}


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    """Give commands for one stack; the path of its state folder is longer than a Unix socket's may be."""
    folder = Path(tempfile.mkdtemp(prefix="jld-test-", dir="/var/tmp")).resolve()
    folder.chmod(0o755)
    made = Commands(folder.joinpath(*["deep" * 10] * 3), free_ports(PORTS))
    yield made
    made.run("down")
    assert not made.processes()
    shutil.rmtree(folder)


@pytest.fixture
def stopped(commands: Commands) -> Commands:
    """Give a stack that does not run."""
    if (commands.state / "run").is_symlink():
        commands.run("down")
    return commands


@pytest.fixture
def running(commands: Commands) -> Commands:
    """Give a stack that runs."""
    commands.run("up")
    return commands


def until(check: Callable[[], Any], what: str) -> Any:
    """Wait until something is so, and return it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if result := check():
            return result
        time.sleep(0.02)
    raise AssertionError(f"not within 10 s: {what}")


def test_up_status_down(stopped: Commands) -> None:
    """A stack comes up part by part, is found running by the next call, and leaves nothing when it goes down."""
    output = stopped.run("up")
    assert "hub        ready after" in output
    assert "fileserver ready after" in output
    assert f"open http://localhost:{stopped.settings['EMBEDDED_PORT']}\n" in output
    assert "mallory   (will be refused)" in output
    before = stopped.pids()
    assert set(before) == set(PLAIN)

    begun = time.monotonic()
    assert "all parts are running" in stopped.run("up")
    assert time.monotonic() - begun < 3
    assert stopped.pids() == before

    run = (stopped.state / "run").readlink()
    assert stopped.run("down") == "all processes of the stack have ended\n"
    assert not stopped.processes()
    assert not run.exists()
    assert stopped.run("down") == "nothing runs\n"
    assert stopped.run("status", status=3).startswith("not running")


def test_refusing_service_is_shown(stopped: Commands) -> None:
    """A service that ends at the start is not tried again: its last line and status are shown, all else ends."""
    refusing = {**PLAIN, "hub": "print('begun'); print('jld_hub: X=1: right', flush=True); sys.exit(78)"}
    output = stopped.run("up", refusing, status=78)
    assert "jld_embedded: hub ended: jld_hub: X=1: right\n" in output
    assert not stopped.processes()
    assert not (stopped.state / "run").is_symlink()
    assert (stopped.state / "log/hub.log").read_text().count("begun") == 1


def test_failing_change_leaves_the_rest_running(running: Commands) -> None:
    """When a running stack gets a service that refuses, the error is shown and the other services go on."""
    before = running.pids()
    refusing = {**PLAIN, "hub": "print('jld_hub: X=1: right', flush=True); sys.exit(78)"}
    assert "hub ended: jld_hub: X=1: right" in running.run("up", refusing, status=78)
    table = running.run("status", status=3)
    assert f"fileserver  running  {before['fileserver']}" in table
    assert "exited" in table
    running.run("up")
    assert running.pids()["fileserver"] == before["fileserver"]


def test_only_what_changed_is_restarted(stopped: Commands) -> None:
    """A service whose program changed is started anew; another that went is stopped; the rest goes on."""
    three = {**PLAIN, "keepalive": ""}
    stopped.run("up", three)
    before = stopped.pids()
    output = stopped.run("up", {**PLAIN, "hub": "pass  # changed"})
    assert "changed or ended: hub, keepalive\n" in output
    after = stopped.pids()
    assert set(after) == set(PLAIN)
    assert after["fileserver"] == before["fileserver"]
    assert after["hub"] != before["hub"]


def test_killed_service_comes_back(running: Commands) -> None:
    """A service that is killed is started again without anybody's doing."""
    before = running.pids()["hub"]
    os.kill(before, signal.SIGKILL)
    until(running.all_ready, "the service is back")
    assert running.pids()["hub"] != before


def test_orphans_stay_in_the_stack(stopped: Commands) -> None:
    """A child that outlives its service goes on, as a child of supervisord, and ends with the stack."""
    lab = "import signal; signal.signal(signal.SIGTERM, signal.SIG_DFL); signal.pause()"
    spawn = (
        f"subprocess.Popen([sys.executable, '-c', {lab!r}], env={{'JUPYTERHUB_USER': 'alice'}}, start_new_session=True)"
    )
    stopped.run("up", {**PLAIN, "hub": spawn})
    labs = stopped.run("status", {**PLAIN, "hub": spawn}).splitlines()[-1]
    lab_pid = int(labs.removeprefix("labs: alice (").removesuffix(")"))
    supervisord = int((stopped.state / "run/supervisord.pid").read_text())
    os.kill(stopped.pids()["hub"], signal.SIGKILL)
    until(lambda: snapshot()[lab_pid].parent == supervisord, "the lab is supervisord's child")
    until(stopped.all_ready, "the service is back")
    stopped.run("down")
    assert lab_pid not in snapshot()


def test_next_up_clears_a_killed_start(running: Commands) -> None:
    """After supervisord was killed, what it left is shown, ended and started anew."""
    os.kill(int((running.state / "run/supervisord.pid").read_text()), signal.SIGKILL)
    until(lambda: len(running.processes()) == 2, "supervisord is gone")
    assert "2 processes are left of an earlier start" in running.run("status", status=3)
    output = running.run("up")
    assert "ended 2 processes that an earlier start had left" in output
    assert len(running.processes()) == 3


def test_two_at_once(stopped: Commands) -> None:
    """Of two calls at the same time one waits and finds all running."""
    with stopped.begin("up") as one, stopped.begin("up") as other:
        outputs = sorted([one.communicate(timeout=30)[0], other.communicate(timeout=30)[0]], key=len)
    assert (one.returncode, other.returncode) == (0, 0)
    assert sum("all parts are running" in output for output in outputs) == 1
    assert sum("waiting for it" in output for output in outputs) == 1


def test_busy_port_starts_nothing(stopped: Commands) -> None:
    """A busy port is found before anything starts: one line, EX_UNAVAILABLE, nothing left."""
    port = int(stopped.settings["EMBEDDED_PORT"]) + 2
    with socket.create_server(("127.0.0.1", port)):
        output = stopped.run("up", status=69)
    assert output.count("\n") == 1
    assert f"port {port} is in use by process {os.getpid()}" in output
    assert not (stopped.state / "run").is_symlink()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_up_leaves_nothing(stopped: Commands, number: signal.Signals) -> None:
    """When the command is told to go while it waits, what it has started ends."""
    with stopped.begin("up", {**PLAIN, "hub": "signal.pause()"}) as process:
        until(lambda: len(stopped.processes()) == 3, "all services have begun")
        process.send_signal(number)
        process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert not stopped.processes()


def test_callers_variables_do_not_leak(running: Commands) -> None:
    """Neither supervisord nor a service sees what the caller had in the environment."""
    running.settings["SOME_TOKEN"] = "secret"
    for pid in running.processes():
        assert set(environment(pid)) <= {"HOME", "TZ", "LANG", "LC_CTYPE", "PATH", "JLD_STATE"} | {
            name for name in environment(pid) if name.startswith("SUPERVISOR_")
        }


def test_logs_follow_the_collectors_file(running: Commands) -> None:
    """Without a broker, make logs shows an event as soon as the collector has written it to its file."""
    with running.begin("logs", PLAIN, "--service", "hub") as process:
        assert process.stdout
        event = {
            "@timestamp": datetime.now(UTC).isoformat(),
            "message": "serving",
            "log": {"file": {"path": "/hub.log"}},
        }
        with (running.state / "events.log").open("a") as file:
            file.write(f"{json.dumps(event)}\n")
        line = process.stdout.readline()
        process.terminate()
    assert line.startswith("hub")
    assert line.endswith("serving\n")
