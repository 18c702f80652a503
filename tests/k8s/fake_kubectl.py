"""A kubectl with a cluster of its own, in a file: as far as the tool asks for objects by name, kind and label.

What a real API server decides, such as what a rollout comes to, is for the tests on a real one.
"""

import fcntl
import json
import os
import sys
from pathlib import Path
from typing import Any

STATE = Path(os.environ["FAKE_CLUSTER"])

KINDS = {
    "lease": "Lease",
    "secret": "Secret",
    "service": "Service",
    "namespace": "Namespace",
    "configmap": "ConfigMap",
    "networkpolicy": "NetworkPolicy",
    "networkpolicies": "NetworkPolicy",
    "endpointslices.discovery.k8s.io": "EndpointSlice",
    "node": "Node",
    "pod": "Pod",
    "deployment": "Deployment",
    "daemonset": "DaemonSet",
    "serviceaccount": "ServiceAccount",
    "persistentvolume": "PersistentVolume",
    "persistentvolumeclaim": "PersistentVolumeClaim",
}


def kind(word: str) -> str:
    """Give the kind that a word of a command means."""
    return KINDS.get(word) or KINDS.get(word.rstrip("s")) or word


def fail(text: str) -> None:
    """End as kubectl does when the API server refuses."""
    sys.stderr.write(f"Error from server ({text})\n")
    sys.exit(1)


def chosen(objects: dict[str, Any], kinds: str, options: dict[str, str]) -> list[Any]:
    """Choose objects as a command does."""
    wanted = {kind(word) for word in kinds.split(",")}
    found = [one for one in objects.values() if one["kind"] in wanted]
    if "namespace" in options:
        found = [one for one in found if one["metadata"].get("namespace") == options["namespace"]]
    for term in filter(None, options.get("selector", "").split(",")):
        name, _, value = term.partition("=")
        found = [one for one in found if one["metadata"].get("labels", {}).get(name) == value]
    if (field := options.get("field-selector", "")).startswith("type="):
        found = [one for one in found if one.get("type") == field.removeprefix("type=")]
    return found


def main() -> None:
    """Do what the arguments say."""
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    options = dict(word.removeprefix("--").partition("=")[::2] for word in sys.argv[1:] if word.startswith("--"))
    with STATE.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        state = json.load(file)
        state["log"].append(sys.argv[1:])
        try:
            answer = act(state, words, options)
        finally:
            file.seek(0)
            file.truncate()
            json.dump(state, file)
    if answer is not None:
        sys.stdout.write(json.dumps(answer))


def act(state: dict[str, Any], words: list[str], options: dict[str, str]) -> Any:
    """Change the state, and give what is printed."""
    objects, verb = state["objects"], words[0]
    if state["refused"] and " ".join(words).startswith(state["refused"]):
        fail("Forbidden")
    if verb == "get":
        if len(words) == 2:
            return {"items": chosen(objects, words[1], options)}
        named = [one for one in chosen(objects, words[1], options) if one["metadata"]["name"] == words[2]]
        return named[0] if named else None
    if verb == "delete":
        gone = [
            one for one in chosen(objects, words[1], options) if len(words) == 2 or one["metadata"]["name"] in words
        ]
        for one in gone:
            del objects[place(one)]
        return None
    if verb in ("annotate", "wait", "scale"):
        return adjust(objects, words, options)
    return write(state, verb)


def adjust(objects: dict[str, Any], words: list[str], options: dict[str, str]) -> None:
    """Change one thing about an object, or see that there is none."""
    if words[0] == "annotate":
        (named,) = [one for one in chosen(objects, words[1], options) if one["metadata"]["name"] == words[2]]
        named["metadata"].setdefault("annotations", {}).update([words[3].split("=")])
    elif words[0] == "scale":
        objects[f"Deployment/{options['namespace']}/hub"]["spec"]["replicas"] = int(options["replicas"])
    elif chosen(objects, words[1], options):
        fail("timeout")


def write(state: dict[str, Any], verb: str) -> Any:
    """Take objects in."""
    objects = state["objects"]
    body = json.load(sys.stdin)
    last = None
    for one in body["items"] if body["kind"] == "List" else [body]:
        before = objects.get(place(one))
        if verb == "create" and before:
            fail("AlreadyExists")
        if verb == "replace" and not before:
            fail("NotFound")
        version = one["metadata"].get("resourceVersion")
        if version and version != before["metadata"]["resourceVersion"]:
            fail("Conflict")
        state["version"] += 1
        metadata = {
            **one["metadata"],
            "resourceVersion": str(state["version"]),
            "creationTimestamp": "2030-01-01T00:00:00Z",
        }
        last = objects[place(one)] = {**one, "metadata": metadata}
    return last


def place(one: dict[str, Any]) -> str:
    """Tell an object from others."""
    return f"{one['kind']}/{one['metadata'].get('namespace', '')}/{one['metadata']['name']}"


main()
