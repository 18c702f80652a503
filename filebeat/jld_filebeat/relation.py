"""Which rotated file continues in which: parts of a line can be in both."""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable

from .file import File
from .inputs import Input, base, find
from .source import Key

_DATED = re.compile(r"\.log[.-](\d{8}(?:[T-]?\d{4,6})?)")


def settled(strangers: dict[Key, File], listed: Collection[str], inputs: Iterable[Input]) -> list[File]:
    """Give new files whose log was not rotated since it was listed: one that came between would be passed over.

    Args:
        strangers: new files; those that are left to the next scan are taken out and closed.
        listed: the paths that there were.
        inputs: what was listed.
    """
    changed = {base(path) for path in set(listed) ^ set(find(inputs).files)} if strangers else set()
    for file in [file for file in strangers.values() if base(file.path) in changed]:
        strangers.pop(file.key).source.close()
    return list(strangers.values())


def relate(new: Iterable[File], files: Iterable[File]) -> None:
    """Find out for new files which one each continues.

    Args:
        new: files that were not looked at yet.
        files: all files that are followed, those among them.
    """
    groups: dict[str, list[File]] = defaultdict(list)
    for file in files:
        if file.format != "plain" and not file.source.is_void:
            groups[base(file.path)].append(file)
    is_dated = {
        path: all(_DATED.search(file.place) for file in group if file.place != path) for path, group in groups.items()
    }

    def age(file: File) -> tuple[bool, str | int, str]:
        # Total, so that no two files can continue each other: rotated files may have been changed at the same time.
        # The date in a name is surer than that of the last change, which is that of the compression for some.
        path = base(file.path)
        is_active = file.place == path and not file.is_gone
        dated = _DATED.search(file.place) if is_dated[path] else None
        moment = (dated[1] if dated else "") if is_dated[path] else file.modified
        return is_active, moment, file.place

    def rank(file: File) -> tuple[int, float | tuple[bool, str | int, str]]:
        # What was known before is older, whatever a clock that was set back says.
        return (0, file.order) if file.order else (1, age(file))

    new = sorted((file for file in new if not file.source.is_void), key=age)
    # What the registry tells comes first: a file between the two that it never held takes the place of neither.
    for file in sorted(new, key=lambda file: not file.is_registered):
        group = groups[base(file.path)]
        if file.is_registered:
            previous = next((other for other in group if other.id == file.previous_id), None)
        else:
            earlier = (other for other in group if rank(other) < rank(file) and not age(other)[0] > age(file)[0])
            previous = max(earlier, key=rank, default=None)
        if previous and previous.heir is None and file.previous is None:
            file.previous, file.previous_id, previous.heir = previous, previous.id, file
    for file in new:
        orders = {other.order: age(other)[0] for other in groups[base(file.path)] if other.order}
        last = max(orders, default=0.0)
        # A rotated one that is found late is older than the one that is written.
        is_late = orders.get(last, False) and not age(file)[0]
        before = max((order for order in orders if order < last), default=0.0)
        file.order = (before + last) / 2 if is_late else last + 1


def inherit(file: File, look: Callable[[File], None]) -> bool:
    """Take over the unfinished lines of the file that this one continues, and say whether that is done.

    Args:
        file: the file.
        look: has another one looked at, and read if there is more of it.
    """
    previous = file.previous
    if previous and not previous.is_failed:
        look(previous)
        is_done = previous.is_read and not previous.ends_parts
        if previous is file.previous and not (is_done and inherit(previous, look)):
            return False
    if previous is None or previous is not file.previous:  # it was truncated: nothing is left of its parts
        return True
    file.previous = previous.heir = None
    if file.position == 0:  # else they were written late, and what they might continue in is shipped
        for join in previous.joins.values():
            join.hold(file, 0)
        file.joins.update(previous.joins)
        previous.joins.clear()
    return True


def predecessors(files: Iterable[File], others: Iterable[str]) -> dict[File, str | None]:
    """Give for each file the id of the one that it may continue, as far as the registry has that one.

    Args:
        files: all files; the registry has those that have a beginning to be known by.
        others: further ids that the registry has.
    """
    files = list(files)
    known = {file.id for file in files if file.head} | set(others)
    empty = {file.id: file.previous_id for file in files if not file.head}
    before = {}
    for file in files:
        previous = file.previous_id
        while previous and previous not in known:
            previous = empty.get(previous)
        before[file] = previous
    return before
