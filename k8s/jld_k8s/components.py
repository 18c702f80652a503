"""Has every component read the settings that its container is going to have, as it does at its start."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .cluster import Object
from .credentials import Content, in_memory
from .finding import Finding
from .manifests import Key, pod, workloads
from .settings import bare_environment

LOADS: Mapping[tuple[str, str], str] = {
    ("hub", "hub"): "from jld_hub.settings import load",
    ("fileserver", "server"): "from jld_fileserver.settings import ServerSettings as s; load = s.load",
    ("fileserver", "provisioner"): "from jld_fileserver.settings import ProvisionerSettings as s; load = s.load",
    ("keepalive", "keepalive"): "from jld_fileserver.settings import KeepaliveSettings as s; load = s.load",
    ("filebeat", "filebeat"): "from jld_filebeat.settings import Settings as s; load = s.load",
    ("logstash", "logstash"): "from jld_logstash.settings import Settings as s; load = s.load",
    ("nginx", "nginx"): "from jld_nginx.settings import Settings as s; load = s.load",
    ("nginx-github", "nginx"): "from jld_nginx.settings import Settings as s; load = s.load",
    ("github", "github"): "from jld_github.settings import load",
    ("broker", "broker"): "from jld_broker.settings import Settings as s; load = s.load",
}
"""How the program in a workload's container reads its settings."""

PROGRAM = """
import sys
try:
    {load}
    load()
except Exception as error:
    sys.exit(str(error))
"""

DOWNWARD = "node"
"""Stands for what only a pod knows of itself."""


def check(objects: Sequence[Object], wanted: Mapping[Key, Content]) -> Iterator[Finding]:
    """Find the first setting of each component that keeps it from starting.

    Args:
        objects: what is rendered.
        wanted: what the Secrets are to hold.
    """
    tasks = [
        (found, one)
        for found in workloads(objects)
        for one in pod(found)["containers"]
        if (found["metadata"]["name"], one["name"]) in LOADS
    ]
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda task: complaint(task[0], task[1], objects, wanted), tasks))
    for line in dict.fromkeys(filter(None, told)):
        what, _, right = line.partition(": ") if "=" in line.partition(": ")[0] else ("", "", line)
        if what:
            yield Finding(what, right)
        else:
            component, _, rest = line.partition(": ")
            yield Finding(f"{component} does not start: {rest}", "set it right in site.env")


def complaint(
    workload: Object, container: Mapping[str, Any], objects: Sequence[Object], wanted: Mapping[Key, Content]
) -> str:
    """Have a component read its settings; what it complains about, or nothing."""
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder:
        mounts = mounted(workload, container, objects, wanted, Path(folder))
        values = {name: relocated(value, mounts) for name, value in environment(workload, container, objects).items()}
        load = LOADS[workload["metadata"]["name"], container["name"]]
        ended = subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-c", PROGRAM.format(load=load)],
            env=bare_environment(**values),
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        lines = ended.stderr.strip().splitlines()
        if ended.returncode == 0:
            return ""
        line = lines[-1] if lines else f"{container['name']}: status {ended.returncode}"
        for inside, outside in mounts.items():
            line = line.replace(str(outside), inside)
        return line.partition(": ")[2] if line.startswith("jld_") else line


def environment(workload: Object, container: Mapping[str, Any], objects: Sequence[Object]) -> dict[str, str]:
    """Give the variables that a container is going to have."""
    namespace = workload["metadata"]["namespace"]
    maps = {found["metadata"]["name"]: found for found in objects if is_map(found, namespace)}
    found: dict[str, str] = {}
    for source in container.get("envFrom") or []:
        found |= maps.get(source.get("configMapRef", {}).get("name"), {}).get("data") or {}
    for variable in container.get("env") or []:
        found[variable["name"]] = variable.get("value", DOWNWARD)
    return found


def is_map(found: Object, namespace: str) -> bool:
    """Whether an object is a ConfigMap of a namespace."""
    return bool(found["kind"] == "ConfigMap" and found["metadata"].get("namespace") == namespace)


def mounted(
    workload: Object,
    container: Mapping[str, Any],
    objects: Sequence[Object],
    wanted: Mapping[Key, Content],
    folder: Path,
) -> dict[str, Path]:
    """Lay out the files that a container is going to find; give the folder that stands for each of its mounts."""
    namespace = workload["metadata"]["namespace"]
    volumes = {volume["name"]: volume for volume in pod(workload).get("volumes") or []}
    found = {}
    for mount in container.get("volumeMounts") or []:
        volume = volumes.get(mount["name"], {})
        content: Content = {}
        if "secret" in volume:
            content = wanted.get(Key(namespace, volume["secret"]["secretName"]), {})
        elif "configMap" in volume:
            chosen = [one for one in objects if is_map(one, namespace)]
            data = next((one for one in chosen if one["metadata"]["name"] == volume["configMap"]["name"]), {})
            content = {name: text.encode() for name, text in (data.get("data") or {}).items()}
        else:
            continue
        place = folder / mount["mountPath"].strip("/")
        place.mkdir(parents=True, exist_ok=True)
        for name, value in content.items():
            (place / name).write_bytes(value)
        found[mount["mountPath"]] = place
    return found


def relocated(value: str, mounts: Mapping[str, Path]) -> str:
    """Lead a path into the folder that stands for its mount."""
    for inside, outside in mounts.items():
        if value == inside or value.startswith(f"{inside}/"):
            return f"{outside}{value.removeprefix(inside)}"
    return value
