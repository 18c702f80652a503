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
    new = [file for file in new if not file.source.is_void]
    if not new:
        return
    groups: dict[str, list[File]] = defaultdict(list)
    for file in files:
        if file.format != "plain" and not file.source.is_void:
            groups[base(file.path)].append(file)
    found: dict[str, list[File]] = defaultdict(list)
    for file in new:
        found[base(file.path)].append(file)
    for log, strangers in found.items():
        _relate(log, strangers, groups[log])


def _relate(log: str, new: list[File], group: list[File]) -> None:
    """Find out for new files of a log which one of all its files each continues."""
    is_dated = all(_DATED.search(file.place) for file in group if file.place != log)

    def age(file: File) -> tuple[bool, str | int, str]:
        # Total, so that no two files can continue each other: rotated files may have been changed at the same time.
        # The date in a name is surer than that of the last change, which is that of the compression for some.
        is_active = file.place == log and not file.is_gone
        dated = _DATED.search(file.place) if is_dated else None
        moment = (dated[1] if dated else "") if is_dated else file.modified
        return is_active, moment, file.place

    # A log may have thousands of rotated files: nothing here is done for each two of them.
    ages = {file: age(file) for file in group}
    # What was known before is older, whatever a clock that was set back says.
    ranks = {file: (0, file.order) if file.order else (1, ages[file]) for file in group}
    ranked = sorted(group, key=ranks.__getitem__)
    places = {file: place for place, file in enumerate(ranked)}
    by_id = {file.id: file for file in reversed(group)}
    new.sort(key=ages.__getitem__)
    # What the registry tells comes first: a file between the two that it never held takes the place of neither.
    for file in sorted(new, key=lambda file: not file.is_registered):
        if file.is_registered:
            previous = by_id.get(file.previous_id or "")
        else:
            earlier = (ranked[place] for place in range(places[file] - 1, -1, -1))
            previous = next((other for other in earlier if not ages[other][0] > ages[file][0]), None)
        if previous and previous.heir is None and file.previous is None:
            file.previous, file.previous_id, previous.heir = previous, previous.id, file
    *_, before, last = 0.0, 0.0, *sorted(file.order for file in group if file.order)
    is_last_active = any(file.order == last > 0 and ages[file][0] for file in group)
    for file in new:
        # A rotated one that is found late is older than the one that is written.
        if is_last_active and not ages[file][0]:
            file.order = before = (before + last) / 2
        else:
            file.order, before, last, is_last_active = last + 1, last, last + 1, ages[file][0]


def inherit(file: File, look: Callable[[File], None]) -> bool:
    """Take over the unfinished lines of the file that this one continues, and say whether that is done.

    Args:
        file: the file.
        look: has another one looked at, and read if there is more of it.
    """
    line = [file]  # of files, each of which continues in the one before: there may be more than calls can be nested
    while (previous := line[-1].previous) and not previous.is_failed:
        look(previous)
        if previous is not line[-1].previous:  # it was truncated: nothing is left of its parts
            line.pop()
            break
        if not previous.is_read or previous.ends_parts:
            return False
        line.append(previous)
    for heir in reversed(line):
        if heir.previous:
            _pass_on(heir.previous, heir)
    return True


def _pass_on(previous: File, file: File) -> None:
    file.previous = previous.heir = None
    if file.position == 0:  # else they were written late, and what they might continue in is shipped
        for join in previous.joins.values():
            join.hold(file, 0)
        file.joins.update(previous.joins)
        previous.joins.clear()


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
