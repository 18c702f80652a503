"""Has every component read the settings that its container is going to have, as it does at its start."""

import re
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

CLASSES: Mapping[tuple[str, str], tuple[str, str]] = {
    ("hub", "hub"): ("jld_hub", "Settings"),
    ("fileserver", "server"): ("jld_fileserver", "ServerSettings"),
    ("fileserver", "provisioner"): ("jld_fileserver", "ProvisionerSettings"),
    ("keepalive", "keepalive"): ("jld_fileserver", "KeepaliveSettings"),
    ("filebeat", "filebeat"): ("jld_filebeat", "Settings"),
    ("logstash", "logstash"): ("jld_logstash", "Settings"),
    ("nginx", "nginx"): ("jld_nginx", "Settings"),
    ("nginx-github", "nginx"): ("jld_nginx", "Settings"),
    ("github", "github"): ("jld_github", "Settings"),
    ("broker", "broker"): ("jld_broker", "Settings"),
}
"""The package and the settings class of the program in a workload's container."""

PROGRAM = """
import os, sys
from {package}.settings import {settings} as Settings
from pydantic import SecretStr, ValidationError
try:
    # Some classes take the files in at load(), which would stop at the first error.
    Settings(**getattr(Settings, "_secrets_from_files", dict)())
except ValidationError as error:
    for one in error.errors():
        field = str(one["loc"][0]) if one["loc"] else ""
        known = Settings.model_fields.get(field)
        variable = (Settings.model_config.get("env_prefix", "") + field).upper()
        secret = known is not None and known.annotation in (SecretStr, SecretStr | None)
        value = "***" if secret else os.environ.get(variable, "")
        right = one["msg"].removeprefix("Value error, ")
        if one["type"] == "missing":
            value, right = "", "must be set: " + ((known and known.description) or "")
        # On one line, whatever the value has in it.
        print(" ".join(f"{{variable}}={{value}}: {{right}}".split()), file=sys.stderr)
    sys.exit(1)
except Exception as error:
    sys.exit(" ".join(str(error).split()))
"""

DOWNWARD = "node"
"""Stands for what only a pod knows of itself."""


def check(objects: Sequence[Object], wanted: Mapping[Key, Content]) -> Iterator[Finding]:
    """Find the settings that keep components from starting.

    Args:
        objects: what is rendered.
        wanted: what the Secrets are to hold.
    """
    tasks = [
        (found, one)
        for found in workloads(objects)
        for one in pod(found)["containers"]
        if (found["metadata"]["name"], one["name"]) in CLASSES
    ]
    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda task: complaints(task[0], task[1], objects, wanted), tasks))
    for line in dict.fromkeys(line for lines in told for line in lines):
        setting, _, right = line.partition(": ")
        if re.fullmatch(r"[A-Z][A-Z0-9_]*=.*", setting):
            yield Finding(setting, right)
        else:
            yield Finding(line, "put it right in site.env")


def complaints(
    workload: Object, container: Mapping[str, Any], objects: Sequence[Object], wanted: Mapping[Key, Content]
) -> list[str]:
    """Have a component read its settings; what it complains about, one line each."""
    with tempfile.TemporaryDirectory(dir=in_memory()) as folder:
        mounts = mounted(workload, container, objects, wanted, Path(folder))
        variables = environment(workload, container, objects)
        package, settings = CLASSES[workload["metadata"]["name"], container["name"]]
        ended = subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-c", PROGRAM.format(package=package, settings=settings)],
            env=bare_environment(**{name: relocated(value, mounts) for name, value in variables.items()}),
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
    if ended.returncode == 0:
        return []
    said = ended.stderr.strip().replace(folder, "").splitlines() or [f"{package}: status {ended.returncode}"]
    lines = said[-1:] if said[0].startswith("Traceback") else said
    return [line.removeprefix(f"{package}: ") for line in lines]


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
