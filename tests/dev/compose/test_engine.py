"""What is asked of docker and Compose, and what is said where they are not as they should be."""

from pathlib import Path

import pytest
from jld_compose.engine import EngineError, compose, docker, engine_socket
from jld_compose.logs import of_stack, whence


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a folder be all of PATH but the shell's own."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def write(program: Path, text: str) -> None:
    """Write a program of the shell."""
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


PLUGIN = '[ "$1" = compose ] && echo'


@pytest.mark.parametrize(
    ("plugin", "program", "taken"),
    [
        ("2.26.1-4", None, ["docker", "compose"]),
        ("v2.20.0", "1.29.2", ["docker", "compose"]),
        ("2.19.1", "2.24.5", ["docker-compose"]),
        (None, "2.20.3", ["docker-compose"]),
        ("5.0.1", None, ["docker", "compose"]),
    ],
)
def test_compose_under_either_name(programs: Path, plugin: str | None, program: str | None, taken: list[str]) -> None:
    """The first of the two names that is new enough is taken."""
    write(programs / "docker", f"{PLUGIN} {plugin}" if plugin else "exit 1")
    if program:
        write(programs / "docker-compose", f"echo {program}")
    assert compose() == taken


@pytest.mark.parametrize(
    ("plugin", "program", "said"),
    [
        (None, "1.29.2", "docker-compose is 1.29.2"),
        ("2.19.1", None, "docker compose is 2.19.1"),
        ("2.3.0", "1.25.0", "docker compose is 2.3.0 and docker-compose is 1.25.0"),
        (None, None, "there is none"),
    ],
)
def test_old_compose_is_refused(programs: Path, plugin: str | None, program: str | None, said: str) -> None:
    """An old Compose, version 1 above all, is refused in a line that says what is there and what to do."""
    write(programs / "docker", f"{PLUGIN} {plugin}" if plugin else "exit 1")
    if program:
        write(programs / "docker-compose", f"echo {program}")
    with pytest.raises(EngineError) as error:
        compose()
    assert str(error.value).startswith(f"Compose 2.20 or newer is needed; {said}: ")
    assert "RUN=embedded" in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.status == 69


def test_no_docker(programs: Path) -> None:
    """Without docker, a line says so."""
    assert not list(programs.iterdir())
    with pytest.raises(EngineError, match="docker is not on PATH"):
        docker("ps")


def test_last_line_of_a_failure(programs: Path) -> None:
    """What docker says at last is the error."""
    write(programs / "docker", "echo one >&2; echo 'no such thing' >&2; exit 1")
    with pytest.raises(EngineError, match=r"^docker inspect: no such thing$"):
        docker("inspect", "x")


def test_engine_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine on another machine is refused: homes are folders of this one."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://198.51.100.2:2375")
    with pytest.raises(EngineError, match=r"tcp://198\.51\.100\.2:2375: one on this machine"):
        engine_socket()
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/user/1000/docker.sock")
    assert engine_socket() == Path("/run/user/1000/docker.sock")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("demo-hub-1", ("hub", None)),
        ("demo-nginx-github-1", ("nginx-github", None)),
        ("demo-lab-alice", ("lab", "alice")),
        ("demo-lab-a-b-1", ("lab", "a-b-1")),
    ],
)
def test_whence(name: str, told: tuple[str, str | None]) -> None:
    """An event's service and member follow from its container's name."""
    assert whence("demo")({"container": {"name": name}}) == told


def test_events_of_others() -> None:
    """Of all containers' events only those of the stack are shown."""
    names = ("demo-hub-1", "demo-lab-alice", "demonstration-hub-1", "other")
    arriving = ({"container": {"name": name}} for name in names)
    assert [event["container"]["name"] for event in of_stack("demo", arriving)] == ["demo-hub-1", "demo-lab-alice"]
    assert not list(of_stack("demo", (event for event in ({"message": "x"}, {"container": "demo-hub-1"}))))
