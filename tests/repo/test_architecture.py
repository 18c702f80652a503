"""The documents show which parts there are, who speaks to whom, and on which ports, as the services are told it."""

import re
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest
from jld_embedded.services import PORTS, Stack

from dev.configuration import COMPONENTS, ROOT

DOCUMENT = (ROOT / "docs/architecture.md").read_text()

OUTSIDE = {
    "browser": "whom all of it is for",
    "homes": "folders, of which the fileserver is what speaks for them",
    "logs": "files that everything writes by its standard output",
    "receiver": "whoever collects the events behind the broker; `make logs` is one",
}
"""What the diagram has besides parts, with what it is."""

FOR_BROWSERS = {
    ("hub", "nginx"): "OAUTH_CALLBACK_URL is where GitHub sends the browser, and where the site is",
    ("github", "nginx"): "STANDIN_CALLBACK_URL, likewise",
}
"""Addresses of one part that another has only to tell a browser."""

WITHOUT_SETTING = {
    ("hub", "lab"): "the hub starts the lab and chooses its port",
    ("lab", "hub"): "the hub tells the lab, in its environment, HUB_CONNECT_URL",
    ("proxy", "lab"): "the hub tells the proxy's API where the lab is",
}
"""Arrows between parts that no service's settings state."""

LINES = {
    "frame": re.compile(r"flowchart \w\w|end|"),
    "node": re.compile(r'(?:subgraph )?(?P<id>\w+)(?:\["[^"]+"\]|\(\["[^"]+"\]\)|\[\("[^"]+"\)\])'),
    "arrow": re.compile(r'(?P<begin>\w+) -(?:-|\.-)>\|"(?P<label>[^"]+)"\| (?P<end>\w+)'),
}
"""The forms of Mermaid's lines that the diagram may use, so that none is passed over."""

MakeStack = Callable[..., Stack]

Pair = tuple[str, str]


class Diagram(NamedTuple):
    """What a diagram shows.

    Attributes:
        nodes: names of its nodes and frames.
        arrows: label by the names of begin and end.
    """

    nodes: set[str]
    arrows: dict[Pair, str]


def diagram(document: str) -> Diagram:
    """Read the one diagram of a document."""
    (text,) = re.findall(r"^```mermaid\n(.*?)^```", document, re.MULTILINE | re.DOTALL)
    found = Diagram(set(), {})
    for line in map(str.strip, text.splitlines()):
        matches = {form: match for form, pattern in LINES.items() if (match := pattern.fullmatch(line))}
        assert matches, f"a line of no known form: {line}"
        if node := matches.get("node"):
            found.nodes.add(node["id"])
        if arrow := matches.get("arrow"):
            assert (arrow["begin"], arrow["end"]) not in found.arrows, f"one arrow, with all that is to say: {line}"
            found.arrows[arrow["begin"], arrow["end"]] = arrow["label"]
    return found


NOT_DRAWN = {
    "compose": "starts the same parts in another way; the table of networks says who meets whom there",
    "k8s": "likewise, on a cluster",
}


def parts(stack: Stack) -> set[str]:
    """Name all parts: the folders of components, and what runs as a service without one of its own."""
    folders = {Path(component.folder).name for component in COMPONENTS} - set(NOT_DRAWN)
    return folders | {service.name for service in stack.services()}


def stated(stack: Stack) -> dict[Pair, set[str]]:
    """Find which service is told a port of which other one, and by which variables or options."""
    owners = {str(port): name.partition("_")[0] for name, port in stack.ports.items()}
    owners[str(stack.ports["https"])] = "nginx"
    found: dict[Pair, set[str]] = defaultdict(set)
    for service in stack.services():
        for name, value in (*service.environment.items(), *pairwise(service.argv)):
            for number in re.findall(r"(?<=:)\d+\b|^\d+$", value):
                if owners.get(number, service.name) != service.name:
                    found[service.name, owners[number]].add(name)
    return found


def wrong(document: str, stack: Stack) -> list[str]:
    """Say what a document's diagram shows that is not so, and what it lacks."""
    shown, known, told = diagram(document), parts(stack), stated(stack)
    between = {pair for pair in shown.arrows if known.issuperset(pair)}
    drawable = {pair: names for pair, names in told.items() if pair not in FOR_BROWSERS}
    return [
        *(f"{name} is not drawn" for name in (known | set(OUTSIDE)) - shown.nodes),
        *(f"{name} is drawn and no part" for name in shown.nodes - known - set(OUTSIDE)),
        *(f"{pair} begins or ends nowhere" for pair in shown.arrows if not shown.nodes.issuperset(pair)),
        *(f"{pair} is not drawn: {names}" for pair, names in drawable.items() if pair not in between),
        *(
            f"{pair} is drawn without {names}"
            for pair, names in drawable.items()
            if not any(name in shown.arrows.get(pair, name) for name in names)
        ),
        *(f"{pair} is drawn, and no setting says so" for pair in between - set(drawable) - set(WITHOUT_SETTING)),
        *(f"{pair} is not drawn" for pair in set(WITHOUT_SETTING) - between),
        *(f"{pair} has a setting after all" for pair in set(WITHOUT_SETTING) & set(drawable)),
        *(f"{pair} is told no browser any more" for pair in set(FOR_BROWSERS) - set(told)),
    ]


def first_cells(document: str, header: str) -> list[str]:
    """Read the first column of the table whose first column has this header."""
    (table,) = re.findall(rf"^\| {header} \|.*\n\|[-|]+\n((?:\|.*\n)+)", document, re.MULTILINE)
    return [row.split("|")[1].strip() for row in table.splitlines()]


def test_diagram_is_true(make_stack: MakeStack) -> None:
    """The diagram has every part and nothing else, and an arrow wherever a setting says where another part is."""
    assert wrong(DOCUMENT, make_stack()) == []


@pytest.mark.parametrize("name", ["hub", "lab", "proxy", "github", "broker", "filebeat", "keepalive", "embedded"])
def test_missing_part_is_noticed(name: str, make_stack: MakeStack) -> None:
    """A part that is not in the diagram is named."""
    without = re.sub(rf"^ *(?:subgraph )?{name}[\[(].*\n", "", DOCUMENT, flags=re.MULTILINE)
    assert f"{name} is not drawn" in wrong(without, make_stack())


@pytest.mark.parametrize(
    ("pattern", "instead", "complaint"),
    [
        (r"^ *filebeat -->.*logstash\n", "", r"\('filebeat', 'logstash'\) is not drawn: {'FILEBEAT_COLLECTOR_PORT'}"),
        (r"RABBITMQ_TARGET_PORT", "port", r"\('logstash', 'broker'\) is drawn without {'RABBITMQ_TARGET_PORT'}"),
        (r"^( *)(hub\[.*\n)", r'\1\2\1redis["a cache"]\n', "redis is drawn and no part"),
        (r"^( *)(nginx -->.*)proxy\n", r"\1\2proxy\n\1\2hub\n", r"\('nginx', 'hub'\) is drawn, and no setting says so"),
        (r"^ *lab -->.*hub\n", "", r"\('lab', 'hub'\) is not drawn"),
    ],
)
def test_wrong_diagram_is_noticed(pattern: str, instead: str, complaint: str, make_stack: MakeStack) -> None:
    """A missing arrow, one without its setting, one without a reason, and what is no part are named."""
    changed = re.sub(pattern, instead, DOCUMENT, flags=re.MULTILINE)
    assert changed != DOCUMENT
    assert [line for line in wrong(changed, make_stack()) if re.fullmatch(complaint, line)]


def test_absence_of_each_part_is_told(make_stack: MakeStack) -> None:
    """The table of what happens when a part is away has each part that runs, once."""
    told = first_cells(DOCUMENT, "Away")
    assert sorted(told) == sorted(parts(make_stack()) - {"embedded"})


def test_ways_name_their_stations() -> None:
    """Each of the three ways of the data is a numbered text that names the parts on it in their order."""
    ways = {
        "From sign-in to lab": ["nginx", "proxy", "hub", "GitHub", "fileserver", "lab"],
        "A file": ["lab", "fileserver"],
        "A log line": ["filebeat", "logstash", "broker"],
    }
    for title, stations in ways.items():
        (text,) = re.findall(rf"^## {title}\n(.*?)(?=^## )", DOCUMENT, re.MULTILINE | re.DOTALL)
        assert re.search(r"^1\. .*^2\. .*^3\. ", text, re.MULTILINE | re.DOTALL), title
        assert re.search(r"\b.*?\b".join(stations), text, re.DOTALL), f"{title}: {stations}"


def test_ports_are_told_as_they_are_counted() -> None:
    """dev/embedded/README.md has each port of the stack in its order, with its service, and the port of HTTPS."""
    readme = (ROOT / "dev/embedded/README.md").read_text()
    (table,) = re.findall(r"^\| Port \|.*\n\|[-|]+\n((?:\|.*\n)+)", readme, re.MULTILINE)
    rows = [[cell.strip() for cell in row.split("|")[1:3]] for row in table.splitlines()]
    expected = [[f"+{offset}", name.partition("_")[0]] for offset, name in enumerate(PORTS)]
    assert rows == [["`EMBEDDED_HTTPS_PORT`", "nginx"], *expected]


def test_number_of_ports_is_told_right() -> None:
    """Wherever it is told how many ports follow EMBEDDED_PORT, it is the number of them."""
    words = {13: "thirteen", 14: "fourteen", 15: "fifteen", 16: "sixteen"}
    files = ("dev/embedded/README.md", "docs/configuration.md", ".env.example")
    told = {name: re.findall(r"next (\w+) are used too", (ROOT / name).read_text()) for name in files}
    assert told == {name: [words[len(PORTS) - 1]] for name in files}
