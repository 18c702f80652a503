"""Which files are found, and what their paths tell."""

import os
from pathlib import Path

import pytest
from jld_filebeat.inputs import Input, base, describe, find


def test_first_input_wins(logs: Path) -> None:
    """A file has the format of the first input that matches it."""
    (logs / "a.log").touch()
    (logs / "b.txt").touch()
    inputs = [Input("cri", f"{logs}/*.log"), Input("plain", f"{logs}/*")]
    assert find(inputs).files == {f"{logs}/a.log": "cri", f"{logs}/b.txt": "plain"}


@pytest.mark.parametrize(
    ("name", "is_found"),
    [
        ("0.log", True),
        ("0.log.20260102-030405", True),
        ("0.log.20260102-030405.gz", True),
        ("0.log.20260102-030405.tmp", False),
        (".0.log", False),
        ("0.txt", False),
        ("deep/0.log", False),
    ],
)
def test_names(logs: Path, name: str, is_found: bool) -> None:
    """Rotated files are found, compressed ones too, and those being compressed are not; a hint agrees with a scan."""
    pod = logs / "ns_pod_uid" / "notebook"
    (pod / name).parent.mkdir(parents=True)
    (pod / name).touch()
    wanted = Input("cri", f"{logs}/*/*/*.log*")
    assert list(find([wanted]).files) == ([str(pod / name)] if is_found else [])
    assert wanted.matches(str(pod / name)) is is_found


def test_file_that_is_being_compressed(logs: Path) -> None:
    """As long as a rotated file is there, what it is being compressed to is not looked at."""
    for name in ("0.log", "0.log.1", "0.log.1.gz", "0.log.2.gz"):
        (logs / name).touch()
    found = find([Input("plain", f"{logs}/*.log*")])
    assert list(found.files) == [f"{logs}/{name}" for name in ("0.log", "0.log.1", "0.log.2.gz")]


def test_folders(logs: Path) -> None:
    """The folders that matter are those in which a match could come up."""
    (logs / "ns_pod_uid" / "notebook").mkdir(parents=True)
    (logs / "file").touch()
    found = find([Input("cri", f"{logs}/*/*/*.log*")])
    assert {str(logs), f"{logs}/ns_pod_uid", f"{logs}/ns_pod_uid/notebook"} <= found.folders


def test_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    """A folder that does not exist is no error."""
    found = find([Input("plain", f"{tmp_path}/later/*.log")])
    assert found.files == {}
    assert str(tmp_path) in found.folders


@pytest.mark.parametrize(
    ("path", "original"),
    [
        ("/x/0.log", "/x/0.log"),
        ("/x/0.log.20260102-030405", "/x/0.log"),
        ("/x/c-json.log.1", "/x/c-json.log"),
        ("/x/app.log-20260102", "/x/app.log"),
        ("/x/app.txt", "/x/app.txt"),
        ("/x.log/app", "/x.log/app"),
    ],
)
def test_base(path: str, original: str) -> None:
    """A rotated file is recognised by its name."""
    assert base(path) == original


@pytest.fixture
def config(logs: Path) -> Path:
    """Give the path of what Docker writes about a container."""
    folder = logs / ("a" * 64)
    folder.mkdir()
    return folder / "config.v2.json"


@pytest.mark.parametrize("text", ['{"Name":' + "[" * 200_000, '{"Name":"/web","x":"%s"}' % (2**20 * "x")], ids=len)
def test_harmful_name_of_container(config: Path, text: str) -> None:
    """A file that only somebody else than Docker would write does no harm."""
    config.write_text(text)
    assert describe(f"{config.parent}/x-json.log", "docker", "node")["container"] == {"id": "a" * 64}


def test_name_of_container_in_a_pipe(config: Path) -> None:
    """What is not even a file is not waited for."""
    os.mkfifo(config)
    assert describe(f"{config.parent}/x-json.log", "docker", "node")["container"] == {"id": "a" * 64}
