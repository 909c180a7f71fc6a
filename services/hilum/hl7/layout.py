"""What the segment names of a message say: where each segment stands, which groups there are, which lines are none.

Messages of one sender and event mostly have the same segments, so this is worked out once for each sequence of names.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter

_HEAD = itemgetter(slice(4))
_SEGMENT_NAME = re.compile(r"[A-Z][A-Z0-9]{2}\Z")
_SHORT = 128
REMEMBERED = 128
"""How many layouts are kept in memory."""

LinesByName = Mapping[str, Sequence[int]]


class Extent:
    """The lines of a message, or of one of its groups, by number from 0."""

    __slots__ = ("_before", "_levels")

    def __init__(self, levels: Sequence[LinesByName], before: LinesByName) -> None:
        """``levels`` are its own lines, outermost first; ``before`` those of header and patient.

        Both are shared between groups, never copied: memory stays linear in the lines, whatever a message repeats.
        """
        self._levels = levels
        self._before = before

    @property
    def own(self) -> list[int]:
        """Its own lines, without those that stand before it."""
        return sorted(line for level in self._levels for lines in level.values() for line in lines)

    def lines_of(self, name: str) -> Sequence[int]:
        """Its segments of that name, in order; those before it count only where it has none of its own."""
        own = [line for level in self._levels for line in level.get(name, ())]
        return own or self._before.get(name, ())


class Layout:
    """The segments of a message: one a line, named by its first three characters."""

    __slots__ = ("_groups", "_names", "has_second_header", "is_short", "kept", "malformed", "whole")

    def __init__(self, heads: Sequence[str], separator: str) -> None:
        """``heads`` are the first four characters of every line, also of blank ones."""
        blank = {head for head in dict.fromkeys(heads) if not head[:3].strip()}
        self.kept = [number for number, head in enumerate(heads) if head not in blank] if blank else None
        """Which lines are segments, where some are blank; everything else counts segments only."""
        heads = [head for head in heads if head not in blank]
        self.is_short = len(heads) <= _SHORT
        """Whether it is worth keeping what was worked out from it: a long message seldom has the form of another."""
        self._names = [head[:3] for head in heads]
        self.whole = Extent([self._by_name(range(len(heads)))], {})
        self.has_second_header = self._names.count("MSH") > 1
        ends = ("", separator)
        broken = {head for head in dict.fromkeys(heads) if head[3:] not in ends or not _SEGMENT_NAME.match(head[:3])}
        self.malformed = [position for position, head in enumerate(heads, 1) if head in broken] if broken else []
        """Positions (1-based) of lines that are no segment: no name of three characters before the separator."""
        self._groups: dict[tuple[str, ...], list[Extent]] = {(): [self.whole]}

    def groups(self, anchors: tuple[str, ...], without: frozenset[int] = frozenset()) -> list[Extent]:
        """As `hilum.hl7.message.Message.groups`; without ``anchors``, the whole message.

        An anchor of several segments (``ORC+OBR``) begins with whichever of them stands first, and shares none of them.
        The lines ``without`` belong to no group; which they are is the content's to say, so those are not remembered.
        """
        if without:
            return self._grouped(anchors, without)
        found = self._groups.get(anchors)
        if found is None:
            self._groups[anchors] = found = self._grouped(anchors, without)
        return found

    def _grouped(self, anchors: tuple[str, ...], without: frozenset[int]) -> list[Extent]:
        parted = [anchor.split("+") for anchor in anchors]
        rank = {name: level for level, names in enumerate(parted) for name in names}
        ends = {name: names[names.index(name) :] for names in parted for name in names}
        alone = {
            name: lines
            for name in dict.fromkeys(self._names)
            if name[0] == "Z" and len(lines := self.whole.lines_of(name)) == 1
        }
        groups: list[Extent] = []
        header: list[int] = []  # MSH, EVN ... : before the first patient
        patient: list[int] = []  # PID, PV1, NTE ... : up to the patient's first group
        before: dict[str, Sequence[int]] = {}
        levels: list[dict[str, list[int]]] = []  # the group so far; its outer levels may be shared with the next
        for line, name in enumerate(self._names):
            if line in without:
                continue
            level = rank.get(name)
            if level is not None and level == len(levels) - 1 and levels[level].keys().isdisjoint(ends[name]):
                levels[level][name] = [line]
            elif level is not None:
                if not levels:
                    before = {**alone, **self._by_name(header + patient)}
                    before.pop("OBX", None)  # those are the patient's (2.8 7.3.1), not the order's
                elif level < len(levels):
                    groups.append(Extent(tuple(levels), before))
                del levels[level:]
                levels.extend({} for _ in range(level + 1 - len(levels)))
                levels[level][name] = [line]
            elif name == "PID":
                if levels:
                    groups.append(Extent(tuple(levels), before))
                levels, patient = [], [line]
            elif levels:
                levels[-1].setdefault(name, []).append(line)
            else:
                (patient or header).append(line)
        if levels:
            groups.append(Extent(tuple(levels), before))
        return groups

    def _by_name(self, lines: Iterable[int]) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for line in lines:
            found.setdefault(self._names[line], []).append(line)
        return found


def layout_of(lines: Sequence[str], separator: str) -> Layout:
    """The layout of ``lines``; the same one for the same names, unless they are many."""
    if len(lines) > _SHORT:
        return Layout([*map(_HEAD, lines)], separator)
    return _remembered("\r".join((separator, *map(_HEAD, lines))))


@lru_cache(REMEMBERED)
def _remembered(key: str) -> Layout:
    separator, *heads = key.split("\r")
    return Layout(heads, separator)
