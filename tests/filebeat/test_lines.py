"""From bytes to events: the three formats, what does not fit them, and long lines."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from jld_filebeat import lines, parse

Follow = Callable[[str], Any]


@pytest.fixture
def events(follow: Follow, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Give a function that ships a file of some content and format."""

    def ship(form: str, content: bytes, path: str = "x.log") -> list[dict[str, Any]]:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        shipped: list[dict[str, Any]] = follow(f"{form}:{file}").ship()
        return shipped

    return ship


def docker(log: str, stream: str = "stdout", time: str = "2026-01-02T03:04:05.123456789Z") -> bytes:
    """Write a line as Docker does."""
    return json.dumps({"log": log, "stream": stream, "time": time}).encode() + b"\n"


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        (b"a\n\nb\n", ["a", "", "b"]),
        (b"a\r\nb\rc\n", ["a", "b\rc"]),
        (b"nul\0nul\n", ["nul\0nul"]),
        (b"bad \xff\xc3( utf-8\n", ["bad \ufffd\ufffd( utf-8"]),
        ("schön 😀 \u2028\n".encode(), ["schön 😀 \u2028"]),
        (b'quote " and \\ and \x1b[0m\n', ['quote " and \\ and \x1b[0m']),
        (b"", []),
        (b"no end", []),
    ],
)
def test_plain(events: Any, content: bytes, messages: list[str]) -> None:
    """A plain line is its message, whatever bytes it has, and carries no stream."""
    shipped = events("plain", content)
    assert [event["message"] for event in shipped] == messages
    assert all("stream" not in event and "flags" not in event["log"] for event in shipped)


def test_cri(events: Any) -> None:
    """A line of the CRI gives time, stream and message, and its path the pod."""
    (event,) = events(
        "cri",
        b"2026-01-02T03:04:05.123456789Z stderr F hello  world \n",
        "pods/jupyter_lab-alice_0a1b-2c/notebook/3.log",
    )
    assert event["@timestamp"] == "2026-01-02T03:04:05.123456789Z"
    assert (event["stream"], event["message"]) == ("stderr", "hello  world ")
    assert event["kubernetes"] == {
        "namespace": "jupyter",
        "pod": "lab-alice",
        "container": "notebook",
        "node": "node-1",
    }


@pytest.mark.parametrize(
    ("time", "utc"),
    [
        (b"2026-01-02T03:04:05Z", "2026-01-02T03:04:05.000Z"),
        (b"2026-01-02T03:04:05.1Z", "2026-01-02T03:04:05.100Z"),
        (b"2026-01-02T03:04:05.123456789+02:00", "2026-01-02T01:04:05.123456789Z"),
        (b"2026-01-01T20:04:05.5-07:00", "2026-01-02T03:04:05.500Z"),
    ],
)
def test_time(events: Any, time: bytes, utc: str) -> None:
    """A time is told in UTC, with at least milliseconds and as exactly as it was written."""
    (event,) = events("cri", time + b" stdout F x\n")
    assert event["@timestamp"] == utc


@pytest.mark.parametrize("line", [b"F", b"F ", b"F:tag "])
def test_cri_empty_message(events: Any, line: bytes) -> None:
    """An empty message is a message, and further tags are left out of it."""
    (event,) = events("cri", b"2026-01-02T03:04:05.123Z stdout " + line + b"\n")
    assert event["message"] == ""
    assert "flags" not in event["log"]


@pytest.mark.parametrize(
    ("form", "line"),
    [
        ("cri", b"no container's line"),
        ("cri", b"2026-01-02T03:04:05Z stdin F x"),
        ("cri", b"2026-01-02T03:04:05Z stdout X x"),
        ("cri", b"2026-99-02T03:04:05+01:00 stdout F x"),
        ("cri", b"0001-01-01T00:00:00+23:00 stdout F x"),
        ("docker", b'{"log":"torn'),
        ("docker", b'["log"]'),
        ("docker", b'{"log":1,"stream":"stdout","time":"2026-01-02T03:04:05Z"}'),
        ("docker", b'{"log":"x\\n","stream":"other","time":"2026-01-02T03:04:05Z"}'),
        ("docker", b'{"log":"x\\n","stream":"stdout","time":"yesterday"}'),
        ("docker", b'{"log":"x\\n","stream":"stdout"}'),
    ],
)
def test_malformed(events: Any, form: str, line: bytes) -> None:
    """A line that does not fit its format is shipped whole, and marked."""
    (event,) = events(form, line + b"\n")
    assert event["message"] == line.decode()
    assert event["log"]["flags"] == ["malformed"]
    assert "stream" not in event


def test_docker(events: Any, tmp_path: Path) -> None:
    """A line of Docker's gives time, stream and message, its path the container, and the file beside it the name."""
    identity = "0123456789abcdef" * 4
    folder = tmp_path / identity
    folder.mkdir()
    (folder / "config.v2.json").write_text('{"Name": "/compose-hub-1"}')
    (event,) = events("docker", docker("schön\n", "stderr"), f"{identity}/{identity}-json.log")
    assert event["@timestamp"] == "2026-01-02T03:04:05.123456789Z"
    assert (event["stream"], event["message"]) == ("stderr", "schön")
    assert event["container"] == {"id": identity, "name": "compose-hub-1"}


@pytest.mark.parametrize("config", [None, "{", "[]", '{"Name": 1}'])
def test_docker_without_a_name(events: Any, tmp_path: Path, config: str | None) -> None:
    """Where Docker's own file cannot be read, the event has the container's id alone."""
    folder = tmp_path / "0123456789ab"
    folder.mkdir()
    if config is not None:
        (folder / "config.v2.json").write_text(config)
    (event,) = events("docker", docker("x\n"), "0123456789ab/x-json.log")
    assert event["container"] == {"id": "0123456789ab"}


def test_usual_lines() -> None:
    """Lines that are taken for usual ones of the CRI are what its parser makes of them, one by one."""
    draw = random.Random(5)
    is_usual = []
    for _ in range(2000):
        texts = [
            draw.choice([b"", b"x", b"two words", b"\xff\0", b" ", b"2026-01-02T03:04:05.123Z stdout F x", b"\r"])
            for _ in range(draw.randint(1, 4))
        ]
        content = b"".join(
            b"%b %b %b%b%b\n"
            % (
                draw.choice(
                    [b"2026-01-02T03:04:05.123Z"] * 9 + [b"2026-01-02T03:04:05.1Z", b"2026-01-02T03:04:05.123+01:00"]
                ),
                draw.choice([b"stdout", b"stderr"]),
                draw.choice([b"F"] * 9 + [b"P", b"F:x", b"X"]),
                draw.choice([b" "] * 19 + [b""]),
                text,
            )
            for text in texts
        )
        rows = parse.usual_cri(content + b"the beginning of a line", len(content))
        is_usual.append(rows is not None)
        if rows is not None:
            parsed = [parse.PARSERS["cri"](line) for line in content.split(b"\n")[:-1]]
            assert rows == [(line.time, line.stream, line.text) for line in parsed if line and not line.is_partial]
            assert len(rows) == len(parsed)
    assert 500 < sum(is_usual) < 1900


def test_path_that_is_no_text(events: Any, tmp_path: Path) -> None:
    """A path need not be UTF-8."""
    (event,) = events("plain", b"x\n", b"caf\xe9.log".decode(errors="surrogateescape"))
    assert event["log"]["file"]["path"] == f"{tmp_path}/caf\ufffd.log"


@pytest.mark.parametrize("size", [lines.CHUNK - 1, lines.CHUNK, lines.CHUNK + 1, 3 * lines.CHUNK])
def test_line_longer_than_a_piece(events: Any, size: int) -> None:
    """A line may be longer than the piece that is read at a time, without a mark."""
    shipped = events("plain", b"before\n" + b"x" * size + b"\nafter\n")
    assert [len(event["message"]) for event in shipped] == [6, size, 5]
    assert [event["log"]["offset"] for event in shipped] == [0, 7, 8 + size]
    assert "flags" not in shipped[1]["log"]


def test_very_long_line(events: Any) -> None:
    """A line of more than 10 MB is cut there and marked, and the next one begins where it ended."""
    size = 10 * 2**20
    shipped = events("plain", b"x" * size + b"\n" + b"y" * (2 * size) + b"\nafter\n")
    assert [len(event["message"]) for event in shipped] == [size, size, 5]
    assert ["flags" in event["log"] for event in shipped] == [False, True, False]
    assert shipped[1]["log"]["flags"] == ["truncated"]
    assert shipped[2]["log"]["offset"] == 3 * size + 2


@pytest.mark.parametrize("unit", [b"\0", b'"', b"\xff", "😀".encode()])
def test_long_line_that_grows_as_json(events: Any, unit: bytes) -> None:
    """A line whose JSON would be much longer than itself is cut so that the event stays below what brokers take."""
    content = unit * (10 * 2**20 // len(unit))
    (event,) = events("plain", content + b"\n")
    message = event["message"]
    assert message == content.decode(errors="replace")[: len(message)]
    is_cut = len(message) < len(content.decode(errors="replace"))
    assert event["log"].get("flags") == (["truncated"] if is_cut else None)
    size = len(orjson.dumps(event))
    assert 10 * 2**20 < size < 13 * 2**20


@pytest.mark.usefixtures("impatient")
def test_very_long_line_without_end(follow: Follow, tmp_path: Path) -> None:
    """An endless line is shipped, cut, when its file is gone."""
    file = tmp_path / "x.log"
    file.write_bytes(b"x" * (10 * 2**20 + 1))
    table = follow(f"plain:{file}")
    assert table.messages() == []
    file.unlink()
    (event,) = table.ship()
    assert len(event["message"]) == 10 * 2**20
    assert event["log"]["flags"] == ["truncated"]
    assert table.ship() == []
