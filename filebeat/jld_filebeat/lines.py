"""From bytes of a file to events: the hot path, without a task or a system call for a line."""

import datetime as dt
import sys
from weakref import WeakKeyDictionary

from orjson import dumps

from .batch import BYTES, EVENTS, Batch
from .file import TAIL, File, Join
from .form import Form
from .parse import PARSERS, usual_cri

CHUNK = 128 * 2**10
"""Bytes that are read of a file at a time, before it is another one's turn."""

LINE = 10 * 2**20
"""Bytes after which a message is cut."""

PARTS = 10_000
"""Parts of a line after which it is cut, as some runtimes may write one for each byte; 640 of 16 KiB are 10 MiB."""

SCAN = 16 * 2**20
"""Bytes of a long line that are searched for its end at a time."""


class Reader:
    """Reads files into events.

    Args:
        shipper: name of this log.
        node: name of the node.
    """

    def __init__(self, shipper: str, node: str) -> None:
        self._shipper = shipper
        self._node = node
        self._forms: WeakKeyDictionary[File, Form] = WeakKeyDictionary()
        self._long: tuple[File | None, int, bytearray] = None, 0, bytearray()
        """A compressed file, where a long line begins in it, and its first bytes: not to be inflated once more."""

    def forget(self, file: File) -> None:
        """Forget the long line of a file that is followed no more, or whose line was read."""
        if self._long[0] is file:
            self._long = None, 0, bytearray()

    def read(self, file: File, batch: Batch) -> bool:
        """Read a piece of a file, and say whether there may be more to read.

        Raises:
            RewrittenError: it begins with something else than before, so that its end is not its end either.
            OSError: it cannot be read.
        """
        begin = file.position
        if self._long[:2] == (file, begin):
            return self._read_long(file, batch, _now())
        if not file.reach():
            return True
        cut = _next_cut(file)
        chunk = file.source.pread(min(CHUNK, cut - begin), begin)
        # Behind the read: what is seen whole now was whole when it was read.
        file.check()
        file.size = max(file.size, begin + len(chunk))
        now = _now()
        self._end_parts(file, batch)
        if chunk.startswith(b"\n") and file.tail[-1:] not in b"\n" and any(end.offset == begin for end in file.cuts):
            # The end that the line before the cut had not had: no line of its own.
            file.position += 1
            file.advance(chunk, begin)
            batch.mark(file)
            return not file.is_read
        is_cut = begin + len(chunk) == cut
        end = len(chunk) if is_cut else chunk.rfind(b"\n") + 1
        if not end and file.source.is_compressed and len(chunk) == CHUNK:
            self._long = file, begin, bytearray(chunk)
            file.scanned = begin + CHUNK
            return True
        if not end:
            file.scanned = max(file.scanned, begin + len(chunk))
            return len(chunk) == CHUNK and self._read_long(file, batch, now)
        if not is_cut and self._is_usual(file) and (rows := usual_cri(chunk, end)):
            self._take_usual(file, batch, rows)
        else:
            self._take_all(file, batch, chunk[:end], now)
        self._end_parts(file, batch)
        file.advance(chunk, begin)
        batch.mark(file)
        file.scanned = begin + len(chunk) if file.position == begin + end else file.position
        return not file.is_read

    def _is_usual(self, file: File) -> bool:
        return file.format == "cri" and not file.joins and file.position >= file.done

    def _take_usual(self, file: File, batch: Batch, rows: list[tuple[bytes, bytes, bytes]]) -> None:
        """Make events of whole lines that nothing is out of the ordinary about: nearly all that a runtime writes."""
        usual = self._form(file).usual
        offset, room, size, events = file.position, BYTES - batch.size, 0, []
        for time, stream, text in rows[: EVENTS - len(batch.events)]:
            event = usual[stream] % (time, dumps(text.decode("utf-8", "replace")), offset, offset)
            events.append(event)
            offset += len(time) + len(stream) + len(text) + 5  # blanks, tag and line feed
            size += len(event)
            if size >= room:
                break
        batch.extend(events, size)
        file.position = offset

    def _take_all(self, file: File, batch: Batch, content: bytes, now: bytes) -> None:
        """Make events of lines, the last of which need not be ended."""
        until = file.position + len(content)
        lines = content.split(b"\n")
        if not lines[-1]:
            del lines[-1]
        for line in lines:
            if batch.is_full:
                break
            start = file.position
            file.position = min(start + len(line) + 1, until)
            self._take(file, batch, line, start, now)

    def _read_long(self, file: File, batch: Batch, now: bytes) -> bool:
        """Search the end of a long line, and read it when it is there: the memory holds one such line at a time."""
        start = file.position
        known = self._long[2] if self._long[:2] == (file, start) else None
        end, more = _line_end(file, known)
        if end is None:
            return more
        line = file.source.pread(min(end - start, LINE), start) if known is None else bytes(known)
        self.forget(file)
        file.position = end if end == _next_cut(file) else end + 1
        file.scanned = file.position
        self._take(file, batch, line, start, now, is_cut=end - start > LINE)
        self._end_parts(file, batch)
        file.tail = file.source.pread(min(TAIL, file.position), max(0, file.position - TAIL))
        file.size = max(file.size, file.source.stat()[0])
        batch.mark(file)
        return not file.is_read

    def _take(self, file: File, batch: Batch, line: bytes, start: int, now: bytes, *, is_cut: bool = False) -> None:  # noqa: PLR0913 # the hot path: no object for a line
        """Make an event of a line, or a part of one."""
        flags = ("truncated",) if is_cut else ()
        if file.format == "plain":
            batch.add(self._form(file).event(start, now, line.removesuffix(b"\r"), flags=flags))
            return
        is_new = file.position > file.done
        parsed = PARSERS[file.format](line)
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
            if join.size < LINE and len(join.parts) < PARTS:
                join.parts.append((file, start, start + len(line)))
            else:
                join.is_cut = True
            join.size += len(text)
        elif not is_new:
            if join:
                _release(join, file, stream)
        elif join is None:
            batch.add(self._form(file).event(start, time, text, stream, flags))
        else:
            self._end_join(file, batch, stream, join, text)

    def _end_join(self, file: File, batch: Batch, stream: bytes, join: Join, text: bytes) -> None:
        whole = b"".join([*map(_text_of_part, join.parts), b"" if join.is_cut else text])
        origin, offset, _ = join.parts[0]
        flags = ("truncated",) if join.is_cut or join.size + len(text) > LINE else ()
        batch.add(self._form(origin).event(offset, join.time, whole[:LINE], stream, flags))
        _release(join, file, stream)
        for holder in {file: 0, **join.holds}:
            batch.mark(holder)

    def _end_parts(self, file: File, batch: Batch) -> None:
        """Ship parts that nobody will continue."""
        if file.ends_parts:
            for stream, join in list(file.joins.items()):
                self._end_join(file, batch, stream, join, b"")

    def _form(self, file: File) -> Form:
        form = self._forms.get(file)
        if form is None:
            form = self._forms[file] = Form(file, self._shipper, self._node)
        return form


def _release(join: Join, file: File, stream: bytes) -> None:
    del file.joins[stream]
    for holder in join.holds:
        del holder.held[join]


def _line_end(file: File, line: bytearray | None) -> tuple[int | None, bool]:
    """Search on for the end of a line, whose first bytes grow; tell it, or whether there is more to search."""
    until = file.scanned + SCAN
    while file.scanned < until:
        if not file.source.reach(file.scanned):
            return None, True
        chunk = file.source.pread(CHUNK, file.scanned)
        found = chunk.find(b"\n")
        cut = _next_cut(file)
        end = min(cut, file.scanned + (found if found >= 0 else len(chunk)))
        if line is not None:
            line += chunk[: min(end - file.scanned, LINE - len(line))]
        if cut == end:
            return cut, True
        if found >= 0:
            return end, True
        file.scanned = end
        if len(chunk) < CHUNK:
            return None, False
    return None, True


def _next_cut(file: File) -> int:
    """Give the first offset behind the position at which the file was cut, or one that none has."""
    return next((cut.offset for cut in file.cuts if cut.offset > file.position), sys.maxsize)


def _text_of_part(part: tuple[File, int, int]) -> bytes:
    file, start, end = part
    try:
        parsed = PARSERS[file.format](file.source.pread(end - start, start))
    except OSError:
        parsed = None  # truncated meanwhile, or the disk is broken: the rest is still worth having
    return parsed.text if parsed else b""


def _now() -> bytes:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None).isoformat(timespec="milliseconds").encode() + b"Z"
