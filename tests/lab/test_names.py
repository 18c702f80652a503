"""Names for the member's numbers."""

import os
from pathlib import Path

import pytest
from jld_lab import names
from jld_lab.settings import Group

HOME = Path("/srv/home")


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """An image's own files of users and groups."""
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "passwd").write_text("root:x:0:0::/root:/bin/bash\nmail:x:8:8::/var/mail:/bin/sh\n")
    (folder / "group").write_text("root:x:0:\nstaff:x:50:\n")
    return folder


def test_entries(tmp_path: Path, etc: Path) -> None:
    """User and groups get a line each, with the member in the groups."""
    names.write(tmp_path, "alice", HOME, [Group("lsst", 3050001)], etc)
    uid, gid = os.geteuid(), os.getegid()
    assert (tmp_path / "passwd").read_text() == f"alice:x:{uid}:{gid}::{HOME}:/bin/bash\n"
    assert (tmp_path / "group").read_text() == f"alice:x:{gid}:\nlsst:x:3050001:alice\n"


def test_names_of_the_images(tmp_path: Path, etc: Path) -> None:
    """A name that the image has already gets a prefix and keeps its number."""
    names.write(tmp_path, "mail", HOME, [Group("staff", 3050001)], etc)
    assert (tmp_path / "passwd").read_text().startswith("github-mail:x:")
    assert "github-staff:x:3050001:github-mail\n" in (tmp_path / "group").read_text()


def test_again(tmp_path: Path, etc: Path) -> None:
    """The entries of an earlier start are replaced."""
    names.write(tmp_path, "alice", HOME, [Group("lsst", 3050001)], etc)
    names.write(tmp_path, "alice", HOME, [], etc)
    assert "lsst" not in (tmp_path / "group").read_text()


def test_nowhere_to_write(tmp_path: Path, etc: Path) -> None:
    """Where the folder is missing, nothing is written and nothing fails."""
    names.write(tmp_path / "missing", "alice", HOME, [], etc)
    assert not (tmp_path / "missing").exists()
