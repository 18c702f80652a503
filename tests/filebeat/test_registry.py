"""The registry: whole at any moment, one shipper's alone, and no reason to fail."""

import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from jld_filebeat.entry import Cut, Entry
from jld_filebeat.errors import BadSettingError, UnavailableError
from jld_filebeat.registry import Registry

ENTRY = Entry(
    id="0" * 32,
    device=1,
    inode=2,
    generation=None,
    path="/x/caf\udce9.log",
    format="cri",
    offset=3,
    done=3,
    head=3,
    digest="ab",
    previous=None,
    read=5,
    ends="cd",
    place="/x/caf\udce9.log.1",
    cuts=(Cut(3, has_parts=True), Cut(5, has_parts=False)),
)


def test_round_trip(tmp_path: Path) -> None:
    """What was written is read, odd paths too, and the folder is made."""
    with Registry(tmp_path / "deep" / "state") as registry:
        assert registry.read() == []
        registry.write([ENTRY])
        assert registry.read() == [ENTRY]


def test_written_aside_and_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new one is on disk before it takes the place of the old, and the folder is synced behind that."""
    steps: list[str] = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        steps.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")
        real_fsync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        steps.append(f"replace {target.name}")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    with Registry(tmp_path / "state") as registry:
        registry.write([ENTRY])
    assert steps == ["fsync registry.json.new", "replace registry.json", "fsync state"]


def test_of_an_earlier_version(tmp_path: Path) -> None:
    """A registry of a version that kept less of a file is read."""
    kept = {name: value for name, value in asdict(ENTRY).items() if name not in ("read", "ends", "cuts", "place")}
    (tmp_path / "registry.json").write_text(json.dumps({"files": [kept]}))
    with Registry(tmp_path) as registry:
        assert registry.read() == [replace(ENTRY, read=0, ends="", cuts=(), place="")]


def registry_of(**damage: object) -> bytes:
    """Give a registry of a version that wrote no checksum, in which an entry is damaged."""
    return json.dumps({"files": [asdict(ENTRY) | damage]}).encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"files": [{"id": "',
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"files": [{}]}',
        b'{"files": [{"id": 1}]}',
        b"null",
        pytest.param(b"[" * 200_000, id="deep"),
        pytest.param(b'{"files": ' + b"9" * 5000 + b"}", id="digits"),
        registry_of(head=10**30),
        registry_of(head=10**13),
        registry_of(head=-1),
        registry_of(offset=-5),
        registry_of(done=10**30),
        registry_of(read=-1),
        registry_of(cuts=[[10**30, True]]),
        registry_of(id="%s"),
        registry_of(previous='"'),
    ],
)
def test_damaged(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """A damaged registry is set aside, which the log says, and there are no entries."""
    (tmp_path / "registry.json").write_bytes(content)
    with Registry(tmp_path) as registry:
        assert registry.read() == []
    (aside,) = tmp_path.glob("registry.json.damaged-*")
    assert aside.read_bytes() == content
    assert not (tmp_path / "registry.json").exists()
    assert str(aside) in caplog.text


def test_damaged_within_a_number(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What is good JSON, and not what was written, is damaged too: a wrong offset would pass over lines."""
    with Registry(tmp_path) as registry:
        registry.write([ENTRY])
        content = registry.path.read_text()
        assert content.count('"offset": 3') == 1
        registry.path.write_text(content.replace('"offset": 3', '"offset": 4'))
        assert registry.read() == []
    assert "the registry is damaged" in caplog.text


def test_left_over(tmp_path: Path) -> None:
    """What a write that was killed left behind is no obstacle."""
    (tmp_path / "registry.json.new").write_text('{"files"')
    with Registry(tmp_path) as registry:
        assert registry.read() == []
        registry.write([ENTRY])
        assert registry.read() == [ENTRY]


def test_second_shipper(tmp_path: Path) -> None:
    """The state is one shipper's alone, and free again when that one has ended."""
    with (
        Registry(tmp_path),
        pytest.raises(UnavailableError, match=r"FILEBEAT_STATE_DIR=.*should be used by one shipper only"),
    ):
        Registry(tmp_path)
    with Registry(tmp_path):
        pass


def test_no_folder(tmp_path: Path) -> None:
    """A state folder that cannot be is refused."""
    (tmp_path / "file").touch()
    with pytest.raises(BadSettingError, match=r"FILEBEAT_STATE_DIR=.*should be a folder to write in \(Not a dir"):
        Registry(tmp_path / "file" / "state")


def test_unreadable(tmp_path: Path) -> None:
    """A registry that cannot be read is not taken for a damaged one."""
    (tmp_path / "registry.json").mkdir()
    with (
        Registry(tmp_path) as registry,
        pytest.raises(BadSettingError, match=r"FILEBEAT_STATE_DIR=.*should hold a registry .*\(Is a directory\)"),
    ):
        registry.read()
