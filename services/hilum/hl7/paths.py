"""The path table: where each logical field lives, as data that a site can override for one feed.

`load_tables` reads ``paths.yaml``, lays a feed's changes over it and checks everything at once; `extract` applies it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from hilum.errors import HilumError, Rejected
from hilum.hl7.datatypes import PARTS, Part, plausible
from hilum.hl7.escapes import unescape
from hilum.hl7.fieldpath import FIRST, FieldPath, parse_path
from hilum.hl7.message import Message
from hilum.hl7.segment import Segment, View

Value = str | list[dict[str, str]]
Kind = Literal["order", "report", "patient", "merge"]


class _Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class _Place(_Closed):
    type: str = "ST"
    at: list[str] = Field(default_factory=list)
    each: list[str] = Field(default_factory=list)
    fields: dict[str, "_Place"] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"at": [value]}
        if isinstance(value, list):
            return {"at": value}
        if isinstance(value, dict) and isinstance(value.get("each"), str):
            return {**value, "each": [value["each"]]}
        return value


class _Structure(_Closed):
    messages: list[str]
    kind: Kind
    groups: list[str]
    include: list[str] = Field(default_factory=list)
    fields: dict[str, _Place] = Field(default_factory=dict)
    required: list[str] = Field(default_factory=list)


class _Table(_Closed):
    schema_: Literal[1] = Field(alias="schema")
    fragments: dict[str, dict[str, _Place]]
    structures: dict[str, _Structure]


_Plan = tuple[FieldPath | None, str, int, tuple[tuple[str, int, int], ...]]
"""A place made ready: the path when it selects, else None; segment, field; key, component and subcomponent from 0."""


@dataclass(frozen=True, slots=True)
class FieldRule:
    """One logical field: its places in order of preference, and the parts that its data type has there."""

    name: str
    type: str
    places: tuple[FieldPath, ...]
    plans: tuple[_Plan, ...]

    def read_into(self, view: View, values: dict[str, Value]) -> None:
        """Put the field's parts from the first place that holds something; nothing when none does."""
        _read((self,), view, values)


@dataclass(frozen=True, slots=True)
class ListRule:
    """A logical field that is a list: the repetitions of the first place that has any, or all segments of a name."""

    name: str
    places: tuple[FieldPath, ...]
    parts: tuple[Part, ...]
    segment: str = ""
    fields: tuple[FieldRule, ...] = ()

    def read_into(self, view: View, values: dict[str, Value]) -> None:
        """Put the list; nothing when it would be empty."""
        rows = list(self._segments(view) if self.segment else self._repetitions(view))
        if rows:
            values[self.name] = rows

    def _segments(self, view: View) -> Iterator[dict[str, str]]:
        for segment in view.every(self.segment):
            row: dict[str, Value] = {}
            alone = _OneSegment(segment, view)
            for rule in self.fields:
                rule.read_into(alone, row)
            if row:
                yield {name: value for name, value in row.items() if isinstance(value, str)}

    def _repetitions(self, view: View) -> Iterator[dict[str, str]]:
        for path in self.places:
            rows = []
            for segment in path.matching(view):
                for text in path.repetitions(segment, view, every=True):
                    row = {
                        suffix.removeprefix(".") or "value": value
                        for suffix, ahead, subcomponent in self.parts
                        if (value := path.part(text, view.delimiters, view.codec, ahead, subcomponent))
                    }
                    if row:
                        rows.append(row)
            if rows:
                yield from rows
                return


@dataclass(frozen=True)
class Structure:
    """The compiled table of one message structure."""

    name: str
    kind: Kind
    messages: tuple[str, ...]
    groups: tuple[str, ...]
    fields: Mapping[str, FieldRule | ListRule]
    required: tuple[tuple[str, ...], ...]

    def views(self, message: Message) -> Iterator[View]:
        """What the fields are read from: each group of the message, or the message where it has none."""
        return message.each_group(self.groups) if self.groups else iter((message,))

    @cached_property
    def rules(self) -> tuple[FieldRule | ListRule, ...]:
        return tuple(self.fields.values())

    def missing(self, view: View) -> Iterator[FieldPath]:
        """The first place of each required field that ``view`` lacks."""
        for names in self.required:
            rules = [rule for name in names if isinstance(rule := self.fields[name], FieldRule)]
            if not any(_present(rule, view) for rule in rules):
                yield rules[0].places[0]

    def implausible(self, view: View) -> Iterator[FieldPath]:
        """The places of values that cannot be of their type; only what others key on (UI) is judged."""
        for rule in self.rules:
            if isinstance(rule, FieldRule) and rule.type == "UI":
                yield from (path for path in rule.places if (text := path.read(view)) and not plausible("UI", text))


@dataclass(frozen=True)
class PathTables:
    """Every structure, found by what MSH-9.1 and MSH-9.2 say (``ORM^O01``)."""

    structures: Mapping[str, Structure]

    @cached_property
    def by_message(self) -> Mapping[str, Structure]:
        return {code: structure for structure in self.structures.values() for code in structure.messages}

    @cached_property
    def message_types(self) -> frozenset[str]:
        """The values of MSH-9.1 of which at least one event is accepted."""
        return frozenset(code.split("^")[0] for code in self.by_message)


def extract(view: View, structure: Structure) -> dict[str, Value]:
    """The logical fields of a message or group. Absent ones have no key; an explicit null is ``""`` (two quotes)."""
    values: dict[str, Value] = {}
    _read(structure.rules, view, values)
    return values


def _read(rules: Iterable["FieldRule | ListRule"], view: View, values: dict[str, Value]) -> None:
    """The hot loop of extraction: one pass over the rules, each place split once for all the parts it holds."""
    delimiters, index = view.delimiters, view.index
    _, component, repetition, escape, subcomponent, _ = delimiters
    for rule in rules:
        if isinstance(rule, ListRule):
            rule.read_into(view, values)
            continue
        if rule.type == "TX":
            values.update(_first_text(rule.name, rule.places, view))
            continue
        identifier = rule.type == "UI"
        for path, name, number, parts in rule.plans:
            if path is None:
                segments = index.get(name)
                if segments is None:
                    continue
                fields = segments[0].fields
                if number >= len(fields):
                    continue
                text = fields[number]
                if repetition in text:
                    text = text.split(repetition, 1)[0]
            else:
                text = path.repetition_text(view)
            if not text:
                continue
            components = text.split(component)
            count = len(components)
            found = False
            for key, place, inner in parts:
                if place >= count:
                    continue
                value = components[place]
                if subcomponent and subcomponent in value:
                    pieces = value.split(subcomponent)
                    value = pieces[inner] if inner < len(pieces) else ""
                elif inner:
                    continue
                if value:
                    if escape in value:
                        value = unescape(value, delimiters, view.codec)
                    if identifier and not plausible("UI", value):
                        continue
                    values[key] = value
                    found = True
            if found:
                break


def load_tables(override: Mapping[str, Sequence[str]] | None = None) -> PathTables:
    """The house table with a feed's ``override`` laid over it.

    A key is a field, wherever it occurs (``accession_number``), or that of one structure (``ORM_O01.modality``); the
    value is the places to try instead; the data type stays. Raises Rejected ``path_table_bad`` whose text lists every
    fault, one a line.
    """
    text = resources.files("hilum.hl7").joinpath("paths.yaml").read_text(encoding="utf-8")
    return compile_tables(yaml.safe_load(text), override or {})


def compile_tables(document: Any, override: Mapping[str, Sequence[str]]) -> PathTables:
    """As `load_tables`, from a parsed ``document`` of the same shape as ``paths.yaml``."""
    try:
        table = TypeAdapter(_Table).validate_python(document)
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
        raise Rejected("path_table_bad", "\n".join(lines)) from None
    faults: list[str] = []
    unused = set(override)
    structures = {}
    for name, structure in table.structures.items():
        fields = {field: place for fragment in structure.include for field, place in _fragment(fragment, table, faults)}
        fields.update(structure.fields)
        for field, place in fields.items():
            for key in (field, f"{name}.{field}"):
                if key in override:
                    unused.discard(key)
                    kept = {"each": list(override[key])} if place.each else {"at": list(override[key])}
                    fields[field] = place.model_copy(update=kept)
        structures[name] = _compile(name, structure, fields, faults)
    faults.extend(f"{key}: no structure has this field" for key in sorted(unused))
    claimed: dict[str, str] = {}
    for built in structures.values():
        for code in built.messages:
            if code in claimed:
                faults.append(f"{built.name}.messages: {code} belongs to {claimed[code]} already")
            claimed[code] = built.name
    if faults:
        raise Rejected("path_table_bad", "\n".join(dict.fromkeys(faults)))
    return PathTables(structures)


def _fragment(name: str, table: _Table, faults: list[str]) -> Iterable[tuple[str, _Place]]:
    if name not in table.fragments:
        faults.append(f"fragments: no fragment {name!r}")
    return table.fragments.get(name, {}).items()


def _compile(name: str, structure: _Structure, places: Mapping[str, _Place], faults: list[str]) -> Structure:
    fields = {field: _rule(field, place, f"{name}.{field}", faults) for field, place in places.items()}
    required = []
    for wanted in structure.required:
        names = tuple(wanted.split("|"))
        unknown = [field for field in names if not isinstance(fields.get(field), FieldRule)]
        if unknown:
            faults.append(f"{name}.required: no single field {', '.join(unknown)}")
        else:
            required.append(names)
    groups = tuple(structure.groups)
    return Structure(name, structure.kind, tuple(structure.messages), groups, fields, tuple(required))


def _rule(name: str, place: _Place, where: str, faults: list[str]) -> FieldRule | ListRule:
    parts = PARTS.get(place.type, ())
    if not parts:
        faults.append(f"{where}.type: {place.type!r} is none of {', '.join(PARTS)}")
    if bool(place.at) == bool(place.each):
        faults.append(f"{where}: either `at` or `each` names the places")
    if place.fields:
        segment = place.each[0] if place.each else ""
        if len(place.each) != 1 or len(segment) != 3:
            faults.append(f"{where}.each: a list of segments names one segment")
        inner = tuple(_rule(field, inside, f"{where}.fields.{field}", faults) for field, inside in place.fields.items())
        faults.extend(
            f"{where}.fields.{rule.name}: must be single places in {segment}"
            for rule in inner
            if isinstance(rule, ListRule) or any(path.segment != segment for path in rule.places)
        )
        return ListRule(name, (), parts, segment, tuple(rule for rule in inner if isinstance(rule, FieldRule)))
    paths = tuple(path for written in place.at or place.each if (path := _path(written, where, faults)))
    return ListRule(name, paths, parts) if place.each else field_rule(name, place.type, paths)


def field_rule(name: str, data_type: str, places: tuple[FieldPath, ...]) -> FieldRule:
    """A rule for ``name`` of ``data_type`` (a key of `hilum.hl7.datatypes.PARTS`)."""
    plans = []
    for path in places:
        plain = path.occurrence is FIRST and path.repetition is FIRST and (path.segment != "MSH" or path.field > 2)
        parts = tuple(
            (name + suffix, (path.component or 1) - 1 + ahead, (subcomponent or path.subcomponent or 1) - 1)
            for suffix, ahead, subcomponent in PARTS.get(data_type, ())
        )
        plans.append((None if plain else path, path.segment, path.field, parts))
    return FieldRule(name, data_type, places, tuple(plans))


def _path(written: str, where: str, faults: list[str]) -> FieldPath | None:
    try:
        return parse_path(written)
    except HilumError as error:
        faults.append(f"{where}: {error.text}")
        return None


def _present(rule: FieldRule, view: View) -> bool:
    values: dict[str, Value] = {}
    rule.read_into(view, values)
    return bool(values.get(rule.name))


def _first_text(name: str, places: tuple[FieldPath, ...], view: View) -> dict[str, str]:
    for path in places:
        segments = path.matching(view)
        text = segments[0].raw(path.field) if segments else ""
        if text:
            lines = text.split(view.delimiters.repetition)
            return {name: "\n".join(unescape(line, view.delimiters, view.codec) for line in lines)}
    return {}


class _OneSegment:
    """A view that holds one segment."""

    __slots__ = ("codec", "delimiters", "index")

    def __init__(self, segment: Segment, view: View) -> None:
        self.index: Mapping[str, list[Segment]] = {segment.name: [segment]}
        self.delimiters = view.delimiters
        self.codec = view.codec

    def every(self, name: str) -> list[Segment]:
        return self.index.get(name, [])
