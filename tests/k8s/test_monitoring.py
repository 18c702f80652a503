"""Dashboard, alerts and scrape configuration: their form, and when alerts fire. tests/e2e asks a running stack."""

import itertools
import re
import subprocess
from collections import Counter
from typing import Any

import pytest
import yaml
from monitoring import (
    FOLDER,
    Expression,
    Figures,
    alerts,
    dashboard,
    expressions,
    grouped,
    nodes,
    scrape_labels,
    targets,
)
from stack import CHECKOUT

PORTS = {
    ("hub", 8081),
    ("proxy", 8002),
    ("provisioner", 8083),
    ("keepalive", 8084),
    ("nginx", 8085),
    ("filebeat", 8086),
    ("logstash", 8087),
    ("fileserver", 8088),
}
"""What there is to scrape on each cluster, beside what the demonstration adds."""

Object = dict[str, Any]


@pytest.fixture(scope="module")
def manifests() -> list[Object]:
    """Read the components' objects."""
    files = sorted(CHECKOUT.glob("*/kubernetes/*.yaml"))
    assert files
    return [one for file in files for one in yaml.safe_load_all(file.read_text()) if one]


@pytest.fixture(scope="module")
def pods(manifests: list[Object]) -> list[Object]:
    """Make the pods of the components' workloads, with the label that k8s/base gives to all."""
    found = []
    for one in manifests:
        if template := one.get("spec", {}).get("template"):
            labels = template["metadata"]["labels"] | {"app.kubernetes.io/part-of": "jupyterlabdemo"}
            metadata = {"name": one["metadata"]["name"], "namespace": one["metadata"]["namespace"], "labels": labels}
            found.append({"metadata": metadata, "spec": template["spec"]})
    return found


@pytest.mark.parametrize("expression", expressions(), ids=lambda one: one.place)
def test_promql(expression: Expression) -> None:
    """Each expression is PromQL, and the texts beside it show labels that it leaves."""
    top = nodes(expression.text)[0]
    if type(top).__name__ == "AggregateExpr" and str(top.op) != "topk":  # which leaves all
        assert expression.shown <= grouped(expression.text)


def sections(document: str) -> set[str]:
    """Name the sections of a document as links do."""
    titles = re.findall(r"^###? (.+)$", (CHECKOUT / document).read_text(), re.MULTILINE)
    return {f"{document}#" + re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_alerts() -> None:
    """Each alert says what is the matter, how bad it is, and what to do where; none fires at the first sample."""
    anchors = {anchor for name in ("operate", "logs") for anchor in sections(f"docs/{name}.md")}
    for alert in alerts():
        assert alert["for"]
        assert alert["labels"].keys() == {"severity", "system"}
        assert alert["labels"]["severity"] in {"warning", "critical"}
        assert alert["annotations"].keys() == {"summary", "description"}
        section = re.search(r"\. (docs/\w+\.md#[\w-]+)$", alert["annotations"]["description"])
        assert section, alert["alert"]
        assert section[1] in anchors, alert["alert"]
    for severity in ("warning", "critical"):
        names = Counter(alert["alert"] for alert in alerts() if alert["labels"]["severity"] == severity)
        assert max(names.values()) == 1


def test_dashboard() -> None:
    """The dashboard asks the Prometheus that is chosen, says what each panel shows, and has them side by side."""
    found = dashboard()
    assert "id" not in found
    assert [variable["type"] for variable in found["templating"]["list"]] == ["datasource"]
    rows = [panel["title"] for panel in found["panels"] if panel["type"] == "row"]
    assert rows == ["Labs", "Sign-in", "Homes", "Logs", "Edge", "Parts"]
    taken: set[tuple[int, int]] = set()
    for panel in found["panels"]:
        assert "id" not in panel
        place = panel["gridPos"]
        cells = set(
            itertools.product(
                range(place["x"], place["x"] + place["w"]),
                range(place["y"], place["y"] + place["h"]),
            )
        )
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["description"]
            assert panel["fieldConfig"]["defaults"]["unit"]
            assert {one["datasource"]["uid"] for one in (panel, *panel["targets"])} == {"${datasource}"}
    assert max(x for x, _ in taken) == 23


def test_scrape_finds_the_parts(pods: list[Object]) -> None:
    """Each part is found once, at the port of its metrics and nowhere else; only the hub is shown the token."""
    found = targets(pods)
    assert sorted((target.labels["component"], int(target.address.split(":")[1])) for target in found) == sorted(PORTS)
    assert {target.labels["component"] for target in found if target.wants_token} == {"hub"}
    assert all(target.labels.keys() == scrape_labels() - {"instance"} for target in found)
    assert {target.labels["job"] for target in found} == {"jupyterlabdemo"}


def test_scrape_leaves_strangers(pods: list[Object]) -> None:
    """Somebody else's pods are not scraped, though they be in these namespaces and have such ports."""
    for pod in pods:
        stranger = {name: value for name, value in pod["metadata"]["labels"].items() if not name.endswith("part-of")}
        assert not targets([pod | {"metadata": pod["metadata"] | {"labels": stranger}}])
        assert not targets([pod | {"metadata": pod["metadata"] | {"namespace": "another"}}])


def test_prometheus_may_come_in(manifests: list[Object]) -> None:
    """The policy of each part lets in who is in a namespace with the label for that, at the port of its metrics."""
    way = {"namespaceSelector": {"matchLabels": {"jupyterlabdemo/metrics": "true"}}}
    opened = {
        (policy["metadata"]["name"], port["port"])
        for policy in manifests
        if policy["kind"] == "NetworkPolicy"
        for rule in policy["spec"].get("ingress", [])
        if way in rule.get("from", [])
        for port in rule["ports"]
    }
    assert opened == {("fileserver" if part == "provisioner" else part, port) for part, port in PORTS}


def test_every_part_may_be_down() -> None:
    """The alert that misses parts knows all of them."""
    (alert,) = (alert for alert in alerts() if alert["alert"] == "PartDown")
    assert set(re.findall(r'"component", "(\w+)"', alert["expr"])) == {part for part, _ in PORTS}


def test_every_alert_is_tried() -> None:
    """For each alert alerts_test.yaml says when it fires."""
    tried = (FOLDER / "alerts_test.yaml").read_text()
    assert not [alert["alert"] for alert in alerts() if alert["alert"] not in tried]


@pytest.mark.promtool
def test_alerts_fire() -> None:
    """Prometheus' own tool has the alerts fire when they should, and not when they should not."""
    for verb, file in (("check", "alerts.yaml"), ("test", "alerts_test.yaml")):
        done = subprocess.run(
            ["promtool", verb, "rules", file], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("text", ["no_such_metric", 'a_gauge{kind="x"}', "sum by (kind) (a_gauge)", "a_gauge_total"])
def test_a_mistake_is_found(text: str) -> None:
    """A metric, a label's value or a label that nothing has is found out."""
    figures = Figures(["# TYPE a_gauge gauge\na_gauge 1\n"])
    assert list(figures.lacks(Expression("a panel", text, frozenset())))
