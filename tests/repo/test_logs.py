"""docs/logs.md shows what is tried."""

import re
from typing import Any

import yaml

from dev.configuration import ROOT

TEXT = (ROOT / "docs/logs.md").read_text()


def blocks(language: str) -> list[str]:
    """Give the document's pieces of code in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_filebeats_configuration_is_the_one_that_ran() -> None:
    """What an operator is told to give Elastic's Filebeat is what tests/interop gives it."""
    shown: dict[str, Any] = yaml.safe_load(blocks("yaml")[0])
    assert shown == yaml.safe_load((ROOT / "tests/interop/filebeat.yml").read_text())


def test_fields_are_those_of_an_event() -> None:
    """The fields that are always there, by the document, are those of the README's event beside the collector's own."""
    (table,) = re.findall(r"^\| field \|.*\n\|[-|]+\n((?:\|.*\n)+)", TEXT, re.MULTILINE)
    told: set[str] = set()
    for row in table.splitlines():
        names = re.findall(r"`([^`]+)`", row.split("|")[1])
        parent = names[0].rpartition(".")[0]
        told |= {parent + name if name.startswith(".") else name for name in names}
    (example,) = re.findall(r"^```json\n(.*?)^```", (ROOT / "filebeat/README.md").read_text(), re.MULTILINE | re.DOTALL)
    event = {name: value for name, value in yaml.safe_load(example).items() if name != "@metadata"}
    collectors = {"shipper_certificate"}
    sometimes = {"log.flags", "container.id", "container.name"}
    assert told == leaves(event) | collectors | sometimes


def test_the_harness_cases_are_tests() -> None:
    """Each correctness case of vector-test-harness is a test by its name."""
    cases = {
        *("disk_buffer_persistence", "file_rotate_create", "file_rotate_truncate", "file_truncate"),
        *("sighup", "wrapped_json", "docker_partial_events_merging"),
    }
    files = [file for suite in ("filebeat", "logstash") for file in (ROOT / "tests" / suite).glob("test_*.py")]
    found = {
        name for file in files for name in re.findall(r"^(?:async )?def test_(\w+)", file.read_text(), re.MULTILINE)
    }
    assert cases <= found


def leaves(value: dict[str, Any], above: str = "") -> set[str]:
    """Name the fields of an event that have no fields below them."""
    found: set[str] = set()
    for name, inner in value.items():
        found |= leaves(inner, f"{above}{name}.") if isinstance(inner, dict) else {f"{above}{name}"}
    return found
