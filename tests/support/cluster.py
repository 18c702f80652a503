"""A running stack on a cluster, as a test sees it. The node is this machine: tests look at it, and kill what runs."""

import base64
import contextlib
import json
import re
import secrets
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pika
import psutil
from stack import CommandError, Stack, Writer, until

SYSTEM = "jupyterlabdemo"
LABS = "jupyterlabdemo-labs"
FILES = "jupyterlabdemo-files"
LOGS = "jupyterlabdemo-logs"

NAMESPACES = (SYSTEM, LABS, FILES, LOGS)

SITE = "demo"
"""Name of the operator's folder that these tests have the tool make, in a place of theirs."""

REMOTE_NODES = "203.0.113.0/28"
"""Addresses that count as nodes' beside those that are (RFC 5737 keeps them free of anybody's)."""

IMAGE = "lsstsqre/jld-fileserver:0.1.0"
"""Any of the stack's that has Python."""

SERVICES = {
    **dict.fromkeys(("hub", "proxy", "nginx", "logstash", "keepalive", "github", "nginx-github", "broker"), SYSTEM),
    "fileserver": FILES,
    "filebeat": LOGS,
}
"""Names of the demonstration's services and their namespaces."""

Object = dict[str, Any]

SHOUT = """
import itertools, signal, sys, time
mark = sys.argv[1]
def end(*_):
    sys.exit()
signal.signal(signal.SIGTERM, end)
for number in itertools.count():
    print(mark, number, 'x' * 300, flush=True)
    time.sleep(0.002)
"""


def kubectl(*words: str, text: str | None = None, seconds: float = 120) -> str:
    """Run kubectl and return what it printed.

    Args:
        words: The command.
        text: What it reads.
        seconds: How long it may take.

    Raises:
        CommandError: It failed; the text is what it said.
    """
    done = subprocess.run(["kubectl", *words], input=text, capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode:
        raise CommandError(f"kubectl {' '.join(words)}: {done.stderr}")
    return done.stdout


def get(*words: str) -> Object:
    """Return what the API knows of an object, or a list of them."""
    return dict(json.loads(kubectl("get", *words, "--output=json")))


def is_ready(pod: Object) -> bool:
    """Tell whether a pod's own probes say so."""
    conditions = {one["type"]: one["status"] for one in pod["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and "deletionTimestamp" not in pod["metadata"]


def node_addresses() -> list[str]:
    """Return the addresses of the cluster's nodes, as ranges of one."""
    nodes = get("nodes")["items"]
    return [
        f"{one['address']}/32" for node in nodes for one in node["status"]["addresses"] if one["type"] == "InternalIP"
    ]


@cache
def _cgroup(text: str) -> tuple[str, str]:
    found = re.search(r"/[^/]*pod([0-9a-f]{8}[-_][0-9a-f_-]{27})[^/]*/(?:[\w-]*?-)?([0-9a-f]{64})", text)
    return (found[1].replace("_", "-"), found[2]) if found else ("", "")


def control_group(pid: int) -> tuple[str, str]:
    """Return the uid of the pod and the id of the container that a process is in; neither: it is in none."""
    try:
        return _cgroup(Path(f"/proc/{pid}/cgroup").read_text())
    except OSError:  # it has ended
        return "", ""


def container_pid(pod: Object, name: str) -> int:
    """Return the id, on this machine, of the first process of a container.

    Raises:
        AssertionError: The container that the API knows of does not run here.
    """
    (its,) = (one for one in pod["status"].get("containerStatuses", []) if one["name"] == name)
    known = its.get("containerID", "").rpartition("/")[2]
    for process in psutil.process_iter():
        if control_group(process.pid)[1] == known:
            with contextlib.suppress(OSError):
                ids = re.search(r"^NSpid:(.*)$", Path(f"/proc/{process.pid}/status").read_text(), re.MULTILINE)
                if ids and ids[1].split()[-1] == "1":
                    return process.pid
    raise AssertionError(f"{pod['metadata']['name']} has no running {name}")


def simple_pod(name: str, command: list[str], **spec: Any) -> Object:
    """Describe a pod that fits the standard `restricted`.

    Args:
        name: Of pod and container.
        command: What it runs.
        spec: More of its specification.
    """
    closed = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    ids = {"runAsNonRoot": True, "runAsUser": 65000, "runAsGroup": 65000, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/name": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            "securityContext": ids,
            "containers": [
                {
                    "name": name,
                    "image": IMAGE,
                    "imagePullPolicy": "IfNotPresent",
                    "command": command,
                    "securityContext": closed,
                    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
                }
            ],
            **spec,
        },
    }


class PodWriter:
    """Writes to its standard output, of which the kubelet makes a log that it rotates at 10 MiB."""

    name = "writer"

    def __init__(self) -> None:
        self.mark = f"writer-{secrets.token_hex(4)} "
        manifest = simple_pod(self.name, ["/usr/bin/python3", "-c", SHOUT, self.mark.strip()])
        kubectl("--namespace", SYSTEM, "create", "--filename=-", text=json.dumps(manifest))
        kubectl("--namespace", SYSTEM, "wait", "--for=condition=Ready", f"pod/{self.name}", "--timeout=60s")

    def _phase(self) -> str:
        return str(get("pod", self.name, "--namespace", SYSTEM)["status"]["phase"])

    def end(self) -> list[str]:
        """Stop, and return what was written, of which the log has the last part only."""
        kubectl("--namespace", SYSTEM, "exec", self.name, "--", "kill", "-TERM", "1")
        until("the writer has ended", lambda: self._phase() in ("Succeeded", "Failed"), seconds=60)
        (last,) = kubectl("--namespace", SYSTEM, "logs", self.name, "--tail=1").splitlines()
        _, last, padding = last.split()
        return [f"{self.mark}{number} {padding}" for number in range(int(last) + 1)]

    def remove(self) -> None:
        """Stop, and remove what was written."""
        kubectl("--namespace", SYSTEM, "delete", "pod", self.name, "--ignore-not-found", "--now")


class ClusterStack(Stack):
    """Pods of the demonstration overlay, in the namespaces that it has on any cluster.

    A cluster has one. Another of this class gives that one other settings, until somebody starts that one again.

    Attributes:
        site: The operator's folder.
        settings: What its site.env has.
        took: Seconds from the command to all being ready.
    """

    again = 60.0
    # A pod has not even got what is not its member's.
    barred = ("Permission denied", "No such file", "Read-only file system")
    first: "ClassVar[ClusterStack | None]" = None

    def __init__(self, **settings: str) -> None:
        super().__init__()
        base = self.first.state if self.first else self.state
        self.environment["K8S_SITES"] = str(base / "sites")
        self.site = base / "sites" / SITE
        names = ("GITHUB_ORGANIZATION_WHITELIST", "LAB_CONTAINER_NAMES", "LAB_CONTAINER_DESCS")
        menu = {name: self.environment.pop(name) for name in names}
        places = {"K8S_HOMES_DIR": str(base / "export"), "K8S_NODE_CIDRS": ",".join((*node_addresses(), REMOTE_NODES))}
        self.settings = menu | places | settings
        self.took = 0.0
        self._uids: set[str] = set()

    @property
    def export(self) -> Path:
        """The folder of this machine that the single-node component has in place of the file server's volume."""
        return Path(self.settings["K8S_HOMES_DIR"])

    def words(self, verb: str) -> list[str]:
        """Name the verb that a cluster has for it."""
        verbs = {"up": "k8s-deploy", "status": "k8s-status", "logs": "k8s-logs", "down": "k8s-delete"}
        return [*super().words(verbs.get(verb, verb)), f"OVERLAY={SITE}"]

    def start(self) -> None:
        """Deploy it, and fetch its secrets: as files, which those of other targets are anyway."""
        if self.first is None:
            present = kubectl("get", "namespaces", "--output=name").split()
            assert f"namespace/{SYSTEM}" not in present, "this cluster has the system already: make k8s-delete first"
            self.create()
            type(self).first = self
        self.configure()
        begun = time.monotonic()
        super().start()
        self.took = time.monotonic() - begun
        self.fetch_secrets()

    def create(self) -> None:
        """Make the operator's folder."""
        self.make("k8s-init", f"NAME={SITE}", "OVERLAY=demo")

    def configure(self) -> None:
        """Write the settings to the operator's folder."""
        text = "".join(f"{name}={value}\n" for name, value in self.settings.items())
        (self.site / "site.env").write_text(text)

    def fetch_secrets(self) -> None:
        """Write each key of each Secret to a file, certificates beside each other as elsewhere."""
        folder = self.state / "secrets"
        (folder / "certificates").mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        for secret in (
            one for space in (SYSTEM, FILES, LOGS) for one in get("secrets", f"--namespace={space}")["items"]
        ):
            if secret["type"] not in ("Opaque", "kubernetes.io/tls"):  # a release
                continue
            for key, value in secret.get("data", {}).items():
                name = {"tls.crt": "nginx.pem", "tls.key": "nginx.key"}.get(key, key)
                place = folder / "certificates" if name.endswith((".pem", ".key")) else folder
                (place / name).write_bytes(base64.b64decode(value))
        self.passphrase = (folder / "passphrase").read_text().strip()

    def down(self) -> None:
        """Remove it with all that it keeps; what is another's is left, to be started with that one's own settings."""
        if self.first is self:
            self.make("down", f"CONFIRM={SITE}", "DATA=delete")
            type(self).first = None
            assert not self.processes()
        elif self.first:
            self.first.configure()
        shutil.rmtree(self.state)

    def pods(self, name: str | None = None) -> list[Object]:
        """Return what the API knows of each pod of the stack, labs too, or of those of one name."""
        label = "app.kubernetes.io/part-of=jupyterlabdemo" + (f",app.kubernetes.io/name={name}" if name else "")
        found: list[Object] = get("pods", "--all-namespaces", f"--selector={label}")["items"]
        # One that has gone from the API may have left a process here.
        self._uids |= {pod["metadata"]["uid"] for pod in found}
        return sorted(found, key=lambda pod: str(pod["metadata"]["name"]))

    def lab(self, member: str) -> Object:
        """Return what the API knows of a member's lab."""
        return get("pod", f"lab-{member}", f"--namespace={LABS}")

    def lab_id(self, member: str) -> str:
        """Return what another lab of the member would not have."""
        return str(self.lab(member)["metadata"]["uid"])

    def processes(self) -> dict[int, dict[str, str]]:
        """Find them by their control groups, which are named after pods' uids."""
        self.pods()
        found: dict[int, dict[str, str]] = {}
        for process in psutil.process_iter():
            pod, _ = control_group(process.pid)
            if pod in self._uids:
                with contextlib.suppress(psutil.Error):
                    found[process.pid] = process.environ()
        return found

    def pid(self, part: str) -> int:
        """Return the id of the first process of a part's first container, once the API knows which that is."""

        def find() -> int:
            for pod in self.pods(part):
                (name, *_) = (one["name"] for one in pod["spec"]["containers"])
                return container_pid(pod, name)
            raise AssertionError(f"{part} has no pod")

        return until(f"{part} has a process", find)

    def log(self, service: str) -> str:
        """Ask the API for what all its pods have written."""
        select = f"--selector=app.kubernetes.io/name={service}"
        return kubectl("logs", select, f"--namespace={SERVICES[service]}", "--tail=-1", "--all-containers")

    def origin(self, event: dict[str, Any]) -> tuple[str, str | None]:
        """Tell by the pod's name, which begins with the service's and has a login or marks of its own behind it."""
        pod = event.get("kubernetes", {}).get("pod", "")
        if event.get("kubernetes", {}).get("namespace") == LABS and pod.startswith("lab-"):
            return "lab", pod.removeprefix("lab-")
        names = [name for name in SERVICES if pod.startswith(f"{name}-")]
        return max(names, key=len, default=pod), None

    def service_address(self, service: str) -> str:
        """Return the address of a Service, which outlives its pods and which this machine, being the node, reaches."""
        return str(get("service", service, f"--namespace={SERVICES[service]}")["spec"]["clusterIP"])

    def broker(self) -> pika.ConnectionParameters:
        """Read by the address of the broker's Service."""
        return self.reader(self.service_address("broker"), 5671, "broker")

    def writer(self) -> Writer:
        """Write in a pod."""
        return PodWriter()

    def database(self) -> bytes:
        """Read it as the hub sees it."""
        folder = Path(f"/proc/{self.pid('hub')}/root/srv/hub")
        return b"".join(file.read_bytes() for file in folder.iterdir() if file.is_file())

    @property
    def control(self) -> Path:
        """It is in the stand-in's pod, which this machine sees into."""
        return Path(f"/proc/{self.pid('github')}/root/run/github/github.sock")
