"""The cluster, by kubectl's own commands: no other way leads there."""

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .errors import ClusterError, SiteError
from .settings import kubectl_environment, no_kubeconfig

Object = dict[str, Any]
"""An object of Kubernetes', as JSON has it."""

SYSTEM = "jupyterlabdemo"
LABS = "jupyterlabdemo-labs"
FILES = "jupyterlabdemo-files"
LOGS = "jupyterlabdemo-logs"
NAMESPACES = (SYSTEM, LABS, FILES, LOGS)

PART_OF = "app.kubernetes.io/part-of=jupyterlabdemo"
NAME = "app.kubernetes.io/name"

MANAGER = "--field-manager=jupyterlabdemo"
"""Whose fields are what the tool applies."""

PATIENCE = "--request-timeout=30s"


class Cluster:
    """The cluster that KUBECONFIG, or kubectl's own file, leads to."""

    def __init__(self, kubectl: str) -> None:
        """Find kubectl.

        Args:
            kubectl: its name or path.

        Raises:
            SiteError: where it is not there.
        """
        found = shutil.which(kubectl)
        if not found:
            raise SiteError(
                f"K8S_KUBECTL={kubectl}: kubectl, which is not here (https://kubernetes.io/docs/tasks/tools)"
            )
        self.kubectl = found

    def command(self, *arguments: str) -> list[str]:
        """Put a command of kubectl's together."""
        return [self.kubectl, *arguments]

    def ask(self, *arguments: str, text: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command of kubectl's, whatever comes of it.

        Args:
            arguments: the command.
            text: what it reads: secrets go this way, never by arguments.
            environment: variables beside this process's.
        """
        return subprocess.run(  # noqa: S603 - no shell
            self.command(*arguments),
            input=text,
            stdin=None if text is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            env=kubectl_environment(**environment),
        )

    def run(self, *arguments: str, text: str | None = None) -> str:
        """Run a command of kubectl's and return what it printed.

        Raises:
            ClusterError: where it fails.
        """
        ended = self.ask(PATIENCE, *arguments, text=text)
        if ended.returncode:
            # Where kubectl has no file it asks this address, which nobody has named.
            if "localhost:8080" in ended.stderr and (why := no_kubeconfig()):
                raise ClusterError(why)
            raise ClusterError(f"kubectl {' '.join(arguments[:2])}: {last_line(ended.stderr)}")
        return ended.stdout

    def answers(self) -> None:
        """See that the API server answers; kubectl waits without end where it looks up what kinds there are.

        Raises:
            ClusterError: where it does not.
        """
        self.run("get", "--raw=/readyz")

    def items(self, kinds: str, *arguments: str) -> list[Object]:
        """List objects.

        Args:
            kinds: of which kinds, separated by commas.
            arguments: which of them.
        """
        found: list[Object] = self.read(self.run("get", kinds, *arguments, "--output=json")).get("items", [])
        return found

    def ours(self, kinds: str) -> list[Object]:
        """List objects of the system's namespaces, which are asked all at once: each needs a right of its own."""
        with ThreadPoolExecutor(len(NAMESPACES)) as threads:
            found = threads.map(lambda namespace: self.items(kinds, f"--namespace={namespace}"), NAMESPACES)
            return [one for some in found for one in some]

    def find(self, kind: str, name: str, namespace: str = "") -> Object | None:
        """Get an object; None where there is none."""
        where = [f"--namespace={namespace}"] if namespace else []
        told = self.run("get", kind, name, *where, "--output=json", "--ignore-not-found")
        return self.read(told) if told.strip() else None

    def read(self, text: str) -> Object:
        """Read what kubectl has printed: one object, or several one after the other, as a list.

        Raises:
            SiteError: where it is something else, which kubectl does not print.
        """
        with contextlib.suppress(ValueError):
            found = json_of(text)
            if text.strip() and isinstance(found, dict) and {"metadata", "items"} & set(found):
                return found
        raise self.foreign(text)

    def foreign(self, text: str) -> SiteError:
        """Give the error for a program that prints what kubectl does not."""
        return SiteError(f"K8S_KUBECTL={self.kubectl}: kubectl, which does not print {text.strip()[:40]!r}")

    def apply(self, objects: Sequence[Object]) -> str:
        """Apply objects, as their only owner of what they say.

        Raises:
            ClusterError: where the cluster takes one or more of them not; the others are applied.
        """
        if not objects:
            return ""
        ended = self.ask(
            *("apply", "--server-side", "--force-conflicts", MANAGER, PATIENCE, "--filename=-"),
            text=listed(objects),
        )
        if ended.returncode:
            raise ClusterError("; ".join(complaints(ended.stderr)) or "kubectl apply failed")
        return ended.stdout


def listed(objects: Sequence[Object]) -> str:
    """Write objects as kubectl reads them."""
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})


def complaints(text: str) -> list[str]:
    """Take what kubectl complains about out of what it wrote, without its warnings."""
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("Warning:")]


def last_line(text: str) -> str:
    """Take the last line of what a program wrote."""
    line = (complaints(text) or ["it fails without a word"])[-1]
    return re.sub(r'^[EF]\d{4} .*?"command failed" err="(.*)"$', r"\1", line).removeprefix("error: ")


def labels(found: Object) -> dict[str, str]:
    """Give the labels of an object."""
    return found["metadata"].get("labels") or {}


def key(found: Object) -> tuple[str, str, str]:
    """Tell an object from others: kind, namespace, name."""
    return found["kind"], found["metadata"].get("namespace", ""), found["metadata"]["name"]


def json_of(text: str) -> Object:
    """Read what kubectl printed: one object, or several one after the other, as a list."""
    decoder, position, found = json.JSONDecoder(), 0, []
    while position < len(text.rstrip()):
        value, position = decoder.raw_decode(text, position + len(text[position:]) - len(text[position:].lstrip()))
        found.append(value)
    return found[0] if len(found) == 1 else {"items": found}
