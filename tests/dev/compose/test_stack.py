"""What compose.yaml is told, and what services are given as files."""

import os
from pathlib import Path

import pytest
from jld_compose import engine
from jld_compose.settings import Settings, load
from jld_compose.stack import Stack
from jld_compose.state import State
from jld_embedded.errors import BadSettingError


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """Make a state folder; the engine is only asked where it is."""
    socket = tmp_path / "docker.sock"
    socket.touch()
    monkeypatch.setattr(engine, "engine_socket", lambda: socket)
    monkeypatch.setattr(engine, "root", lambda: "/var/lib/docker")
    made = State(tmp_path / "state")
    made.make()
    return made


def stack(state: State, **user: str) -> Stack:
    """Describe a stack with a user's variables, and keep what he gives."""
    made = Stack(Settings(state=state.root), state, user)
    made.keep_files()
    return made


def test_development(state: State) -> None:
    """Without an application and a broker of the user's, the stand-in and a broker are started."""
    made = stack(state)
    assert {"github", "nginx-github", "broker"} <= {*made.services}
    told = made.variables()
    assert told["GITHUB_URL"] == "https://localhost:8444"
    assert told["HUB_GITHUB_CONNECT_URL"] == "http://github:8082"
    assert told["OAUTH_CALLBACK_URL"] == "https://localhost:8443/hub/oauth_callback"
    assert told["RABBITMQ_TARGET_HOST"] == "broker"
    standin, client = state.secret("standin_client_secret"), state.secret("github_client_secret")
    assert standin.read_text() == client.read_text()


def test_real_github(state: State) -> None:
    """With an application of the user's there is no stand-in, and its secret is in a file, not in a variable."""
    made = stack(
        state, GITHUB_CLIENT_ID="Iv1.abc", GITHUB_CLIENT_SECRET="very secret", OAUTH_CALLBACK_URL="https://x/y"
    )
    assert not {"github", "nginx-github"} & {*made.services}
    assert state.secret("github_client_secret").read_text() == "very secret"
    assert made.variables()["OAUTH_CALLBACK_URL"] == "https://x/y"
    assert "HUB_GITHUB_CONNECT_URL" not in made.variables()


def test_real_github_without_secret(state: State) -> None:
    """An application without its secret is refused by name."""
    with pytest.raises(BadSettingError, match=r"^GITHUB_CLIENT_SECRET=: the secret of the application"):
        stack(state, GITHUB_CLIENT_ID="Iv1.abc")


def test_secret_twice(state: State) -> None:
    """A secret as a value and as a file is refused."""
    with pytest.raises(BadSettingError, match="set either this or GITHUB_CLIENT_SECRET, not both"):
        stack(state, GITHUB_CLIENT_ID="a", GITHUB_CLIENT_SECRET="b", GITHUB_CLIENT_SECRET_FILE="/c")


def test_own_broker(state: State, tmp_path: Path) -> None:
    """With a broker of the user's none is started, and the collector finds password and authority as files."""
    authority = tmp_path / "ca.pem"
    authority.write_text("a certificate")
    own = {"HOST": "mq.example.org", "PORT": "5671", "PASSWORD": "secret", "CA_FILE": str(authority)}
    made = stack(state, **{f"RABBITMQ_TARGET_{name}": value for name, value in own.items()})
    assert "broker" not in made.services
    told = made.variables()
    assert told["RABBITMQ_TARGET_HOST"] == "mq.example.org"
    assert told["RABBITMQ_TARGET_CA_FILE"] == "/run/secrets/broker_authority.pem"
    assert told["RABBITMQ_TARGET_CERTIFICATE_FILE"] == ""
    assert told["RABBITMQ_TARGET_PASSWORD_FILE"] == "/run/secrets/broker_password"
    assert state.secret("broker_password").read_text() == "secret"
    assert state.secret("broker_authority.pem").read_text() == "a certificate"


def test_file_that_is_not_there(state: State) -> None:
    """A file that a variable names and nobody can read is refused by the variable's name."""
    with pytest.raises(BadSettingError, match=r"^STANDIN_MEMBERS_FILE=/nowhere: a readable file \(No such file"):
        stack(state, STANDIN_MEMBERS_FILE="/nowhere")


def test_what_was_taken_back_is_forgotten(state: State) -> None:
    """A passphrase that is not set any more is not kept."""
    stack(state, STANDIN_PASSPHRASE="open sesame")
    assert state.secret("passphrase").exists()
    assert stack(state).variables()["STANDIN_PASSPHRASE_FILE"] == ""
    assert not state.secret("passphrase").exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [("COMPOSE_HTTPS_PORT", "http"), ("COMPOSE_GITHUB_PORT", "0"), ("COMPOSE_PROJECT_NAME", "Über uns")],
)
def test_wrong_setting(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """A setting that cannot be used is named with its value."""
    monkeypatch.setenv("EMBEDDED_ENV_FILE", os.devnull)
    monkeypatch.setenv(name, value)
    with pytest.raises(BadSettingError, match=f"^{name}={value}: ") as error:
        load()
    assert error.value.status == 78
