"""Images as `make images` builds them, and containers of them that have as few rights as the stack's."""

import contextlib
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from containers import docker
from jld_embedded.certificates import Authority
from stack import until

from dev.images import IMAGES, ROOT, Image

HARDENED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--pids-limit=256", "--memory=1g")


class Container:
    """A container that runs in the background, with the rights of compose.yaml's services.

    Args:
        image: Its image.
        words: Options for `docker run`, and, behind `--`, the command.
    """

    def __init__(self, image: str, *words: str) -> None:
        cut = words.index("--") if "--" in words else len(words)
        self.id = docker("run", "--detach", *HARDENED, *words[:cut], image, *words[cut + 1 :]).strip()

    def state(self) -> str:
        """Return `running` or `exited`, and what its own check says, where it has one."""
        return docker("inspect", "--format", "{{.State.Status}} {{with .State.Health}}{{.Status}}{{end}}", self.id)

    def healthy(self) -> "Container":
        """Wait until its own check succeeds."""

        def check() -> bool:
            state = self.state().split()
            if state[0] != "running":
                pytest.fail(f"it ended; it said: {self.said()}")
            return state[-1] == "healthy"

        until("a healthy container", check, 60)
        return self

    def run(self, *command: str) -> str:
        """Run a command inside and return what it printed."""
        return docker("exec", self.id, *command)

    def said(self) -> str:
        """Return all that it printed."""
        done = subprocess.run(["docker", "logs", self.id], check=True, capture_output=True, text=True)
        return done.stdout + done.stderr

    def end(self) -> int:
        """End it by SIGTERM, after 10 s by SIGKILL, and return its exit status (137 for the latter)."""
        docker("stop", "--time=10", self.id)
        return int(docker("inspect", "--format", "{{.State.ExitCode}}", self.id))

    def remove(self) -> None:
        """Remove it with its volumes."""
        docker("rm", "--force", "--volumes", self.id)


@pytest.fixture(scope="session")
def built() -> None:
    """Build all images, as far as they are not built from the same already."""
    done = subprocess.run([sys.executable, ROOT / "dev/images.py"], capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stderr


@pytest.fixture(params=IMAGES, ids=lambda image: image.folder)
def image(request: pytest.FixtureRequest, built: None) -> Image:  # noqa: ARG001 - built before it is looked at
    """Give each image."""
    chosen: Image = request.param
    return chosen


@pytest.fixture
def start(built: None) -> Iterator[Callable[..., Container]]:  # noqa: ARG001 - built before it is run
    """Start containers; they are removed at the end."""
    with contextlib.ExitStack() as stack:

        def begin(*words: str) -> Container:
            container = Container(*words)
            stack.callback(container.remove)
            return container

        yield begin


@pytest.fixture(scope="session")
def build() -> Iterator[Callable[..., str]]:
    """Build a folder's image under a name of the tests' own, which goes at the end."""
    tags: list[str] = []

    def run(folder: Path, *options: str) -> str:
        tags.append(f"jld-test:{uuid.uuid4().hex}")
        docker("build", "--tag", tags[-1], *options, str(folder))
        return tags[-1]

    yield run
    if tags:
        docker("image", "rm", "--force", *tags)


@pytest.fixture
def alone(tmp_path: Path) -> Callable[[Image], Path]:
    """Copy a component's folder, as git has it, to where nothing else is."""

    def copy(image: Image) -> Path:
        listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", image.folder]
        names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        for name in filter(None, names.split("\0")):
            target = tmp_path / "alone" / Path(name).relative_to(image.folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
        return tmp_path / "alone"

    return copy


@pytest.fixture(scope="session")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a folder of certificates and secrets that any user may read."""
    folder = tmp_path_factory.mktemp("given")
    Authority(folder).issue("service")
    (folder / "secret").write_text("0123456789abcdef" * 4)
    for file in folder.iterdir():
        file.chmod(0o644)
    folder.chmod(0o755)
    return folder
