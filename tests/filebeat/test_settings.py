"""How settings are read and refused."""

from pathlib import Path

import pytest
from jld_embedded.certificates import Authority, Pair
from jld_filebeat import tls
from jld_filebeat.errors import BadSettingError
from jld_filebeat.inputs import Input
from jld_filebeat.settings import Settings

FILES = ("FILEBEAT_CA_FILE", "FILEBEAT_CERTIFICATE_FILE", "FILEBEAT_KEY_FILE")


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, pair: Pair, authority: Authority) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    for variable, path in zip(FILES, (authority.certificate, *pair), strict=True):
        monkeypatch.setenv(variable, str(path))
    monkeypatch.setenv("FILEBEAT_INPUTS", "plain:/var/log/x/*.log*")


@pytest.fixture
def pair(authority: Authority) -> Pair:
    """Give the shipper's certificate and key."""
    return authority.issue("shipper")


def test_defaults() -> None:
    """An operator needs to tell the inputs and the certificates only."""
    settings = Settings.load()
    assert settings.shipper_name == "jupyterlabdemo"
    assert (settings.filebeat_collector_host, settings.filebeat_collector_port) == ("logstash", 5044)
    assert (settings.filebeat_host, settings.filebeat_port) == ("0.0.0.0", 8086)
    assert settings.filebeat_state_dir == Path("/var/lib/filebeat")
    assert settings.node
    tls.context(settings)


def test_inputs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs are formats and globs, in their order."""
    monkeypatch.setenv("FILEBEAT_INPUTS", "cri:/var/log/pods/*/*/*.log*, docker:/c/*/*-json.log*,plain:/x:y/a.log")
    assert Settings.load().filebeat_inputs == [
        Input("cri", "/var/log/pods/*/*/*.log*"),
        Input("docker", "/c/*/*-json.log*"),
        Input("plain", "/x:y/a.log"),
    ]


@pytest.mark.parametrize(
    ("variable", "value", "right"),
    [
        ("FILEBEAT_INPUTS", "", "required"),
        ("FILEBEAT_INPUTS", "/var/log/*.log", "not '/var/log/*.log'"),
        ("FILEBEAT_INPUTS", "json:/x/*.log", "plain, cri, docker"),
        ("FILEBEAT_INPUTS", "plain:x/*.log", "absolute glob"),
        ("FILEBEAT_INPUTS", "plain:/x/*.log,", "not ''"),
        ("FILEBEAT_INPUTS", "plain:/x/", "absolute glob"),
        ("SHIPPER_NAME", "é" * 128, "1 to 255 bytes"),
        ("FILEBEAT_STATE_DIR", "state", "absolute path"),
        ("FILEBEAT_COLLECTOR_PORT", "tcp://10.0.0.1:5044", "valid integer"),
        ("FILEBEAT_COLLECTOR_PORT", "0", "greater than or equal to 1"),
        ("FILEBEAT_COLLECTOR_HOST", "a..b", "should be a host name"),
        ("FILEBEAT_COLLECTOR_HOST", "x" * 64, "labels of 1 to 63 characters"),
        ("FILEBEAT_PORT", "65536", "less than or equal to 65535"),
        ("FILEBEAT_CA_FILE", "", "required"),
        ("FILEBEAT_KEY_FILE", "key.pem", "absolute path"),
    ],
)
def test_bad_value(monkeypatch: pytest.MonkeyPatch, variable: str, value: str, right: str) -> None:
    """A bad value is refused with its name, itself and what would be right."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(BadSettingError) as refusal:
        Settings.load()
    assert str(refusal.value).startswith(f"{variable}={value}: ")
    assert right in str(refusal.value)


def test_name_that_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name of bytes that are no UTF-8 is refused in one line that can be printed."""
    monkeypatch.setenv("SHIPPER_NAME", "\udcff\n")
    with pytest.raises(BadSettingError, match=r"\ASHIPPER_NAME='\\udcff\\n': should be UTF-8\Z"):
        Settings.load()


@pytest.mark.parametrize("variable", FILES)
@pytest.mark.parametrize(
    ("content", "right"), [(None, "No such file"), (b"\xff", "not text"), (b"nothing", "should be a PEM file")]
)
def test_bad_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, content: bytes | None, right: str
) -> None:
    """A file that is missing, binary or no PEM is named."""
    file = tmp_path / "file.pem"
    if content is not None:
        file.write_bytes(content)
    monkeypatch.setenv(variable, str(file))
    with pytest.raises(BadSettingError) as refusal:
        tls.context(Settings.load())
    assert str(refusal.value).startswith(f"{variable}={file}: ")
    assert right in str(refusal.value)


def test_damaged_authorities(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A file of authorities that only looks like one is named."""
    file = tmp_path / "ca.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    monkeypatch.setenv("FILEBEAT_CA_FILE", str(file))
    with pytest.raises(BadSettingError, match=r"FILEBEAT_CA_FILE=.*should hold PEM certificates"):
        tls.context(Settings.load())


def test_key_of_another_certificate(monkeypatch: pytest.MonkeyPatch, authority: Authority) -> None:
    """A key that is not the certificate's is named."""
    monkeypatch.setenv("FILEBEAT_KEY_FILE", str(authority.issue("other").key))
    with pytest.raises(BadSettingError, match=r"FILEBEAT_KEY_FILE=.*should be the key of .*shipper\.pem"):
        tls.context(Settings.load())
