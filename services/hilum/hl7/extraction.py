"""Reading the logical fields of a message: the rules of the path table, made ready once, applied to every group."""

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hilum.hl7.datatypes import PARTS, Part, plausible
from hilum.hl7.escapes import Delimiters, unescape
from hilum.hl7.fieldpath import FIRST, FieldPath
from hilum.hl7.message import Group, Message
from hilum.hl7.segment import View

Value = str | list[dict[str, str]]
_Rows = Mapping[str, Sequence[str]]
"""The fields of each segment that is read, none if absent; by its name, or as a path selects it (``OBX[3.1=A]``)."""
_Spot = tuple[str, int, str, Sequence[Part], FieldPath | None, bool]
"""A place made ready: row and field; the key of a text that has no delimiters ("" to look at the parts); the parts,
their components and subcomponents from 0; the path, where it chooses a repetition; whether a value must be a UID."""


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
        """``wanted`` are the values to read (``patient_id.authority``), or all; the others as of `Layout.groups`."""
        rules = [rule for rule in rules if wanted is None or any(key in wanted for key, _, _ in _keys(rule))]
        single = [rule for rule in rules if isinstance(rule, FieldRule)]
        paths = [path for rule in rules for path in rule.places]
        self._anchors = anchors
        self._prior = prior
        self._read = _reader(single, wanted).read
        self._lists = [_ListReader(rule) for rule in rules if isinstance(rule, ListRule)]
        self._plain = tuple(sorted({path.segment for path in paths if path.is_plain}))
        self._no_rows: dict[str, Sequence[str]] = {_row(path): () for path in paths}
        self._selected = {_row(path): path for rule in single for path in rule.places if not path.is_plain}

    def read(self, message: Message) -> Iterator[Mapping[str, Value]]:
        """The values of each group. Absent ones have no key; an explicit null is ``""`` (two quotes)."""
        lines, delimiters, codec = message.lines, message.delimiters, message.codec
        separator = delimiters.field
        for extent in message.layout.groups(self._anchors, self._prior):
            rows = self._no_rows.copy()
            for name, number in extent.firsts(self._plain):
                rows[name] = lines[number].split(separator)
            if not self._selected and not self._lists:
                yield self._read(rows, delimiters, codec)
                continue
            view = Group(message, extent)
            found = {row: segments for row, path in self._selected.items() if (segments := path.matching(view))}
            rows.update((row, segments[0].fields) for row, segments in found.items())
            values: dict[str, Value] = {**self._read(rows, delimiters, codec)}
            for each in self._lists:
                if found_rows := each.read(rows, view):
                    values[each.name] = found_rows
            yield values


class _Reader:
    """Reads fields from segments that are split already."""

    def __init__(self, spots: Sequence[Sequence[_Spot]], texts: Mapping[str, Sequence[tuple[str, int]]]) -> None:
        """``spots`` are the places of each rule; ``texts`` those (row and field) of fields that are lines of text."""
        self._spots = spots
        self._texts = texts

    def read(self, rows: _Rows, delimiters: Delimiters, codec: str) -> dict[str, str]:
        """The hot loop: of every rule the parts of the first place that holds something."""
        _, component, repetition, escape, subcomponent, _ = delimiters
        values: dict[str, str] = {}
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
                if choosing is not None:
                    text = choosing.one(text, delimiters)
                    if not text:
                        continue
                elif repetition in text:
                    text = text.split(repetition, 1)[0]
                components = text.split(component)
                count = len(components)
                coded = escape in text or subcomponent in text
                found = False
                for key, place, inner in parts:
                    if place >= count:
                        continue
                    value = components[place]
                    if coded:
                        value = _decoded(value, inner, delimiters, codec)
                    elif inner:
                        continue
                    if value and (not is_uid or plausible("UI", value)):
                        values[key] = value
                        found = True
                if found:
                    break
        for name, places in self._texts.items():
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
        self._fields = _reader(rule.fields)
        keys = [(suffix.removeprefix(".") or "value", ahead, inner) for suffix, ahead, inner in PARTS[rule.type]]
        self._places = [(path, _Reader([[_spot("", 0, path, keys)]], {})) for path in rule.places]

    def read(self, rows: _Rows, view: View) -> list[dict[str, str]]:
        """Those that hold something; of several places, the first that has any."""
        delimiters, codec = view.delimiters, view.codec
        if self._segment:
            name, read = self._segment, self._fields.read
            return [row for each in view.every(name) if (row := read({name: each.fields}, delimiters, codec))]
        for path, reader in self._places:
            if path.is_plain:
                fields = rows[path.segment]
                texts = path.every(fields[path.field], delimiters) if path.field < len(fields) else []
            else:
                texts = [text for each in path.matching(view) for text in path.every(each.raw(path.field), delimiters)]
            found = [row for text in texts if (row := reader.read({"": (text,)}, delimiters, codec))]
            if found:
                return found
        return []


def _reader(rules: Iterable[FieldRule], wanted: Container[str] | None = None) -> _Reader:
    spots, texts = [], {}
    for rule in rules:
        if rule.type == "TX":
            texts[rule.name] = [(_row(path), path.field) for path in rule.places]
        else:
            keys = [part for part in _keys(rule) if wanted is None or part[0] in wanted]
            is_uid = rule.type == "UI"
            spots.append([_spot(_row(path), path.field, path, keys, is_uid=is_uid) for path in rule.places])
    return _Reader(spots, texts)


def _keys(rule: FieldRule | ListRule) -> list[Part]:
    return [(rule.name + suffix, ahead, subcomponent) for suffix, ahead, subcomponent in PARTS[rule.type]]


def _row(path: FieldPath) -> str:
    return path.segment if path.is_plain else f"{path.segment} {path.occurrence}"


def _spot(row: str, number: int, path: FieldPath, keys: Sequence[Part], *, is_uid: bool = False) -> _Spot:
    """``keys`` as in `PARTS`: components after the path's own, subcomponents from 1 or 0 for the path's own."""
    parts = tuple(
        (key, (path.component or 1) - 1 + ahead, (subcomponent or path.subcomponent or 1) - 1)
        for key, ahead, subcomponent in keys
    )
    choosing = path if row and path.repetition is not FIRST else None
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
