"""What Prometheus and Grafana make of k8s/monitoring: expressions, the metrics that they ask for, and targets."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import promql_parser as parser
import yaml
from stack import CHECKOUT

FOLDER = CHECKOUT / "k8s/monitoring"

PROMETHEUS = {"up": {"job", "instance"}, "ALERTS": {"alertname", "alertstate", "severity", "system"}}
"""Metrics of Prometheus' own, and their labels beside those of the scraped."""

VARIABLES = {"$__rate_interval": "5m"}
"""What Grafana puts into an expression."""

Labels = Mapping[str, str]


class Expression(NamedTuple):
    """An expression.

    Attributes:
        place: Title of the panel, or name of the alert.
        text: In PromQL.
        shown: Labels that the texts beside it show.
    """

    place: str
    text: str
    shown: frozenset[str]


def dashboard() -> dict[str, Any]:
    """Read the dashboard."""
    return dict(json.loads((FOLDER / "dashboard.json").read_text()))


def alerts() -> list[dict[str, Any]]:
    """Read the alerts."""
    return [rule for group in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]


def expressions() -> list[Expression]:
    """Return all expressions of the dashboard and the alerts."""
    found = []
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            shown = re.findall(r"{{\s*(\w+)\s*}}", target.get("legendFormat", ""))
            found.append(Expression(f"panel {panel['title']}", target["expr"], frozenset(shown)))
    marks = dashboard()["annotations"]["list"]
    found += [Expression(f"annotation {one['name']}", one["expr"], frozenset()) for one in marks]
    for alert in alerts():
        shown = re.findall(r"\$labels\.(\w+)", " ".join(alert["annotations"].values()))
        found.append(Expression(f"alert {alert['alert']}", alert["expr"], frozenset(shown)))
    return found


def nodes(expression: str) -> list[Any]:
    """Parse an expression and return all nodes of its tree.

    Raises:
        ValueError: It is no PromQL.
    """
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    found: list[Any] = []
    parser.walk(parser.parse(expression), found.append)
    return found


def selectors(expression: str) -> list[tuple[str, list[parser.Matcher]]]:
    """Return the metrics that an expression names, each with the conditions on its labels."""
    found = []
    for node in nodes(expression):
        selector = node.vector_selector if isinstance(node, parser.MatrixSelector) else node
        if isinstance(selector, parser.VectorSelector):
            assert selector.name, f"{expression}: a selector names no metric"
            found.append((selector.name, list(selector.matchers.matchers)))
    return found


def grouped(expression: str) -> set[str]:
    """Return the labels by which an expression groups or joins."""
    found: set[str] = set()
    for node in nodes(expression):
        modifier = getattr(node, "modifier", None)
        modifier = getattr(modifier, "matching", modifier)
        found |= set(getattr(modifier, "labels", ()))
    return found


def made(expression: str) -> set[str]:
    """Return the labels that an expression makes itself."""
    calls = [node for node in nodes(expression) if isinstance(node, parser.Call) and node.func.name == "label_replace"]
    return {call.args[1].val for call in calls}


class Figures:
    """What some parts export.

    Args:
        pages: Their metrics in Prometheus' text form.
    """

    def __init__(self, pages: Iterable[str]) -> None:
        self.samples: dict[str, list[Labels]] = {}
        """Label sets by name; what is declared only, as its event has not come yet, has none."""
        # Not by the parser of prometheus_client, which calls every counter `_total`, as Prometheus does not.
        for line in "\n".join(pages).splitlines():
            if declared := re.match(r"# TYPE (\w+) ", line):
                self.samples.setdefault(declared[1], [])
            elif sample := re.match(r"(\w+)(?:{(.*)})? ", line):
                labels = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', sample[2] or "")
                self.samples.setdefault(sample[1], []).append(dict(labels))

    def lacks(self, expression: Expression) -> Iterator[str]:
        """Say what an expression asks for that is not there."""
        own = scrape_labels()
        known = own | made(expression.text)
        is_known = True
        for metric, conditions in selectors(expression.text):
            if metric in PROMETHEUS:
                known |= PROMETHEUS[metric]
                continue
            if metric not in self.samples:
                yield f"{expression.place}: nothing exports {metric}"
                continue
            samples = self.samples[metric]
            is_known &= bool(samples)
            known |= {label for labels in samples for label in labels}
            asked = [condition for condition in conditions if condition.name not in own]
            if samples and not any(all(_holds(condition, labels) for condition in asked) for labels in samples):
                yield f"{expression.place}: no {metric} is like {[f'{one.name} {one.value}' for one in asked]}"
        if is_known and (strange := (grouped(expression.text) | expression.shown) - known):
            yield f"{expression.place}: nothing has the labels {sorted(strange)}"


def _holds(condition: Any, labels: Labels) -> bool:
    if condition.name not in labels:
        return False
    value = labels[condition.name]
    match condition.op:
        case parser.MatchOp.Equal:
            return bool(value == condition.value)
        case parser.MatchOp.NotEqual:
            return bool(value != condition.value)
        case parser.MatchOp.Re:
            return bool(re.fullmatch(condition.value, value))
        case _:
            return not re.fullmatch(condition.value, value)


@cache
def scrapes() -> list[dict[str, Any]]:
    """Read the scrape configuration."""
    return list(yaml.safe_load((FOLDER / "scrape.yaml").read_text())["scrape_configs"])


def scrape_labels() -> set[str]:
    """Return the labels that scraping adds to each sample."""
    rules = [rule for one in scrapes() for rule in one["relabel_configs"]]
    return {rule["target_label"] for rule in rules if "target_label" in rule} | {"instance"}


class Target(NamedTuple):
    """Where metrics are, found as Prometheus finds it.

    Attributes:
        address: Host and port.
        labels: What its samples get.
        wants_token: Whether the token goes along.
    """

    address: str
    labels: Labels
    wants_token: bool


def targets(pods: Iterable[dict[str, Any]]) -> list[Target]:
    """Apply the scrape configuration to pods, as the API describes them.

    https://prometheus.io/docs/prometheus/latest/configuration/configuration/#relabel_config
    """
    found = []
    discovered = [meta for pod in pods for meta in _discovered(pod)]
    for scrape in scrapes():
        (places,) = scrape["kubernetes_sd_configs"]
        for meta in discovered:
            if meta["__meta_kubernetes_namespace"] not in places["namespaces"]["names"]:
                continue
            labels = _relabelled(dict(meta), scrape["relabel_configs"])
            if labels is not None:
                found.append(Target(meta["__address__"], labels, "authorization" in scrape))
    return found


def _discovered(pod: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Give a set of labels for each port of each container, as service discovery of the role `pod` does."""
    for container in pod["spec"]["containers"]:
        for port in container.get("ports", []):
            yield {
                "__address__": f"{pod.get('status', {}).get('podIP', 'unknown')}:{port['containerPort']}",
                "__meta_kubernetes_namespace": pod["metadata"]["namespace"],
                "__meta_kubernetes_pod_name": pod["metadata"]["name"],
                "__meta_kubernetes_pod_node_name": pod["spec"].get("nodeName", ""),
                "__meta_kubernetes_pod_container_port_number": str(port["containerPort"]),
                **{
                    f"__meta_kubernetes_pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}": value
                    for name, value in pod["metadata"]["labels"].items()
                },
            }


def _relabelled(labels: dict[str, str], rules: list[dict[str, Any]]) -> Labels | None:
    for rule in rules:
        value = ";".join(labels.get(name, "") for name in rule.get("source_labels", []))
        match = re.fullmatch(str(rule.get("regex", "(.*)")), value)
        if rule.get("action", "replace") == "keep":
            if not match:
                return None
        elif match:
            labels[rule["target_label"]] = rule.get("replacement", value)
    return {name: value for name, value in labels.items() if not name.startswith("__")}
