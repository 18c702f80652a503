"""`make up DEV=1`: what a developer changes runs at once."""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest
from containers import ComposeStack
from stack import CHECKOUT

pytestmark = pytest.mark.target("compose", reason="processes run the sources of the checkout anyway")


@pytest.fixture(scope="module")
def printed(own: ComposeStack) -> Iterator[Iterator[str]]:
    """Give the lines of `make up DEV=1`, from where it watches on; Ctrl-C ends it, and `make up` takes it back."""
    command = [*own.command, "up"]
    with subprocess.Popen(
        command,
        cwd=CHECKOUT,
        env=own.environment | {"DEV": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as watching:
        assert watching.stdout
        try:
            assert any("watching the sources" in line for line in watching.stdout)
            yield watching.stdout
        finally:
            os.killpg(watching.pid, signal.SIGINT)
            rest, _ = watching.communicate()
    assert not rest.strip(), "it ends without a word"
    own.make("up")
    assert not mounted(own, "hub")


def mounted(own: ComposeStack, service: str) -> set[str]:
    """Name the folders of the checkout that a service has mounted."""
    sources = {mount["Source"] for mount in own.container(service)["Mounts"]}
    return {source for source in sources if source.startswith(f"{CHECKOUT}/")}


def starts(own: ComposeStack) -> dict[str, str]:
    """Tell since when each service runs."""
    return {name: one["State"]["StartedAt"] for name, one in own.services().items()}


def test_changed_component_is_restarted(own: ComposeStack, printed: Iterator[str]) -> None:
    """Services run the sources of the checkout; those of a changed one are restarted, and nobody else."""
    assert mounted(own, "hub") == {f"{CHECKOUT}/hub/jld_hub"}
    before = starts(own)
    (CHECKOUT / "fileserver/jld_fileserver/folders.py").touch()
    line = next(line for line in printed if "changed" in line)
    assert line.startswith("jld_fileserver changed: fileserver, provisioner, keepalive renewed in ")
    after = starts(own)
    assert {name for name in after if after[name] != before[name]} == {"fileserver", "provisioner", "keepalive"}


def test_changed_lab_is_built(printed: Iterator[str]) -> None:
    """When the sources of labs change, it is their image that is made anew."""
    (CHECKOUT / "lab/jld_lab/names.py").touch()
    line = next(line for line in printed if "changed" in line)
    assert line.startswith("jld_lab changed: the image of labs renewed in ")
