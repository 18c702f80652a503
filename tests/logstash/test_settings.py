"""How settings are read and refused."""

from pathlib import Path
from typing import Any

import pytest
from jld_logstash.errors import BadSettingError
from jld_logstash.settings import Settings

FILES = {
    "LOGSTASH_CA_FILE": "/ca.pem",
    "LOGSTASH_CERTIFICATE_FILE": "/logstash.pem",
    "LOGSTASH_KEY_FILE": "/logstash.key",
}
TO_FILE = FILES | {"LOGSTASH_EVENTS_FILE": "/events"}
TO_BROKER = FILES | {
    "RABBITMQ_TARGET_HOST": "broker",
    "RABBITMQ_TARGET_USER": "logstash",
    "RABBITMQ_TARGET_PASSWORD": "secret",
}


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give a function that loads the settings from variables and nothing else."""
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
        monkeypatch.delenv(f"{field.upper()}_FILE", raising=False)

    def with_variables(variables: dict[str, str]) -> Settings:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return Settings.load()

    return with_variables


def test_defaults(load: Any) -> None:
    """With a broker, a login and certificates all else has a default."""
    settings = load(TO_BROKER)
    assert settings.shipper_name == "jupyterlabdemo"
    assert (settings.rabbitmq_target_port, settings.rabbitmq_target_vhost) == (5671, "/")
    assert settings.rabbitmq_target_tls
    assert (settings.logstash_host, settings.logstash_port, settings.logstash_beats_port) == ("0.0.0.0", 8087, 5044)
    assert settings.logstash_spool_dir == Path("/var/spool/logstash")
    assert settings.logstash_spool_limit == 2**30
    assert settings.logstash_shippers is settings.rabbitmq_target_queue is None
    assert (settings.rabbitmq_target_queue_type, settings.rabbitmq_target_events_per_message) == ("quorum", 1)


def test_names(load: Any) -> None:
    """Names are separated by commas, with blanks or without."""
    assert load(TO_FILE | {"LOGSTASH_SHIPPERS": "node-1, node-2"}).logstash_shippers == ["node-1", "node-2"]


@pytest.mark.parametrize("host", ["a", "a-1.b_2.", "a" * 63, "bücher.example", "192.0.2.1", "2001:db8::1"])
def test_hosts(load: Any, host: str) -> None:
    """A broker has a name, perhaps one that is not ASCII, or an address."""
    assert load(TO_BROKER | {"RABBITMQ_TARGET_HOST": host}).rabbitmq_target_host == host


def test_port_follows_tls(load: Any) -> None:
    """Without TLS the broker's port is another, unless it is told."""
    assert load(TO_BROKER | {"RABBITMQ_TARGET_TLS": "false"}).rabbitmq_target_port == 5672
    assert load(TO_BROKER | {"RABBITMQ_TARGET_PORT": "5673"}).rabbitmq_target_port == 5673


@pytest.mark.parametrize(
    ("text", "size"), [("512M", 2**29), ("1G", 2**30), ("2Gi", 2**31), ("1.5G", 3 * 2**29), ("33554432", 2**25)]
)
def test_sizes(load: Any, text: str, size: int) -> None:
    """Sizes have units in powers of two."""
    assert load(TO_FILE | {"LOGSTASH_SPOOL_LIMIT": text}).logstash_spool_limit == size


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        (FILES, "RABBITMQ_TARGET_HOST=: required, or LOGSTASH_EVENTS_FILE instead"),
        (
            TO_BROKER | {"LOGSTASH_EVENTS_FILE": "/events"},
            "LOGSTASH_EVENTS_FILE=/events: should be unset, as RABBITMQ_TARGET_HOST is set",
        ),
        (TO_BROKER | {"RABBITMQ_TARGET_USER": ""}, "RABBITMQ_TARGET_USER=: required with RABBITMQ_TARGET_HOST"),
        (TO_BROKER | {"RABBITMQ_TARGET_PASSWORD": ""}, "RABBITMQ_TARGET_PASSWORD=: required with RABBITMQ_TARGET_HOST"),
        (TO_BROKER | {"RABBITMQ_TARGET_PORT": "0"}, "RABBITMQ_TARGET_PORT=0: should be greater than or equal to 1"),
        (TO_BROKER | {"RABBITMQ_TARGET_TLS": "maybe"}, "RABBITMQ_TARGET_TLS=maybe: should be a valid boolean"),
        (
            TO_BROKER | {"RABBITMQ_TARGET_TLS": "false", "RABBITMQ_TARGET_CA_FILE": "/ca.pem"},
            "RABBITMQ_TARGET_CA_FILE=/ca.pem: needs RABBITMQ_TARGET_TLS=true",
        ),
        (
            TO_BROKER | {"RABBITMQ_TARGET_KEY_FILE": "/key"},
            "RABBITMQ_TARGET_CERTIFICATE_FILE=: required with RABBITMQ_TARGET_KEY_FILE",
        ),
        (
            TO_BROKER | {"RABBITMQ_TARGET_CERTIFICATE_FILE": "/pem"},
            "RABBITMQ_TARGET_KEY_FILE=: required with RABBITMQ_TARGET_CERTIFICATE_FILE",
        ),
        *(
            (
                TO_BROKER | {"RABBITMQ_TARGET_HOST": host},
                f"RABBITMQ_TARGET_HOST={host}: should be the name of a host, or an IP address",
            )
            for host in ("a..b", ".", "a" * 64, "ü" * 64, "a." * 128, "amqp://broker", "broker:5671", "[::1]", "a b")
        ),
        (TO_FILE | {"LOGSTASH_CA_FILE": ""}, "LOGSTASH_CA_FILE=: required"),
        (TO_FILE | {"LOGSTASH_EVENTS_FILE": "events"}, "LOGSTASH_EVENTS_FILE=events: should be an absolute path"),
        (
            TO_FILE | {"LOGSTASH_PORT": "tcp://10.0.0.1:8087"},
            "LOGSTASH_PORT=tcp://10.0.0.1:8087: should be a valid int",
        ),
        (
            TO_FILE | {"LOGSTASH_BEATS_PORT": "65536"},
            "LOGSTASH_BEATS_PORT=65536: should be less than or equal to 65535",
        ),
        (TO_FILE | {"LOGSTASH_SPOOL_LIMIT": "lots"}, "LOGSTASH_SPOOL_LIMIT=lots: should be an amount such as 512M"),
        (TO_FILE | {"LOGSTASH_SPOOL_LIMIT": "31M"}, "LOGSTASH_SPOOL_LIMIT=31M: should be an amount such as 512M"),
        (TO_FILE | {"SHIPPER_NAME": "ü" * 128}, f"SHIPPER_NAME={'ü' * 128}: should have 1 to 255 bytes"),
        (TO_FILE | {"LOGSTASH_SHIPPERS": "a,,b"}, "LOGSTASH_SHIPPERS=a,,b: should be names, separated by commas"),
        (TO_BROKER | {"RABBITMQ_TARGET_QUEUE": "q" * 256}, f"RABBITMQ_TARGET_QUEUE={'q' * 256}: should have 1 to 255"),
        (
            TO_BROKER | {"RABBITMQ_TARGET_QUEUE_TYPE": "lazy"},
            "RABBITMQ_TARGET_QUEUE_TYPE=lazy: should be 'quorum', 'classic' or 'stream'",
        ),
        (
            TO_BROKER | {"RABBITMQ_TARGET_EVENTS_PER_MESSAGE": "0"},
            "RABBITMQ_TARGET_EVENTS_PER_MESSAGE=0: should be greater than or equal to 1",
        ),
        (TO_FILE | {"LOGSTASH_PORT": "1\n2"}, "LOGSTASH_PORT='1\\n2': should be a valid integer"),
    ],
)
def test_bad_value(load: Any, variables: dict[str, str], line: str) -> None:
    """A bad value is refused with its name, itself and what would be right."""
    with pytest.raises(BadSettingError) as refusal:
        load(variables)
    assert str(refusal.value).startswith(line)
    assert "\n" not in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_password_from_file(load: Any, tmp_path: Path) -> None:
    """The password can come as a file, whose last line break does not count."""
    file = tmp_path / "password"
    file.write_text("from a file \n")
    settings = load(TO_BROKER | {"RABBITMQ_TARGET_PASSWORD": "", "RABBITMQ_TARGET_PASSWORD_FILE": str(file)})
    assert settings.rabbitmq_target_password.get_secret_value() == "from a file "


def test_password_twice(load: Any) -> None:
    """A password given both ways is refused, as one of them would be ignored."""
    with pytest.raises(BadSettingError, match="RABBITMQ_TARGET_PASSWORD_FILE=/password: should be unset"):
        load(TO_BROKER | {"RABBITMQ_TARGET_PASSWORD_FILE": "/password"})


@pytest.mark.parametrize(("content", "right"), [(None, "No such file"), (b"\xff", "not text"), (b"\n", "not empty")])
def test_bad_password_file(load: Any, tmp_path: Path, content: bytes | None, right: str) -> None:
    """A password file that is missing, binary or empty is named."""
    file = tmp_path / "password"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BadSettingError) as refusal:
        load(TO_BROKER | {"RABBITMQ_TARGET_PASSWORD": "", "RABBITMQ_TARGET_PASSWORD_FILE": str(file)})
    assert str(refusal.value).startswith(f"RABBITMQ_TARGET_PASSWORD_FILE={file}: should be a file")
    assert right in str(refusal.value)
