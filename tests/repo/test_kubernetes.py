"""What the documents tell of a cluster is what its manifests, policies and alerts have."""

import re
import runpy
from itertools import product
from typing import Any

import pytest
import yaml

from dev.configuration import ROOT

Object = dict[str, Any]

Way = tuple[str, str, str]

FOLDERS = ("hub", "nginx", "fileserver", "filebeat", "logstash", "dev/github", "dev/broker")

OBJECTS: list[Object] = [
    found
    for folder in FOLDERS
    for file in sorted((ROOT / folder / "kubernetes").glob("*.yaml"))
    for found in yaml.safe_load_all(file.read_text())
]

WORKLOADS = [found for found in OBJECTS if found["kind"] in ("Deployment", "StatefulSet", "DaemonSet")]

DEMO = {"github", "nginx-github", "broker"}
"""Workloads of the demo alone."""

OF_THE_HUB = "labs"
"""Pods that no manifest has: the hub makes them."""

GENERATED = "images"
"""The workload that the tool writes."""

CALLED = {"server": "fileserver"}
"""Containers that the documents call as compose does."""

EVERYWHERE = ""
"""Stands for the ways that are open in every overlay."""


def section(document: str, title: str) -> str:
    """Read the part of a document below a heading, to the next of its level or above."""
    text = (ROOT / "docs" / document).read_text()
    (found,) = re.findall(rf"^(#+) {re.escape(title)}\n(.*?)(?=^(?!\1#)##? |^\1 |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(found[1])


def table(text: str, header: str) -> list[list[str]]:
    """Read the cells of the one table whose first column has this header."""
    (found,) = re.findall(rf"^\| {header} \|.*\n\|[-|]+\n((?:\|.*\n)+)", text, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in found.splitlines()]


def names(text: str) -> set[str]:
    """Split a list of names."""
    return set(re.findall(r"[a-z]+(?:-[a-z]+)*", text))


def containers(workload: Object) -> list[Object]:
    """List a workload's containers."""
    found: list[Object] = workload["spec"]["template"]["spec"]["containers"]
    return found


def claims(workload: Object, name: str) -> set[str]:
    """Name the claims that hold what a workload keeps; keepalive's is the homes, by NFS."""
    spec = workload["spec"]
    volumes = spec["template"]["spec"].get("volumes", [])
    mounted = {one["persistentVolumeClaim"]["claimName"] for one in volumes if "persistentVolumeClaim" in one}
    made = {f"{one['metadata']['name']}-{name}-0" for one in spec.get("volumeClaimTemplates", [])}
    return (mounted | made) - {"keepalive"}


def test_namespaces_are_told() -> None:
    """docs/security.md has each namespace with the standard that it enforces and all that runs there."""
    label = "pod-security.kubernetes.io/enforce"
    told = {
        name.strip("`"): (standard, names(workloads.replace("demo:", "")))
        for name, standard, workloads, _ in table(section("security.md", "On a cluster"), "namespace")
    }
    spaces = yaml.safe_load_all((ROOT / "k8s/base/namespaces.yaml").read_text())
    assert told == {
        (name := space["metadata"]["name"]): (
            space["metadata"]["labels"][label],
            {found["metadata"]["name"] for found in WORKLOADS if found["metadata"]["namespace"] == name}
            | ({OF_THE_HUB, GENERATED} if name.endswith("-labs") else set()),
        )
        for space in spaces
    }


def test_workloads_are_told() -> None:
    """docs/architecture.md has each workload with its namespace and its kind, and the claims of its own."""
    told = {
        name: (namespace, re.findall(r"\w+", kind)[0], set(re.findall(r"`([\w-]+)`", kept)))
        for name, namespace, kind, kept, _ in table(section("architecture.md", "On a cluster"), "workload")
        if name != GENERATED
    }
    assert told == {
        (name := found["metadata"]["name"]): (found["metadata"]["namespace"], found["kind"], claims(found, name))
        for found in WORKLOADS
    }


def test_capabilities_have_reasons() -> None:
    """Each capability of a container stands in docs/security.md with its reason: none that compose has not."""
    rows = table((ROOT / "docs/security.md").read_text(), "container")
    told = {(name, one) for name, capabilities, _ in rows for one in re.findall(r"[A-Z_]{4,}", capabilities)}
    added = {
        (CALLED.get(one["name"], one["name"]), capability)
        for found in WORKLOADS
        for one in containers(found)
        for capability in one["securityContext"]["capabilities"].get("add", [])
    }
    assert added == told


def test_rights_of_the_hub_are_told() -> None:
    """docs/security.md has each verb that the hub's Role has, and no other; nothing else has a Role."""
    (row,) = (cells for cells in table(section("security.md", "On a cluster"), "exception") if "a token" in cells[0])
    told = {(what, verb) for what, verbs in re.findall(r"`([a-z/]+)`: ([a-z, ]+)", row[1]) for verb in names(verbs)}
    (role,) = (found for found in OBJECTS if found["kind"] in ("Role", "ClusterRole"))
    rules = [(rule["resources"], rule["verbs"]) for rule in role["rules"]]
    assert told == {pair for resources, verbs in rules for pair in product(resources, verbs)}


def tabulated() -> dict[str, set[Way]]:
    """Read who may speak to whom from docs/security.md, by overlay."""
    found: dict[str, set[Way]] = {EVERYWHERE: set()}
    for begins, ends, _ in table(section("security.md", "Who may speak to whom"), "from"):
        overlay, whose = re.fullmatch(r"(?:\*(\w+):\* )?(.*)", begins).groups()  # type: ignore[union-attr]
        ways = found.setdefault(overlay or EVERYWHERE, set())
        for begin, (end, port) in product(whose.split(", "), re.findall(r"([a-z][a-z -]*) (\d+|any)\b", ends)):
            assert (begin, end, port) not in ways
            ways.add((begin, end, port))
    return found


def in_words(ways: set[tuple[str, str, int]], policies: dict[str, Any]) -> set[Way]:
    """Say ways as the document does: by `anywhere` and `public internet`."""
    everywhere, public = {*policies["OUTSIDE"], *policies["FOREIGN"]}, {"internet", "internet6"}
    found = set()
    for begin, end, port in ways:
        if {(one, end, port) for one in everywhere} <= ways:
            found.add(("anywhere" if begin in everywhere else begin, end, str(port)))
        elif {(begin, one, port) for one in everywhere} <= ways:
            found.add((begin, "anywhere", str(port)))
        elif {(begin, one, every) for one in public for every in policies["PORTS"]} <= ways and end in public:
            found.add((begin, "public internet", "any"))
        else:
            found.add((begin, "public internet" if end in public else end, str(port)))
    return found


def test_ways_are_told() -> None:
    """docs/security.md has each way that the policies of an overlay leave open, and no other."""
    policies = runpy.run_path(str(ROOT / "tests/k8s/test_manifests_ways.py"))
    expected = {EVERYWHERE: policies["WAYS"], **policies["OF_OVERLAYS"]}
    assert tabulated() == {overlay: in_words(ways, policies) for overlay, ways in expected.items()}


def test_sizes_are_told() -> None:
    """docs/operate.md has what each part asks for: of every container but the demo's."""
    told = {
        part.partition(",")[0]: (cpu, memory)
        for part, cpu, memory, _ in table(section("operate.md", "Sizes"), "part")
        if part != "a lab"
    }
    asked = {
        CALLED.get(one["name"], one["name"]): tuple(one["resources"]["requests"][name] for name in ("cpu", "memory"))
        for found in WORKLOADS
        if found["metadata"]["name"] not in DEMO
        for one in containers(found)
    }
    assert told == asked


def test_alerts_are_told() -> None:
    """docs/operate.md lists every alert, with the section that its text names: in it, or in docs/logs.md."""
    told = {
        name: [link if link.startswith("logs.md") else f"operate.md{link}" for link in re.findall(r"\]\((.+?)\)", more)]
        for name, _, more in table(section("operate.md", "Alerts"), "alert")
    }
    groups = yaml.safe_load((ROOT / "k8s/monitoring/alerts.yaml").read_text())["groups"]
    assert told == {
        rule["alert"]: re.findall(r"docs/(\w+\.md#[\w-]+)", rule["annotations"]["description"])
        for group in groups
        for rule in group["rules"]
    }


@pytest.mark.parametrize(
    ("ways", "said"),
    [
        ({("internet", "nginx", 8443)}, {("internet", "nginx", "8443")}),
        ({("lab", "internet", 443), ("lab", "internet6", 443)}, {("lab", "public internet", "443")}),
        ({(name, "nginx", 1) for name in ("internet", "internet6", "dns")}, {("anywhere", "nginx", "1")}),
    ],
)
def test_words_for_ways(ways: set[tuple[str, str, int]], said: set[Way]) -> None:
    """What is open to some is not said to be open to all."""
    policies = {"OUTSIDE": ("internet", "internet6"), "FOREIGN": ("dns",), "PORTS": (443, 80)}
    assert in_words(ways, policies) == said
