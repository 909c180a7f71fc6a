"""Reading the logical fields of a message: the rules of the path table, made ready once, applied to every group."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from hilum.hl7.datatypes import PARTS, Part, plausible
from hilum.hl7.earlier import earlier_results
from hilum.hl7.escapes import Delimiters, unescape
from hilum.hl7.fieldpath import FIRST, FieldPath
from hilum.hl7.layout import REMEMBERED, Extent, Layout
from hilum.hl7.message import Group, Message
from hilum.hl7.segment import View

Value = str | list[dict[str, str]]
_Rows = Sequence[Sequence[str]]
"""The fields of each segment that is read."""
_Spot = tuple[int, int, str, Sequence[Part], FieldPath | None, bool]
"""A place made ready: row and field; the key of a text that has no delimiters ("" to look at the parts); the parts,
their components and subcomponents from 0; the path, where it chooses a repetition; whether a value must be a UID."""


_Read = Callable[[_Rows, Delimiters, str], dict[str, str]]


@dataclass(frozen=True, slots=True)
class FieldRule:
    """One logical field: its places in order of preference; the first that holds something wins."""

    name: str
    type: str
    places: tuple[FieldPath, ...]


@dataclass(frozen=True, slots=True)
class ListRule:
    """A logical field that is a list: the repetitions of the first place that has any, or all segments of a name."""

    name: str
    type: str
    places: tuple[FieldPath, ...]
    segment: str = ""
    fields: tuple[FieldRule, ...] = ()


class Selection:
    """Some logical fields of one structure, ready to be read from any message of it."""

    def __init__(
        self,
        rules: Iterable[FieldRule | ListRule],
        anchors: tuple[str, ...],
        wanted: Container[str] | None = None,
        prior: tuple[str, ...] = (),
    ) -> None:
        """``wanted`` are the values to read (``patient_id.authority``), or all; the others as of `Structure`."""
        rules = [rule for rule in rules if wanted is None or any(key in wanted for key, _, _ in _keys(rule))]
        single = [rule for rule in rules if isinstance(rule, FieldRule)]
        paths = [path for rule in rules for path in rule.places]
        self._anchors = anchors
        self._segments = tuple(name for anchor in anchors for name in anchor.split("+"))
        self._prior = prior
        self._fields = _Fields(single, wanted)
        self._lists = [_ListReader(rule) for rule in rules if isinstance(rule, ListRule)]
        self._plain: dict[str, int] = {}  # segments of which the first is read, and how far it is split
        for path in paths:
            if path.is_plain:
                self._plain[path.segment] = max(path.field + 1, self._plain.get(path.segment, 0))
        self._selected = {_row(path): path for rule in single for path in rule.places if not path.is_plain}
        self._reader_of = lru_cache(REMEMBERED)(self._fields.read_from)
        self._remembered = lru_cache(REMEMBERED)(lambda layout: list(self._placed(layout)))

    def read(self, message: Message) -> Iterator[Mapping[str, Value]]:
        """The values of each group. Absent ones have no key; an explicit null is ``""`` (two quotes)."""
        lines, delimiters, codec, layout = message.lines, message.delimiters, message.codec, message.layout
        separator = delimiters.field
        earlier = earlier_results(message, self._segments, self._prior).lines if self._prior else frozenset()
        placed = self._remembered(layout) if layout.is_short and not earlier else self._placed(layout, earlier)
        for extent, names, places, read in placed:
            rows = [lines[number].split(separator, count) for number, count in places]
            if not self._selected and not self._lists:
                yield read(rows, delimiters, codec)
                continue
            view = Group(message, extent)
            selected = [path.matching(view) for path in self._selected.values()]
            values: dict[str, Value] = {}
            values.update(read([*rows, *(found[0].fields if found else [] for found in selected)], delimiters, codec))
            for each in self._lists:
                if listed := each.read(dict(zip(names, rows, strict=False)), view):
                    values[each.name] = listed
            yield values

    def _placed(
        self, layout: Layout, without: frozenset[int] = frozenset()
    ) -> Iterator[tuple[Extent, Sequence[str], Sequence[tuple[int, int]], _Read]]:
        """Each group: the rows' names; line and fields of those that are lines; how to read the rows."""
        for extent in layout.groups(self._anchors, without):
            found = {name: (at[0], count) for name, count in self._plain.items() if (at := extent.lines_of(name))}
            names = (*found, *self._selected)
            yield extent, names, list(found.values()), self._reader_of(names)


class _Fields:
    """The rules of some fields, made ready for rows in any order."""

    def __init__(self, rules: Iterable[FieldRule], wanted: Container[str] | None = None) -> None:
        self._rules = [
            (rule, _wanted_first(_keys(rule), wanted), [_row(path) for path in rule.places]) for rule in rules
        ]

    def read_from(self, names: Sequence[str]) -> _Read:
        """How to read from rows of these ``names``, and to look for nothing that is not there."""
        at = {name: row for row, name in enumerate(names)}
        spots, texts = [], []
        for rule, keys, rows in self._rules:
            places = [(at[row], path) for row, path in zip(rows, rule.places, strict=True) if row in at]
            if rule.type == "TX":
                texts.append((rule.name, [(row, path.field) for row, path in places]))
            elif places:
                is_uid = rule.type == "UI"
                spots.append([_spot(row, path.field, path, keys, is_uid=is_uid) for row, path in places])
        return _Reader(spots, texts).read


class _Reader:
    """Reads fields from segments that are split already."""

    def __init__(
        self, spots: Sequence[Sequence[_Spot]], texts: Sequence[tuple[str, Sequence[tuple[int, int]]]] = ()
    ) -> None:
        """``spots`` are the places of each rule; ``texts`` those (row and field) of fields that are lines of text."""
        self._spots = spots
        self._texts = texts

    def read(self, rows: _Rows, delimiters: Delimiters, codec: str) -> dict[str, str]:
        """The hot loop: of every rule the parts of the first place that holds something."""
        _, component, repetition, escape, subcomponent, _ = delimiters
        values: dict[str, str] = {}
        split = None  # the text that these three are of: two rules in a row often read one field
        repeated = coded = False
        components: list[str] = []
        for spots in self._spots:
            for row, number, whole, parts, choosing, is_uid in spots:
                fields = rows[row]
                if number >= len(fields):
                    continue
                text = fields[number]
                if whole and text.isalnum():  # no delimiter is a letter or a digit: it is one value
                    values[whole] = text
                    break
                if not text:
                    continue
                if text is not split:
                    split, repeated = text, repetition in text
                    coded = escape in text or subcomponent in text
                    components = (text.split(repetition, 1)[0] if repeated else text).split(component)
                if choosing is not None:
                    if repeated or coded:
                        text = choosing.one(text, delimiters)
                        if not text:
                            continue
                        split, components = None, text.split(component)
                    elif not choosing.repetition.is_met(components):
                        continue
                found = False
                for key, place, inner in parts:
                    if found and not key:
                        break
                    if place >= len(components):
                        continue
                    value = components[place]
                    if coded:
                        value = _decoded(value, inner, delimiters, codec)
                    elif inner:
                        continue
                    if value and (not is_uid or plausible("UI", value)):
                        found = True
                        if key:
                            values[key] = value
                if found:
                    break
        for name, places in self._texts:
            for row, number in places:
                fields = rows[row]
                if number < len(fields) and (text := fields[number]):
                    values[name] = "\n".join([unescape(line, delimiters, codec) for line in text.split(repetition)])
                    break
        return values


class _ListReader:
    """Reads a list, one row of values for each segment of a name, or for each repetition of a field."""

    def __init__(self, rule: ListRule) -> None:
        self.name = rule.name
        self._segment = rule.segment
        self._read = _Fields(rule.fields).read_from([rule.segment])
        keys = [(suffix.removeprefix(".") or "value", ahead, inner) for suffix, ahead, inner in PARTS[rule.type]]
        self._places = [(path, _Reader([[_spot(0, 0, path, keys, one=True)]]).read) for path in rule.places]

    def read(self, rows: Mapping[str, Sequence[str]], view: View) -> list[dict[str, str]]:
        """Those that hold something; of several places, the first that has any."""
        delimiters, codec = view.delimiters, view.codec
        if self._segment:
            segments = view.every(self._segment)
            return [row for each in segments if (row := self._read([each.fields], delimiters, codec))]
        for path, read in self._places:
            if path.is_plain:
                fields = rows.get(path.segment, ())
                texts = path.every(fields[path.field], delimiters) if path.field < len(fields) else []
            else:
                texts = [text for each in path.matching(view) for text in path.every(each.raw(path.field), delimiters)]
            found = [row for text in texts if (row := read([[text]], delimiters, codec))]
            if found:
                return found
        return []


def _keys(rule: FieldRule | ListRule) -> list[Part]:
    return [(rule.name + suffix, ahead, subcomponent) for suffix, ahead, subcomponent in PARTS[rule.type]]


def _wanted_first(parts: Sequence[Part], wanted: Container[str] | None) -> list[Part]:
    """Those that are not wanted lose their key, but still decide which place it is that holds something."""
    named = [(key if wanted is None or key in wanted else "", place, inner) for key, place, inner in parts]
    return sorted(named, key=lambda part: not part[0])


def _row(path: FieldPath) -> str:
    """The name of the segment that a path looks in: its own, or as the path selects it."""
    return path.segment if path.is_plain else f"{path.segment} {path.occurrence}"


def _spot(
    row: int, number: int, path: FieldPath, keys: Sequence[Part], *, is_uid: bool = False, one: bool = False
) -> _Spot:
    """``keys`` as in `PARTS`: components after the path's own, subcomponents from 1, or 0 for the path's own.

    ``one``: the row holds one repetition, already chosen.
    """
    parts = tuple(
        (key, (path.component or 1) - 1 + ahead, (subcomponent or path.subcomponent or 1) - 1)
        for key, ahead, subcomponent in keys
    )
    choosing = None if one or path.repetition is FIRST else path
    whole = "" if choosing or is_uid else next((key for key, place, inner in parts if place == inner == 0), "")
    return row, number, whole, parts, choosing, is_uid


def _decoded(text: str, inner: int, delimiters: Delimiters, codec: str) -> str:
    """One subcomponent (from 0) of a component's ``text``, unescaped."""
    mark = delimiters.subcomponent
    if mark and mark in text:
        pieces = text.split(mark)
        text = pieces[inner] if inner < len(pieces) else ""
    elif inner:
        return ""
    return unescape(text, delimiters, codec)
