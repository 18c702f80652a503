"""Settings of the stack: the environment wins over the file, and a bad one is named."""

from pathlib import Path

import pytest
from jld_embedded import settings
from jld_embedded.errors import BadSettingError


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name an empty file of settings."""
    for name in ("EMBEDDED_PORT", "EMBEDDED_STATE", "LAB_CPU_LIMIT"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "env"
    file.touch()
    monkeypatch.setenv("EMBEDDED_ENV_FILE", str(file))
    return file


def test_environment_wins_over_the_file(env_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is in both has the environment's value, also when that is empty."""
    env_file.write_text("EMBEDDED_PORT=9000\nLAB_CPU_LIMIT=2\nGITHUB_ORGANIZATION_WHITELIST=lsst\n")
    assert settings.load()[0].port == 9000
    monkeypatch.setenv("EMBEDDED_PORT", "9100")
    monkeypatch.setenv("GITHUB_ORGANIZATION_WHITELIST", "")
    own, user = settings.load()
    assert own.port == 9100
    assert user["LAB_CPU_LIMIT"] == "2"
    assert user["GITHUB_ORGANIZATION_WHITELIST"] == ""


@pytest.mark.parametrize("value", ["0", "65521", "many", "-1"])
@pytest.mark.usefixtures("env_file")
def test_bad_port_is_named(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A port that cannot be one ends the start with the variable, the value and what would be right."""
    monkeypatch.setenv("EMBEDDED_PORT", value)
    with pytest.raises(BadSettingError, match=f"^EMBEDDED_PORT={value}: a number from 1 to 65520$") as error:
        settings.load()
    assert error.value.status == 78


def test_missing_file_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of settings that was named but is not there is an error, not an empty file."""
    monkeypatch.setenv("EMBEDDED_ENV_FILE", "/nowhere/env")
    with pytest.raises(BadSettingError, match=r"^EMBEDDED_ENV_FILE=/nowhere/env: "):
        settings.load()


@pytest.mark.parametrize("content", [b"LAB_CPU_LIMIT=\xff\n", b"LAB_CPU_LIMIT=\0\n"])
def test_file_that_is_no_text_is_named(env_file: Path, content: bytes) -> None:
    """A file of settings that holds other bytes than text ends the start in a line that names it."""
    env_file.write_bytes(content)
    with pytest.raises(BadSettingError, match=f"^EMBEDDED_ENV_FILE={env_file}: a text"):
        settings.load()


def test_dollars_are_plain(env_file: Path) -> None:
    """A value of the file is taken as it is written."""
    env_file.write_text("LAB_SELECTOR_TITLE='Costs $5 ${HOME}'\n")
    assert settings.load()[1]["LAB_SELECTOR_TITLE"] == "Costs $5 ${HOME}"


def test_file_is_made_once_and_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first start copies the example to a file that only its owner reads; the next one leaves it alone."""
    monkeypatch.delenv("EMBEDDED_ENV_FILE", raising=False)
    monkeypatch.setattr(settings, "CHECKOUT", tmp_path)
    (tmp_path / ".env.example").write_text("A=1\n")
    assert settings.make_env_file()
    made = tmp_path / ".env"
    assert made.stat().st_mode & 0o777 == 0o600
    made.write_text("A=2\n")
    assert not settings.make_env_file()
    assert made.read_text() == "A=2\n"


def test_unknown_names_are_told(env_file: Path) -> None:
    """A misspelt name in the file is listed; one that the example has, commented out or not, is not."""
    env_file.write_text("LAB_CPU_LIMITS=2\nLAB_CPU_LIMIT=2\nGITHUB_ORGANIZATION_WHITELIST=lsst\n")
    assert settings.unknown() == ["LAB_CPU_LIMITS"]
