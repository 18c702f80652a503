"""From bytes of a file to events: the hot path, without a task or a system call for a line.

Formats: plain lines; the CRI's `time stream tags message` (kubelet CRI logging design); Docker's json-file driver.
"""

import datetime as dt
import importlib.metadata
import os
import re
from typing import Any, NamedTuple

import orjson

from .batch import Batch
from .file import File, Join, text_of
from .inputs import describe

CHUNK = 128 * 2**10
"""Bytes that are read of a file at a time, before it is another one's turn."""

LINE = 10 * 2**20
"""Bytes after which a message is cut."""

JSON = 12 * 2**20
"""Bytes after which a message is cut as JSON, where escapes can make it six times as long: RabbitMQ takes messages of
16 MiB, and an event that nobody takes would be sent for ever."""

PIECE = 2**16
"""Characters of a long message that are made JSON at a time."""

SCAN = 16 * 2**20
"""Bytes of a long line that are searched for its end at a time."""

_BEAT = {"beat": "filebeat", "version": importlib.metadata.version("jld-filebeat"), "type": "_doc"}
"""What Elastic's Logstash keys on."""

_STREAMS = {b"stdout": b',"stream":"stdout"', b"stderr": b',"stream":"stderr"'}
_CRI = re.compile(
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d) (stdout|stderr) ([FP])(?::\S*)?(?: (.*))?",
    re.DOTALL,
)
_TIME = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


class Line(NamedTuple):
    """A line of a container's log.

    Attributes:
        time: when it was written, ISO 8601 in UTC.
        stream: stdout or stderr.
        is_partial: whether the message goes on in the stream's next line.
        text: the message.
    """

    time: bytes
    stream: bytes
    is_partial: bool
    text: bytes


class Form:
    """What is alike in all events of a file, as JSON.

    Args:
        file: the file.
        shipper: name of this log.
        node: name of the node.
    """

    def __init__(self, file: File, shipper: str, node: str) -> None:
        constant = {
            "shipper": shipper,
            **describe(text_of(file.path), file.format, node),
            "@metadata": _BEAT,
        }
        self._id = file.id.encode()
        self._file = orjson.dumps(file.describe())
        self._constant = orjson.dumps(constant)[1:]

    def event(self, offset: int, time: bytes, text: bytes, stream: bytes = b"", flags: tuple[str, ...] = ()) -> bytes:
        """Give an event as JSON.

        Args:
            offset: of the line's first byte in the file.
            time: of the line, ISO 8601 in UTC.
            text: the message; what is not UTF-8 in it is replaced.
            stream: stdout, stderr or nothing.
            flags: what is out of the ordinary about it.
        """
        message, is_cut = _to_json(text.decode(errors="replace"))
        if is_cut and "truncated" not in flags:
            flags = ("truncated", *flags)
        return b'{"@timestamp":"%b","message":%b%b,"log":{"file":%b,"offset":%d%b},"event":{"id":"%b-%d"},%b' % (
            time,
            message,
            _STREAMS.get(stream, b""),
            self._file,
            offset,
            b',"flags":' + orjson.dumps(flags) if flags else b"",
            self._id,
            offset,
            self._constant,
        )


class Reader:
    """Reads files into events.

    Args:
        shipper: name of this log.
        node: name of the node.
    """

    def __init__(self, shipper: str, node: str) -> None:
        self._shipper = shipper
        self._node = node
        self._forms: dict[File, Form] = {}

    def forget(self, file: File) -> None:
        """Forget what was kept of a file that is read no more."""
        self._forms.pop(file, None)

    def read(self, file: File, batch: Batch) -> bool:
        """Read a piece of a file, and say whether there may be more to read.

        Raises:
            RewrittenError: it begins with something else than before, so that its end is not its end either.
            OSError: it cannot be read.
        """
        begin = file.position
        chunk = os.pread(file.descriptor, CHUNK, begin)
        # Behind the read: what is seen whole now was whole when it was read.
        file.check_head()
        end = chunk.rfind(b"\n")
        now = _now()
        if end >= 0:
            for line in chunk[:end].split(b"\n"):
                if batch.is_full:
                    break
                start = file.position
                file.position += len(line) + 1
                self._take(file, batch, line, start, now)
            batch.mark(file)
            file.scanned = begin + len(chunk) if file.position == begin + end + 1 else file.position
            return not file.is_read
        file.scanned = max(file.scanned, file.position + len(chunk))
        if len(chunk) == CHUNK:
            return self._read_long(file, batch, now)
        if file.is_final:
            self._finish(file, batch, chunk, now)
        return False

    def _read_long(self, file: File, batch: Batch, now: bytes) -> bool:
        """Search the end of a long line, and read it when it is there: the memory holds one such line at a time."""
        end, more = _line_end(file)
        if end is None and (more or not file.is_final):
            return more
        length = (file.scanned if end is None else end) - file.position
        line = os.pread(file.descriptor, min(length, LINE), file.position)
        if end is None:
            self._finish(file, batch, line, now, length)
            return False
        start, file.position = file.position, end + 1
        file.scanned = file.position
        self._take(file, batch, line, start, now, is_cut=length > LINE)
        batch.mark(file)
        return not file.is_read

    def _finish(self, file: File, batch: Batch, rest: bytes, now: bytes, length: int | None = None) -> None:
        """Ship a last line that nobody will end, and parts that nobody will continue."""
        start = file.position
        file.position += len(rest) if length is None else length
        file.scanned = file.position
        if rest:
            self._take(file, batch, rest, start, now, is_cut=bool(length and length > LINE))
        if file.heir is None:
            for stream, join in list(file.joins.items()):
                self._end_join(file, batch, stream, join, b"")
        batch.mark(file)

    def _take(self, file: File, batch: Batch, line: bytes, start: int, now: bytes, *, is_cut: bool = False) -> None:  # noqa: PLR0913 # the hot path: no object for a line
        """Make an event of a line, or a part of one."""
        flags = ("truncated",) if is_cut else ()
        if file.format == "plain":
            batch.add(self._form(file).event(start, now, line.removesuffix(b"\r"), flags=flags))
            return
        is_new = file.position > file.done
        parsed = _PARSERS[file.format](line)
        if parsed is None:
            if is_new:
                batch.add(self._form(file).event(start, now, line, flags=(*flags, "malformed")))
            return
        time, stream, is_partial, text = parsed
        join = file.joins.get(stream)
        if is_partial:
            if join is None:
                join = file.joins[stream] = Join(time)
            join.hold(file, start)
            if join.size < LINE:
                join.parts.append((file, start, start + len(line)))
            join.size += len(text)
        elif not is_new:
            if join:
                _release(join, file, stream)
        elif join is None:
            batch.add(self._form(file).event(start, time, text, stream, flags))
        else:
            self._end_join(file, batch, stream, join, text)

    def _end_join(self, file: File, batch: Batch, stream: bytes, join: Join, text: bytes) -> None:
        whole = b"".join([*map(_text_of_part, join.parts), text])
        origin, offset, _ = join.parts[0]
        flags = ("truncated",) if join.size + len(text) > LINE else ()
        batch.add(self._form(origin).event(offset, join.time, whole[:LINE], stream, flags))
        _release(join, file, stream)
        for holder in {file: 0, **join.holds}:
            batch.mark(holder)

    def _form(self, file: File) -> Form:
        form = self._forms.get(file)
        if form is None:
            form = self._forms[file] = Form(file, self._shipper, self._node)
        return form


def _to_json(text: str) -> tuple[bytes, bool]:
    """Give a message as JSON, and whether it had to be cut."""
    if len(text) <= JSON // 6:
        return orjson.dumps(text), False
    pieces, size = [], 0
    for begin in range(0, len(text), PIECE):
        piece = orjson.dumps(text[begin : begin + PIECE])[1:-1]
        size += len(piece)
        if size > JSON:
            break
        pieces.append(piece)
    return b'"%b"' % b"".join(pieces), size > JSON


def _release(join: Join, file: File, stream: bytes) -> None:
    del file.joins[stream]
    for holder in join.holds:
        del holder.held[join]


def _line_end(file: File) -> tuple[int | None, bool]:
    """Search on for the end of a line, and tell it, or whether there is more to search."""
    until = file.scanned + SCAN
    while file.scanned < until:
        chunk = os.pread(file.descriptor, CHUNK, file.scanned)
        found = chunk.find(b"\n")
        if found >= 0:
            return file.scanned + found, True
        file.scanned += len(chunk)
        if len(chunk) < CHUNK:
            return None, False
    return None, True


def _text_of_part(part: tuple[File, int, int]) -> bytes:
    file, start, end = part
    try:
        parsed = _PARSERS[file.format](os.pread(file.descriptor, end - start, start))
    except OSError:
        parsed = None  # truncated meanwhile, or the disk is broken: the rest is still worth having
    return parsed.text if parsed else b""


def _parse_cri(line: bytes) -> Line | None:
    match = _CRI.fullmatch(line)
    if match is None:
        return None
    day, fraction, zone, stream, tag, text = match.groups()
    time = _utc(day, fraction, zone)
    return Line(time, stream, tag == b"P", text or b"") if time else None


def _parse_docker(line: bytes) -> Line | None:
    try:
        fields: Any = orjson.loads(line)
        text, stream = fields["log"].encode(), fields["stream"].encode()
        match = _TIME.fullmatch(fields["time"].encode())
    except (orjson.JSONDecodeError, LookupError, TypeError, AttributeError):
        return None
    if stream not in _STREAMS or match is None or not (time := _utc(*match.groups())):
        return None
    return Line(time, stream, not text.endswith(b"\n"), text.removesuffix(b"\n"))


_PARSERS = {"cri": _parse_cri, "docker": _parse_docker}


def _utc(moment: bytes, fraction: bytes | None, zone: bytes) -> bytes | None:
    """Give a time in UTC with at least milliseconds, as exactly as it was."""
    if zone != b"Z":
        try:
            local = dt.datetime.fromisoformat((moment + zone).decode())
            moment = local.astimezone(dt.UTC).replace(tzinfo=None).isoformat().encode()
        except (ValueError, OverflowError):
            return None
    return b"%b.%bZ" % (moment, (fraction or b"").ljust(3, b"0"))


def _now() -> bytes:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat(timespec="milliseconds").encode() + b"Z"
