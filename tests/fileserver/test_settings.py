"""How settings are read and refused."""

from pathlib import Path

import pytest
from jld_fileserver.errors import BadSettingError
from jld_fileserver.settings import KeepaliveSettings, ProvisionerSettings, ServerSettings, Settings

TOKEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for settings in (ServerSettings, ProvisionerSettings, KeepaliveSettings):
        for field in settings.model_fields:
            monkeypatch.delenv(field.upper(), raising=False)
            monkeypatch.delenv(f"{field.upper()}_FILE", raising=False)


def test_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers need to be told the token only."""
    monkeypatch.setenv("FILESERVER_TOKEN", TOKEN)
    settings = ProvisionerSettings.load()
    assert (settings.fileserver_host, settings.fileserver_port) == ("0.0.0.0", 8083)
    assert settings.fileserver_export == Path("/export")
    keepalive = KeepaliveSettings.load()
    assert (keepalive.keepalive_host, keepalive.keepalive_port) == ("0.0.0.0", 8084)
    assert keepalive.keepalive_path == Path("/keepalive")
    assert (keepalive.keepalive_interval, keepalive.keepalive_timeout) == (60, 30)


def test_age_follows_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Health tolerates three intervals unless told otherwise."""
    monkeypatch.setenv("KEEPALIVE_INTERVAL", "5")
    assert KeepaliveSettings.load().keepalive_max_age == 15
    monkeypatch.setenv("KEEPALIVE_MAX_AGE", "7")
    assert KeepaliveSettings.load().keepalive_max_age == 7


def test_empty_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that compose passes on empty counts as not given."""
    monkeypatch.setenv("KEEPALIVE_INTERVAL", "")
    assert KeepaliveSettings.load().keepalive_interval == 60


@pytest.mark.parametrize(
    ("settings", "variable", "value", "right"),
    [
        (ProvisionerSettings, "FILESERVER_TOKEN", "", "required"),
        (ProvisionerSettings, "FILESERVER_PORT", "tcp://10.0.0.1:8083", "valid integer"),
        (ProvisionerSettings, "FILESERVER_PORT", "65536", "less than or equal to 65535"),
        (ProvisionerSettings, "FILESERVER_EXPORT", "export", "absolute path"),
        (KeepaliveSettings, "KEEPALIVE_PATH", "keepalive", "absolute path"),
        (KeepaliveSettings, "KEEPALIVE_INTERVAL", "0", "greater than 0"),
        (KeepaliveSettings, "KEEPALIVE_INTERVAL", "inf", "finite"),
        (KeepaliveSettings, "KEEPALIVE_TIMEOUT", "-1", "greater than 0"),
        (KeepaliveSettings, "KEEPALIVE_TIMEOUT", "soon", "valid number"),
        (KeepaliveSettings, "KEEPALIVE_MAX_AGE", "60", "above KEEPALIVE_INTERVAL (60)"),
    ],
)
def test_bad_value(
    monkeypatch: pytest.MonkeyPatch, settings: type[Settings], variable: str, value: str, right: str
) -> None:
    """A bad value is refused with its name, itself and what would be right."""
    monkeypatch.setenv("FILESERVER_TOKEN", TOKEN)
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadSettingError) as refusal:
        settings.load()
    assert str(refusal.value).startswith(f"{variable}={value}: ")
    assert right in str(refusal.value)


@pytest.mark.parametrize("token", ["fifteen-letters", "sixteen letters!", "schlüssel-schlüssel"])
def test_bad_token(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """A token that is short, or that no header can carry, is refused without being shown."""
    monkeypatch.setenv("FILESERVER_TOKEN", token)
    with pytest.raises(BadSettingError) as refusal:
        ProvisionerSettings.load()
    assert str(refusal.value).startswith("FILESERVER_TOKEN=(hidden): should be at least 16")
    assert token not in str(refusal.value)


def test_value_with_line_break(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value of two lines is still refused with one."""
    monkeypatch.setenv("KEEPALIVE_INTERVAL", "6\n7")
    with pytest.raises(BadSettingError, match=r"\AKEEPALIVE_INTERVAL='6\\n7': [^\n]*\Z"):
        KeepaliveSettings.load()


def test_token_from_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The token can come as a file, whose last line break does not count."""
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    monkeypatch.setenv("FILESERVER_TOKEN_FILE", str(file))
    assert ProvisionerSettings.load().fileserver_token.get_secret_value() == TOKEN


def test_token_twice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A token given both ways is refused, as one of them would be ignored."""
    monkeypatch.setenv("FILESERVER_TOKEN", TOKEN)
    monkeypatch.setenv("FILESERVER_TOKEN_FILE", str(tmp_path / "token"))
    with pytest.raises(BadSettingError, match=r"FILESERVER_TOKEN_FILE=.*should be unset"):
        ProvisionerSettings.load()


@pytest.mark.parametrize(("content", "right"), [(None, "No such file"), (b"\xff", "not text"), (b"short", "16")])
def test_bad_token_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, right: str) -> None:
    """A token file that is missing, binary or holds no token is named."""
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv("FILESERVER_TOKEN_FILE", str(file))
    with pytest.raises(BadSettingError) as refusal:
        ProvisionerSettings.load()
    assert str(refusal.value).startswith(f"FILESERVER_TOKEN_FILE={file}: ")
    assert right in str(refusal.value)


@pytest.mark.parametrize(
    ("variable", "value", "right"),
    [
        ("FILESERVER_NFS_HOST", "fileserver", "should be an IP address to listen on"),
        ("FILESERVER_NFS_PORT", "0", "should be greater than or equal to 1"),
        ("FILESERVER_EXPORT", '/a"b', "should be an absolute path of letters, digits and any of ._@/-"),
        ("FILESERVER_STATE_DIR", "state", "should be an absolute path of letters, digits and any of ._@/-"),
        (
            "FILESERVER_STATE_DIR",
            "/export/s",
            "should not be below FILESERVER_EXPORT (/export), where members reach it",
        ),
    ],
)
def test_server(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, right: str) -> None:
    """What Ganesha could not be told, or would show to members, is refused."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadSettingError) as refusal:
        ServerSettings.load()
    assert str(refusal.value) == f"{variable}={value}: {right}"
