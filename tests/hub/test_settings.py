"""The users' interface: names, defaults, forms, and the one line that a wrong value gets."""

from pathlib import Path

import pytest
from jld_hub.app import configure
from jld_hub.settings import EX_CONFIG, load

Environment = pytest.MonkeyPatch
Capture = pytest.CaptureFixture[str]


def test_defaults_are_the_seeds() -> None:
    """Unset variables take the defaults of the project's description."""
    settings = load()
    assert settings.lab_container_names == ["lsstsqre/jld-lab-py3"]
    assert settings.lab_selector_title == "Container Image Selector"
    assert (settings.lab_cpu_limit, settings.lab_mem_limit) == (1.0, 2 * 2**30)
    assert (settings.lab_cpu_guarantee, settings.lab_mem_guarantee) == (0.05, 256 * 2**20)


def test_an_empty_variable_counts_as_unset(environment: Environment) -> None:
    """A line `NAME=` in a file of variables leaves the default."""
    environment.setenv("LAB_CPU_LIMIT", "")
    assert load().lab_cpu_limit == 1.0


@pytest.mark.parametrize(("text", "cpus"), [("1", 1.0), ("0.2", 0.2), ("200m", 0.2), ("1500m", 1.5), (" 2 ", 2.0)])
def test_cpus(environment: Environment, text: str, cpus: float) -> None:
    """CPUs are read as Kubernetes writes them."""
    environment.setenv("LAB_CPU_LIMIT", text)
    assert load().lab_cpu_limit == cpus


@pytest.mark.parametrize(
    ("text", "size"), [("512M", 512 * 2**20), ("2G", 2**31), ("2Gi", 2**31), ("0.5G", 2**29), ("1048576", 2**20)]
)
def test_memory(environment: Environment, text: str, size: int) -> None:
    """Memory is in powers of two, with and without the i."""
    environment.setenv("LAB_MEM_LIMIT", text)
    assert load().lab_mem_limit == size


def test_organizations_are_lower_case_and_unique(environment: Environment) -> None:
    """Case does not matter in the whitelist."""
    environment.setenv("GITHUB_ORGANIZATION_WHITELIST", "LSST-SQRE, lsst ,lsst-sqre")
    assert load().github_organization_whitelist == ["lsst-sqre", "lsst"]


WRONG = [
    ("GITHUB_ORGANIZATION_WHITELIST", "", "must be set"),
    ("GITHUB_ORGANIZATION_WHITELIST", "lsst,", "one or more names"),
    ("GITHUB_ORGANIZATION_WHITELIST", "a/../b", "one or more names"),
    ("LAB_CPU_LIMIT", "lots", "a number of CPUs such as"),
    ("LAB_CPU_LIMIT", "0", "greater than 0"),
    ("LAB_CPU_LIMIT", "-1", "a number of CPUs"),
    ("LAB_CPU_LIMIT", "nan", "a number of CPUs"),
    ("LAB_MEM_LIMIT", "2Q", "an amount of memory"),
    ("LAB_MEM_LIMIT", "5i", "an amount of memory"),
    ("LAB_MEM_LIMIT", "0", "an amount of memory"),
    ("LAB_CONTAINER_NAMES", "a,a", "different image names"),
    ("LAB_CONTAINER_NAMES", "a b", "different image names"),
    ("LAB_CONTAINER_NAMES", "a;rm,b", "different image names"),
    ("LAB_CONTAINER_DESCS", "one,two", "at most 1"),
    ("LAB_MEM_GUARANTEE", "3G", "at most LAB_MEM_LIMIT"),
    ("HUB_PORT", "0", "greater than or equal to 1"),
    ("HUB_FILESERVER_URL", "fileserver:8083", "an address such as"),
    ("OAUTH_CALLBACK_URL", "https://hub.example.org/", "/hub/oauth_callback"),
    ("HUB_CULL_IDLE_SECONDS", "never", "valid integer"),
    ("HUB_SPAWNER", "docker9", "local"),
    ("HUB_DOCKER_URL", "/var/run/docker.sock", "unix:///var/run/docker.sock"),
    ("HUB_DOCKER_PROJECT", "My Stack", "lower-case letters"),
    ("HUB_DOCKER_NETWORKS", "10.213.0.0/29", "at least 16 addresses"),
    ("HUB_DOCKER_NETWORKS", "10.213.0.1/16", "such as 10.213.0.0/16"),
    ("HUB_DOCKER_NETWORKS", "8.0.0.0/8", "a private range"),
    ("HUB_GITHUB_CONNECT_URL", "github:8082", "an address such as"),
    ("HUB_PUBLIC_URL", "javascript:alert(1)", "an address such as"),
]


@pytest.mark.parametrize(("name", "value", "right"), WRONG)
def test_wrong_value_is_one_line(environment: Environment, capsys: Capture, name: str, value: str, right: str) -> None:
    """A wrong value ends the start with status 78 and one line: variable, value, what would be right."""
    environment.setenv(name, value)
    with pytest.raises(SystemExit) as stopped:
        load()
    line = capsys.readouterr().err
    assert stopped.value.code == EX_CONFIG
    assert line.count("\n") == 1
    assert line.startswith(f"jld_hub: {name}={value}: ")
    assert right in line


def test_a_wrong_secret_is_not_printed(environment: Environment, capsys: Capture) -> None:
    """The line about a wrong secret has stars in place of it."""
    environment.setenv("HUB_CRYPT_KEY", "hunter2")
    with pytest.raises(SystemExit):
        load()
    line = capsys.readouterr().err
    assert "HUB_CRYPT_KEY=***: 64 hexadecimal digits" in line
    assert "hunter2" not in line


def test_former_keys_decrypt(environment: Environment, capsys: Capture) -> None:
    """What was encrypted with a former key, behind the one in use, is still read; each key is checked."""
    new, former = "c" * 64, "b" * 64
    environment.setenv("HUB_CRYPT_KEY", f"{new};{former}")
    keys = configure(load()).CryptKeeper["keys"]
    assert keys == [bytes.fromhex(new), bytes.fromhex(former)]
    environment.setenv("HUB_CRYPT_KEY", f"{new};")
    with pytest.raises(SystemExit):
        load()
    assert "HUB_CRYPT_KEY=***: 64 hexadecimal digits" in capsys.readouterr().err


def test_secret_from_a_file(environment: Environment, tmp_path: Path) -> None:
    """NAME_FILE names a file with the secret; white space at its end does not count."""
    file = tmp_path / "secret"
    file.write_text("from-a-file\n")
    environment.delenv("GITHUB_CLIENT_SECRET")
    environment.setenv("GITHUB_CLIENT_SECRET_FILE", str(file))
    assert load().github_client_secret.get_secret_value() == "from-a-file"


def test_secret_twice(environment: Environment, tmp_path: Path, capsys: Capture) -> None:
    """A secret given both ways is refused, since one of them would be ignored."""
    environment.setenv("GITHUB_CLIENT_SECRET_FILE", str(tmp_path))
    with pytest.raises(SystemExit):
        load()
    assert "not both" in capsys.readouterr().err


def test_secret_file_missing(environment: Environment, tmp_path: Path, capsys: Capture) -> None:
    """A file that cannot be read is named."""
    environment.delenv("GITHUB_CLIENT_SECRET")
    environment.setenv("GITHUB_CLIENT_SECRET_FILE", str(tmp_path / "none"))
    with pytest.raises(SystemExit):
        load()
    assert f"GITHUB_CLIENT_SECRET_FILE={tmp_path}/none: a readable text file" in capsys.readouterr().err


def test_secrets_are_not_shown() -> None:
    """The settings can be logged whole."""
    assert "client-secret" not in repr(load())
