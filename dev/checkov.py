"""Have checkov look at the rendered overlays: `python dev/checkov.py`; kubectl must be on PATH.

Exit status 1 where it finds what nobody has given a reason for, or a reason is left that nothing needs any more. It
wants older packages than the other tools do, and so has an environment of its own, made of its lock when needed.
"""
# ruff: noqa: INP001 - a program, no package

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent

LOCK = ROOT / "dev/requirements-checkov.txt"

ENVIRONMENT = Path(sys.prefix) / "checkov"
"""Inside that of the other tools, so that it goes when that goes."""

EX_UNAVAILABLE = 69
"""Exit status without kubectl."""

AS_ROOT = "root in its container, with those of root's rights that docs/security.md gives reasons for"

EXCEPTIONS = {
    ("CKV_K8S_38", "Deployment.jupyterlabdemo.hub"): "starts labs, which are pods; nothing else has a token",
    ("CKV_K8S_23", "StatefulSet.jupyterlabdemo-files.fileserver"): AS_ROOT,
    ("CKV_K8S_40", "StatefulSet.jupyterlabdemo-files.fileserver"): AS_ROOT,
    ("CKV_K8S_25", "StatefulSet.jupyterlabdemo-files.fileserver"): "does each member's work on files as that member",
    ("CKV_K8S_23", "DaemonSet.jupyterlabdemo-logs.filebeat"): AS_ROOT,
    ("CKV_K8S_40", "DaemonSet.jupyterlabdemo-logs.filebeat"): AS_ROOT,
}
"""What one object is allowed, by check and object, with the reason. What all are allowed is in .checkov.yaml."""


class Finding(NamedTuple):
    """What checkov finds fault with.

    Attributes:
        check: its id.
        thing: kind, namespace and name of the object.
        words: what the check asks for.
    """

    check: str
    thing: str
    words: str


def install() -> None:
    """Make the environment what the lock says."""
    made_of = ENVIRONMENT / "made-of"
    if made_of.exists() and made_of.read_text() == LOCK.read_text():
        return
    uv = Path(sys.executable).with_name("uv")
    python = ENVIRONMENT / "bin/python"
    options = ("--quiet", "--no-config")
    subprocess.run([uv, "venv", *options, "--clear", "--python", sys.executable, ENVIRONMENT], check=True)  # noqa: S603 # the lock's
    subprocess.run([uv, "pip", "sync", *options, "--require-hashes", "--python", python, LOCK], check=True)  # noqa: S603 # likewise
    shutil.copyfile(LOCK, made_of)


def render(overlays: list[Path], folder: Path) -> None:
    """Write what would be applied, a file for each overlay."""
    for overlay in overlays:
        with (folder / f"{overlay.name}.yaml").open("w") as file:
            subprocess.run(["kubectl", "kustomize", overlay], stdout=file, check=True)  # noqa: S603, S607 # the operator's


def look(folder: Path) -> set[Finding]:
    """Return what checkov finds in the files of a folder.

    Raises:
        SystemExit: it cannot read one of them.
    """
    options: list[str | Path] = [
        "--config-file",
        ROOT / ".checkov.yaml",
        "--directory",
        folder,
        "--output",
        "json",
        "--soft-fail",
    ]
    done = subprocess.run([ENVIRONMENT / "bin/checkov", *options], stdout=subprocess.PIPE, check=True)  # noqa: S603 # as above
    results = json.loads(done.stdout)["results"]
    seen = {Path(check["file_path"]).name for check in results["passed_checks"]}
    if unseen := {file.name for file in folder.iterdir()} - seen:
        raise SystemExit(f"checkov cannot read {sorted(unseen)}: {results['parsing_errors']}")
    return {Finding(check["check_id"], check["resource"], check["check_name"]) for check in results["failed_checks"]}


def main() -> int:
    """Tell what is found and what is left over."""
    if not shutil.which("kubectl"):
        sys.stderr.write("dev/checkov.py: kubectl should be on PATH\n")
        return EX_UNAVAILABLE
    install()
    with tempfile.TemporaryDirectory() as folder:
        render(sorted((ROOT / "k8s/overlays").iterdir()), Path(folder))
        found = look(Path(folder))
    faults = [one for one in sorted(found) if (one.check, one.thing) not in EXCEPTIONS]
    needed = {(one.check, one.thing) for one in found}
    left = sorted(EXCEPTIONS.keys() - needed)
    for fault in faults:
        sys.stdout.write(f"{fault.thing}: {fault.words} ({fault.check})\n")
    for check, thing in left:
        sys.stdout.write(f"{thing}: {check} finds nothing any more: take it out of EXCEPTIONS\n")
    sys.stdout.write(f"checkov: {len(faults)} findings, {len(EXCEPTIONS) - len(left)} exceptions\n")
    return 1 if faults or left else 0


if __name__ == "__main__":
    sys.exit(main())
