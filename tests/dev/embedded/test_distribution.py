"""Installing from the distribution: when it happens, what is kept off, and what is said when it fails."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from stack import CHECKOUT

from dev import distribution

TOOL = """#!/bin/sh
echo "$(basename "$0") $*" >> "$TOOL_LOG"
{body}
"""

APT = """
test -x "$POLICY" && "$POLICY" nginx start; echo "policy $?" >> "$TOOL_LOG"
case "$*" in *install*)
    test -z "$SIGNAL" || { kill -"$SIGNAL" "$CALLER"; exec tail -f /dev/null; }
    echo "E: Unable to fetch" >&2; test -z "$APT_FAILS" || exit 100
    touch "$TOOL_LOG.installed";;
esac
"""

DPKG = """
case "$*" in
    *--listfiles*) printf '%s\\n' /usr/sbin/nginx /lib/systemd/system/nginx.service /lib/systemd/system/notes.txt \\
        /usr/lib/systemd/system/epmd.socket /etc/init.d/nginx /etc/init.d;;
    *) echo "ii  bash"; test ! -e "$TOOL_LOG.installed" || echo "ii  nginx";;
esac
"""

Run = Callable[..., str]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Name the file that has the calls of all tools."""
    return tmp_path / "calls"


@pytest.fixture
def run(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Run it as root on a machine whose tools write down how they are called."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, body in {"apt-get": APT, "dpkg-query": DPKG, "update-rc.d": ""}.items():
        (tools / name).write_text(TOOL.format(body=body))
        (tools / name).chmod(0o755)
    log.touch()
    for link in ("multi-user.target.wants/nginx.service", "sockets.target.wants/epmd.socket"):
        (tmp_path / link).parent.mkdir()
        (tmp_path / link).symlink_to("/nowhere")
    (tmp_path / "multi-user.target.wants/cron.service").symlink_to("/nowhere")
    monkeypatch.setattr(distribution, "ENABLED", tmp_path)
    policy = tmp_path / "policy-rc.d"
    monkeypatch.setattr(distribution, "POLICY", policy)
    monkeypatch.setattr(distribution, "missing", lambda: ["nginx", "rabbitmq-server"])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setenv("TOOL_LOG", str(log))
    monkeypatch.setenv("POLICY", str(policy))
    monkeypatch.setenv("APT_FAILS", "")
    monkeypatch.setenv("SIGNAL", "")
    monkeypatch.delenv("NO_APT", raising=False)

    def install(status: int = 0, **variables: str) -> str:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert distribution.main() == status
        return capfd.readouterr().out

    yield install
    os.environ.pop("DEBIAN_FRONTEND", None)


def test_installs_without_starting_or_enabling(run: Run, log: Path) -> None:
    """Both packages are installed, told in a line; services neither start meanwhile nor with the machine."""
    output = run()
    assert output.startswith(
        "nginx, rabbitmq-server from the distribution, their own services off (NO_APT=1 forbids it) ..."
    )
    calls = log.read_text().splitlines()
    assert any("install --yes --no-install-recommends nginx rabbitmq-server" in call for call in calls)
    assert "policy 101" in calls
    assert [call for call in calls if call.startswith("update-rc.d")] == ["update-rc.d nginx disable"]
    assert sorted(link.name for link in distribution.ENABLED.glob("*.wants/*")) == ["cron.service"]
    assert not distribution.POLICY.exists()


@pytest.mark.parametrize("when", ["forbidden", "no root", "there"])
def test_leaves_the_machine_alone(run: Run, log: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    """Nothing is called and nothing said where NO_APT is set, an ordinary user asks, or both programs are there."""
    if when == "no root":
        monkeypatch.setattr(os, "geteuid", lambda: 1000)
    if when == "there":
        monkeypatch.setattr(distribution, "missing", list)
    assert run(NO_APT="1" if when == "forbidden" else "") == ""
    assert log.read_text() == ""


def test_failure_is_said_and_survived(run: Run) -> None:
    """Where nothing can be fetched a line says so, and make up goes on without."""
    assert "could not be installed: " in (output := run(APT_FAILS="1"))
    assert output.endswith("; going on without\n")
    assert not distribution.POLICY.exists()


def test_policy_of_the_machine_stays(run: Run, log: Path) -> None:
    """A policy of the machine that lets services start is not touched, and nothing is installed against it."""
    distribution.POLICY.write_text("#!/bin/sh\nexit 0\n")
    distribution.POLICY.chmod(0o755)
    assert "lets services start; going on without" in run()
    assert "apt-get" not in log.read_text()
    assert distribution.POLICY.read_text() == "#!/bin/sh\nexit 0\n"


def test_leftover_of_a_killed_run_goes(run: Run) -> None:
    """A policy that a run left when it was killed with -9 is known again, and removed."""
    distribution.POLICY.write_text(distribution.NOTHING)
    distribution.POLICY.chmod(0o755)
    assert "could not" not in run()
    assert not distribution.POLICY.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_interrupted(run: Run, number: signal.Signals) -> None:
    """Where it is ended in the middle, or the terminal closed, the policy is gone all the same."""
    assert "interrupted" in run(130, SIGNAL=str(int(number)), CALLER=str(os.getpid()))
    assert not distribution.POLICY.exists()


def test_runs_on_any_python() -> None:
    """It is started before anything is installed, with the standard library only."""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", "import sys; sys.path.insert(0, '.'); import dev.distribution"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
