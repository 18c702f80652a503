"""Documents lead where they say."""

import re

import pytest

from dev.configuration import ROOT


def links(text: str) -> list[tuple[str, str]]:
    """List the links and pictures of a document that lead to files: path, which may be empty, and heading."""
    prose = re.sub(r"^```.*?^```|`[^`\n]+`", "", text, flags=re.MULTILINE | re.DOTALL)
    targets = re.findall(r"\]\(([^()\s]+)\)", prose)
    return [(path, anchor) for path, _, anchor in (target.partition("#") for target in targets) if ":" not in path]


def headings(text: str) -> set[str]:
    """List the headings of a document as GitHub names them in links."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_lead_somewhere(texts: dict[str, str]) -> None:
    """Each link of a document to a file of the repository names one that exists, and a heading that it has."""
    wrong = []
    for name, text in texts.items():
        if not name.endswith(".md"):
            continue
        for path, anchor in links(text):
            target = (ROOT / name).parent / path if path else ROOT / name
            if not target.exists() or (anchor and anchor not in headings(target.read_text())):
                wrong.append(f"{name}: {path}#{anchor}")
    assert wrong == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "see [it](../a/README.md#how-it-fails) and ![one](b.png)",
            [("../a/README.md", "how-it-fails"), ("b.png", "")],
        ),
        ("see [here](#below), not [there](https://example.org/a.md)", [("", "below")]),
        ("`[a](b.md)`\n\n```\n[c](d.md)\n```\n", []),
    ],
)
def test_links_are_seen(text: str, found: list[tuple[str, str]]) -> None:
    """The check of links sees those to files and headings, and neither addresses nor code."""
    assert links(text) == found
    assert headings("# How it fails\n\n## `make up`: first\n") == {"how-it-fails", "make-up-first"}
