"""No file and no commit message names what belongs to one machine: its paths, and where its packages come from."""

import re

from dev.configuration import ROOT

# In pieces, so that this file does not name them itself.
REGISTRIES = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("npmmirror", "com"),
        ("yarnpkg", "com"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("proxy", "golang", "org"),
        ("anaconda", "org"),
        ("maven", "org"),
    )
]

MEMBERS = ("alice", "bob", "carol", "mallory", "jovyan")
"""Whose homes may be named: the members at the stand-in, and the one of Jupyter's images."""

FORMS = [
    "/" + r"work/\w+",
    "/" + r"root/\w+",
    "/" + r"Users/\w+",
    "/" + rf"home/(?!(?:{'|'.join(MEMBERS)})\b)\w+",
    r"[A-Z]:\\" + r"\w+\\",
    # A checkout in a folder such as /src or /app would make any container's path a hit.
    *([re.escape(str(ROOT)) + r"(?![\w-])"] if len(ROOT.parts) > len(("/", "src")) else []),
]

PATHS = re.compile(rf"(?<![\w.<}}-])(?:{'|'.join(FORMS)})")

REGISTRY = re.compile("|".join(map(re.escape, REGISTRIES)), re.IGNORECASE)


def named(text: str, pattern: re.Pattern[str]) -> list[str]:
    """List where a text names what it should not: line and what."""
    return [f"{text.count(chr(10), 0, hit.start()) + 1}: {hit[0]}" for hit in pattern.finditer(text)]


def test_files_name_no_registry(texts: dict[str, str]) -> None:
    """No file names the host of a package registry: which one is used is the machine's own setting."""
    found = {name: hits for name, text in texts.items() if (hits := named(text, REGISTRY))}
    assert found == {}


def test_files_name_no_path_of_one_machine(texts: dict[str, str]) -> None:
    """No file names a path that only its author's machine has."""
    found = {name: hits for name, text in texts.items() if (hits := named(text, PATHS))}
    assert found == {}


def test_messages_name_neither(messages: list[str]) -> None:
    """No message of the whole history names a registry's host or a path of one machine."""
    found = {message.partition(" ")[0]: hits for message in messages if (hits := named(message, REGISTRY))}
    found |= {message.partition(" ")[0]: hits for message in messages if (hits := named(message, PATHS))}
    assert found == {}


def test_names_of_files_are_portable(files: list[str]) -> None:
    """Names of files are plain and differ by more than case, so that every machine can check them out."""
    assert [name for name in files if not re.fullmatch(r"[\w./@+-]+", name, re.ASCII)] == []
    assert len({name.lower() for name in files}) == len(files)


def test_patterns_find_what_they_are_for() -> None:
    """The patterns see a registry and paths of machines in a text, and leave a member's home alone."""
    assert named(f"https://files.{REGISTRIES[1]}/x", REGISTRY) == [f"1: {REGISTRIES[1]}"]
    assert named("\nsee file://" + "/" + "home/jane/src", PATHS) == ["2: /" + "home/jane"]
    assert named("/home/alice/notebook.ipynb is below /home/<login>", PATHS) == []
