"""Dashboard and alerts ask of the log pipeline what both ends count, and leave out nothing of that."""

import re
from pathlib import Path

import jld_filebeat.metrics
import jld_logstash.metrics
import prometheus_client
import pytest
from jld_filebeat.lag import Lag
from jld_logstash.intake import Intake
from jld_logstash.spool import Spool
from monitoring import Figures, alerts, expressions, selectors
from stack import CHECKOUT

ENDS = ("filebeat", "logstash")


@pytest.fixture
def pages(tmp_path: Path) -> dict[str, str]:
    """Give what each end exports when everything has happened once."""
    shipper = jld_filebeat.metrics.Metrics()
    shipper.show({"/var/log/a.log": Lag(1, 1)})
    spool = Spool(tmp_path / "spool", 2**30)
    collector = jld_logstash.metrics.Metrics(spool)
    collector.watch(Intake(spool, "a shipper"))
    collector.certificate_ends.labels("filebeat").set(1)
    for kind in ("tls", "protocol", "slow", "too-many"):
        collector.refused.labels(kind).inc()
    return {
        "filebeat": prometheus_client.generate_latest(shipper.registry).decode(),
        "logstash": collector.page().decode(),
    }


def own(page: str) -> set[str]:
    """Name the metrics of a page that are a component's own, as a README does."""
    names = re.findall(r"^# TYPE ((?:filebeat|logstash)_\w+)", page, re.MULTILINE)
    return {name for name in names if not name.endswith("_created")}


def asked_for() -> set[str]:
    """Name the metrics of both ends that dashboard and alerts ask for."""
    found = {name for one in expressions() for name, _ in selectors(one.text)}
    return {name.removesuffix("_bucket") for name in found if name.startswith(tuple(f"{end}_" for end in ENDS))}


def test_all_that_is_asked_for_is_counted(pages: dict[str, str]) -> None:
    """Each metric, label and value that an expression asks of the pipeline is there."""
    figures = Figures(pages.values())
    asked = [
        one
        for one in expressions()
        if all(name.startswith(("filebeat_", "logstash_")) for name, _ in selectors(one.text))
    ]
    assert len(asked) > 40
    assert not [lack for one in asked for lack in figures.lacks(one)]


def test_all_that_is_counted_is_shown(pages: dict[str, str]) -> None:
    """Each metric of both ends is on the dashboard or watched by an alert."""
    counted = {name for page in pages.values() for name in own(page)}
    seen_otherwise = {
        "logstash_events_acknowledged_total": "the shippers' own count is shown",
        "logstash_spool_damaged_places": "logstash_events_dropped_total is shown, which is as many",
    }
    assert counted - asked_for() == set(seen_otherwise)


@pytest.mark.parametrize("end", ENDS)
def test_all_that_is_counted_is_explained(end: str, pages: dict[str, str]) -> None:
    """The README of each end has each of its metrics in the table, and no other."""
    rows = re.findall(r"^\| (`(?:filebeat|logstash)_.*?) \|", (CHECKOUT / end / "README.md").read_text(), re.MULTILINE)
    told = set()
    for row in rows:
        first = ""
        for name in re.findall(r"`(\w+)(?:\{\w+\})?`", row):
            # `logstash_events_returned_total`, `_nacked_total`
            first = first or name
            told.add(name if name.startswith(end) else expand(first, name, own(pages[end])))
    assert told == own(pages[end])


def expand(first: str, rest: str, known: set[str]) -> str:
    """Give the metric whose name begins as the first of a row and ends as told."""
    parts = first.split("_")
    made = [("_".join(parts[:count]) + rest) for count in range(len(parts), 0, -1)]
    return next((name for name in made if name in known), first + rest)


def test_each_alarm_has_a_section() -> None:
    """docs/logs.md says for each alert of the pipeline what to do, and for no other."""
    text = (CHECKOUT / "docs/logs.md").read_text()
    told = set(re.findall(r"^### (\w+)$", text, re.MULTILINE))
    named = {
        alert["alert"]: re.findall(r"docs/logs\.md#(\w+)$", alert["annotations"]["description"]) for alert in alerts()
    }
    assert {name for name, section in named.items() if section} == told
    assert all(section == [name.lower()] for name, section in named.items() if section)
