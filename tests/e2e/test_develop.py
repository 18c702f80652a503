"""`make up DEV=1`: what a developer changes runs at once."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest
from containers import LAB, ComposeStack, docker
from stack import CHECKOUT, until

pytestmark = [
    pytest.mark.root,
    pytest.mark.target("compose", reason="processes run the sources of the checkout anyway"),
]

SOURCES = CHECKOUT / "lab/jld_lab"

IMAGE = f"{LAB}:0.1.0"


class Watch:
    """A running `make up DEV=1`, whose lines are collected.

    Args:
        process: Which it is.
        sources: Where it finds the sources of labs, for a test to change.
    """

    def __init__(self, process: subprocess.Popen[str], sources: Path) -> None:
        self.sources = sources
        self._process = process
        self._lines: list[str] = []
        self._seen = 0
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        self._lines.extend(self._process.stdout)

    def says(self, text: str, seconds: float) -> str:
        """Wait for the next line that has a text."""

        def find() -> str:
            for number in range(self._seen, len(self._lines)):
                if text in self._lines[number]:
                    self._seen = number + 1
                    return self._lines[number]
            raise AssertionError("".join(self._lines[self._seen :]))

        return until(f"a line with {text!r}", find, seconds)

    def end(self) -> str:
        """Press Ctrl-C, and return the lines that nobody has waited for."""
        os.killpg(self._process.pid, signal.SIGINT)
        try:
            self._process.wait(timeout=30)
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._reader.join(10)
        return "".join(self._lines[self._seen :])


@pytest.fixture(scope="module")
def watch(own: ComposeStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    """Have `make up DEV=1` watch; Ctrl-C ends it, and `make up` takes it back.

    It sees a copy of the labs' sources in their place: what a test does to them leaves the checkout alone, however the
    test ends.
    """
    copy = tmp_path_factory.mktemp("sources") / SOURCES.name
    copytree(SOURCES, copy)
    seen_as = 'mount --bind "$1" "$2" && shift 2 && exec "$@"'
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", seen_as, "sh", copy, SOURCES, *own.command, "up"],
        cwd=CHECKOUT,
        env=own.environment | {"DEV": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        watching = Watch(process, copy)
        try:
            watching.says("watching the sources", seconds=180)
            yield watching
        finally:
            try:
                rest = watching.end()
            finally:
                own.make("up")
    assert not rest.strip(), "it ends without a word"
    assert not mounted(own, "hub")


def mounted(own: ComposeStack, service: str) -> set[str]:
    """Name the folders of the checkout that a service has mounted."""
    sources = {mount["Source"] for mount in own.container(service)["Mounts"]}
    return {source for source in sources if source.startswith(f"{CHECKOUT}/")}


def image() -> str:
    """Return the id of the image that the next lab has."""
    return docker("image", "inspect", "--format={{.Id}}", IMAGE).strip()


def test_changed_component_is_restarted(own: ComposeStack, watch: Watch) -> None:
    """Services run the sources of the checkout; those of a changed one are restarted, and nobody else."""
    assert mounted(own, "hub") == {f"{CHECKOUT}/hub/jld_hub"}
    before = own.starts()
    (CHECKOUT / "fileserver/jld_fileserver/folders.py").touch()
    line = watch.says("changed", seconds=60)
    assert line.startswith("jld_fileserver changed: fileserver, provisioner, keepalive renewed in ")
    after = own.starts()
    assert {name for name in after if after[name] != before[name]} == {"fileserver", "provisioner", "keepalive"}


def test_changed_lab_is_built(watch: Watch) -> None:
    """When the sources of labs change, their image is made anew, and has the change; taken back, it is the old one."""
    file = watch.sources / "names.py"
    before, text = image(), file.read_text()
    try:
        file.write_text(f"{text}# changed\n")
        assert watch.says("changed", seconds=120).startswith("jld_lab changed: the image of labs renewed in ")
        after = image()
        assert after != before
        shown = docker(
            *("run", "--rm", "--network=none", "--entrypoint=sh", IMAGE, "-c"),
            "tail -n 1 /opt/jld/lib/python3.13/site-packages/jld_lab/names.py",
        )
        assert shown == "# changed\n"
    finally:
        file.write_text(text)
        assert watch.says("changed", seconds=120).startswith("jld_lab changed: the image of labs renewed in ")
    assert image() == before
    docker("image", "rm", after)
