"""The NFS server in its container, as compose.yaml has it, and machines whose kernel mounts the export.

The machines come from a testbed beside the checkout; without it nothing here can run.
"""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from stack import CHECKOUT, until

from dev.images import IMAGES, build

NFS_CLIENT = CHECKOUT / "../shared/testbed/nfs-client"

FILESERVER = next(image for image in IMAGES if image.folder == "fileserver")

SERVICE: dict[str, Any] = yaml.safe_load((CHECKOUT / "compose.yaml").read_text())["services"]["fileserver"]

RIGHTS = (
    f"--read-only={str(SERVICE['read_only']).lower()}",
    f"--memory={SERVICE['mem_limit']}",
    f"--pids-limit={SERVICE['pids_limit']}",
    *(f"--tmpfs={mount}" for mount in SERVICE["tmpfs"]),
    # Compose takes the profile's path from its project's folder, docker from the caller's.
    *(f"--security-opt={option.replace('seccomp:', f'seccomp={CHECKOUT}/')}" for option in SERVICE["security_opt"]),
    *(f"--cap-drop={capability}" for capability in SERVICE["cap_drop"]),
    *(f"--cap-add={capability}" for capability in SERVICE["cap_add"]),
)
"""What compose.yaml lets the server have: what is proven is what is shipped."""

MACHINE_SECONDS = 100
"""How long a machine may take, from its start to its end."""

MACHINE = """
echo {name} >/proc/sys/kernel/hostname
mount -t nfs4 -o vers=4.2,addr={address},port=2049,clientaddr=10.0.2.15 {address}:/export /mnt || exit 99
/mnt/tools/bin/python3.13 -ISBX utf8 /mnt/tools/guest.py {check} {arguments}
status=$?
cd / && umount -f /mnt
exit $status
"""

FIGURES: list[str] = []
"""What was measured, printed at the end."""


def docker(*arguments: str) -> str:
    """Call docker, and give what it prints."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    for figure in FIGURES:
        terminalreporter.write_line(figure)


@pytest.fixture(autouse=True)
def _testbed(request: pytest.FixtureRequest) -> None:
    if not NFS_CLIENT.exists():
        reason = "needs a kernel with an NFS client: ../shared/testbed/nfs-client beside the checkout"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    request.getfixturevalue("server")


class Server:
    """The server's container.

    Args:
        name: of the container and of its network.
        folder: of what outlives it.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.export = folder / "export"
        self.state = folder / "state"
        self.address = ""

    def refusal(self, *, rights: bool, export: str) -> tuple[int, str]:
        """Start another one that cannot serve, and give status and what it says."""
        ended = subprocess.run(
            ["docker", "run", "--rm", *(RIGHTS if rights else ()), "--volume", f"{self.export}:/export",
             "--env", f"FILESERVER_EXPORT={export}", FILESERVER.tag, "server"],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
        return ended.returncode, ended.stderr

    def start(self) -> None:
        """Make folders and container, and wait until the server is ready."""
        for part in (self.export, self.export / "homes", self.export / "groups", self.state):
            part.mkdir(mode=0o755, parents=True)
        docker("network", "create", self.name)
        docker(
            "run", "--detach", "--name", self.name, "--network", self.name, "--restart", SERVICE["restart"], *RIGHTS,
            "--volume", f"{self.export}:/export", "--volume", f"{self.state}:/var/lib/ganesha",
            FILESERVER.tag, *SERVICE["command"],
        )  # fmt: skip
        self.address = docker(
            "inspect", "--format", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", self.name
        )
        until("the server is ready", self.is_ready)

    def is_ready(self) -> bool:
        """Tell whether it says that it is ready."""
        probe = subprocess.run(
            ["curl", "-sf", "-o", "/dev/null", f"http://{self.address}:8088/readyz"], check=False, timeout=5
        )
        return probe.returncode == 0

    def ganesha(self) -> int:
        """Give the process id of Ganesha on this machine, 0 when it does not run."""
        # Fails while the container is being restarted.
        listed = subprocess.run(
            ["docker", "top", self.name, "-eo", "pid,comm"], check=False, capture_output=True, text=True
        )
        processes = listed.stdout.splitlines()
        return next((int(line.split()[0]) for line in processes if line.split()[1] == "ganesha.nfsd"), 0)

    def events(self) -> list[dict[str, Any]]:
        """Give what it logged."""
        return [json.loads(line) for line in docker("logs", self.name).splitlines()]

    def home(self, uid: int) -> Path:
        """Make a home, as the provisioner does."""
        return self._folder(self.export / "homes" / str(uid), uid, uid, 0o750)

    def group(self, gid: int) -> Path:
        """Make a folder of an organization, as the provisioner does."""
        return self._folder(self.export / "groups" / str(gid), 0, gid, 0o2770)

    def _folder(self, path: Path, uid: int, gid: int, mode: int) -> Path:
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        os.chown(path, uid, gid)
        path.chmod(mode)
        return path

    def remove(self) -> None:
        """Remove container and network."""
        docker("rm", "--force", self.name)
        docker("network", "rm", self.name)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give a running server, whose export also has the program for the machines."""
    build(FILESERVER)
    folder = tmp_path_factory.mktemp("nfs")
    server = Server(f"jld-test-nfs-{secrets.token_hex(4)}", folder)
    try:
        server.start()
        tools = server.export / "tools"
        (tools / "bin").mkdir(parents=True)
        # The machines have no Python; the image's runs there, both being Debian trixie.
        collect = (
            "cp /usr/bin/python3.13 /tools/bin/ && mkdir /tools/lib && cp -a /usr/lib/python3.13 /tools/lib/ "
            "&& cp -L $(ldd /usr/bin/python3.13 /usr/lib/python3.13/lib-dynload/_sqlite3*.so "
            "| sed -n 's/.* => \\([^ ]*\\).*/\\1/p' | sort -u | grep -v '/libc\\.') /tools/lib/"
        )
        docker("run", "--rm", "--entrypoint", "sh", "--volume", f"{tools}:/tools", FILESERVER.tag, "-c", collect)
        shutil.copy(Path(__file__).with_name("guest.py"), tools)
        yield server
    finally:
        server.remove()


class Machine:
    """A machine that mounts the export, does one of the checks of guest.py, and ends.

    Args:
        server: whose export it mounts.
        script: a file to write its orders to.
        check: which; a function of guest.py.
        arguments: of it.
    """

    def __init__(self, server: Server, script: Path, check: str, *arguments: object) -> None:
        name = f"m{secrets.token_hex(4)}"
        words = " ".join(str(argument) for argument in arguments)
        orders = MACHINE.format(address=server.address, check=check, arguments=words, name=name)
        _prepare(self._cache() / "initrd", script)
        script.write_text(f"export LD_LIBRARY_PATH=/mnt/tools/lib\n{orders}")
        self._process = subprocess.Popen(
            [str(NFS_CLIENT), str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "NFS_CLIENT_S": str(MACHINE_SECONDS)},
        )

    @staticmethod
    def _cache() -> Path:
        return Path(os.environ.get("TESTBED_CACHE", "/var/cache/testbed"), "nfs-client")

    def is_running(self) -> bool:
        """Tell whether it has not ended."""
        return self._process.poll() is None

    def result(self) -> dict[str, Any]:
        """Wait for its end, see that the check passed, and give what it told."""
        output, _ = self._process.communicate(timeout=MACHINE_SECONDS + 20)
        assert self._process.returncode == 0, output
        lines = [line for line in output.splitlines() if line.startswith("{")]
        found: dict[str, Any] = json.loads(lines[-1]) if lines else {}
        return found

    def end(self) -> None:
        """End it, if a test failed before it did."""
        if self.is_running():
            self._process.terminate()
        self._process.communicate()


def _prepare(initrd: Path, script: Path) -> None:
    """Have the machine's file system built, and padded to 4 bytes: Linux finds what is appended to it only there."""
    if not initrd.exists():
        script.write_text("true")
        subprocess.run([str(NFS_CLIENT), str(script)], check=False)  # unpadded, it may not find the script
    if initrd.stat().st_size % 4:
        os.truncate(initrd, -(-initrd.stat().st_size // 4) * 4)


class Machines:
    """Starts machines.

    Args:
        server: whose export they mount.
        folder: for their orders.
    """

    def __init__(self, server: Server, folder: Path) -> None:
        self._server = server
        self._folder = folder
        self._machines: list[Machine] = []

    def start(self, check: str, *arguments: object) -> Machine:
        """Start one, and do not wait for it."""
        script = self._folder / f"orders-{len(self._machines)}"
        self._machines.append(Machine(self._server, script, check, *arguments))
        return self._machines[-1]

    def run(self, check: str, *arguments: object) -> dict[str, Any]:
        """Have one do a check, and give what it tells."""
        return self.start(check, *arguments).result()

    def end(self) -> None:
        """End those that still run."""
        for machine in self._machines:
            machine.end()


@pytest.fixture
def tell() -> Callable[[str], None]:
    """Give what takes a measured figure, to be printed at the end."""
    return FIGURES.append


@pytest.fixture
def machines(server: Server, tmp_path: Path) -> Iterator[Machines]:
    """Give what starts machines."""
    machines = Machines(server, tmp_path)
    yield machines
    machines.end()
