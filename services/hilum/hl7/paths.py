"""The path table: where each logical field lives, as data that a site can override for one feed.

`load_tables` reads ``paths.yaml``, lays a feed's changes over it and checks everything at once; a structure's `all`
reads what the table names from a message.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from hilum.errors import HilumError, Rejected
from hilum.hl7.datatypes import PARTS, plausible
from hilum.hl7.earlier import NONE, Earlier, earlier_results
from hilum.hl7.extraction import FieldRule, ListRule, Selection, Value
from hilum.hl7.fieldpath import FieldPath, parse_path
from hilum.hl7.message import Message
from hilum.hl7.segment import HEADERS

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
    prior: list[str] = Field(default_factory=list)
    include: list[str] = Field(default_factory=list)
    fields: dict[str, _Place] = Field(default_factory=dict)
    required: list[str] = Field(default_factory=list)


class _Table(_Closed):
    schema_: Literal[1] = Field(alias="schema")
    fragments: dict[str, dict[str, _Place]]
    structures: dict[str, _Structure]


@dataclass(frozen=True, eq=False)
class Structure:
    """The compiled table of one message structure."""

    name: str
    kind: Kind
    messages: tuple[str, ...]
    groups: tuple[str, ...]
    prior: tuple[str, ...]
    """Segments that begin earlier results where they follow a group."""
    fields: Mapping[str, FieldRule | ListRule]
    required: tuple[tuple[str, ...], ...]

    @cached_property
    def anchors(self) -> tuple[str, ...]:
        """The segments that begin a group."""
        return tuple(name for anchor in self.groups for name in anchor.split("+"))

    def earlier(self, message: Message) -> Earlier:
        """The earlier results in ``message``, which are none of its groups."""
        return earlier_results(message, self.anchors, self.prior) if self.prior else NONE

    @cached_property
    def all(self) -> Selection:
        """Every logical field."""
        return Selection(self.fields.values(), self.groups, prior=self.prior)

    def select(self, names: Iterable[str]) -> Selection:
        """Only the named values, such as ``accession_number`` or ``patient_id.authority``."""
        return Selection(self.fields.values(), self.groups, frozenset(names), self.prior)

    @cached_property
    def uid_places(self) -> Mapping[str, FieldPath]:
        """Every place of an order's UIDs, by the path as written: what others key on must be of its type."""
        fields = self.fields.values() if self.kind == "order" else ()
        uids = [rule for rule in fields if isinstance(rule, FieldRule) and rule.type == "UI"]
        return {path.text: path for rule in uids for path in rule.places}

    @cached_property
    def checked(self) -> Selection:
        """What decides whether a message is taken: the required fields, and what stands at each of `uid_places`."""
        required = [self.fields[name] for names in self.required for name in names]
        uids = [FieldRule(text, "ST", (path,)) for text, path in self.uid_places.items()]
        names = {rule.name for rule in (*required, *uids)}
        return Selection((*required, *uids), self.groups, names, self.prior)

    def missing(self, values: Mapping[str, Value]) -> Iterator[FieldPath]:
        """The first place of each required field that ``values`` lacks."""
        for names in self.required:
            for name in names:
                if name in values:
                    break
            else:
                yield self.fields[names[0]].places[0]

    def implausible(self, values: Mapping[str, Value]) -> Iterator[FieldPath]:
        """The places of those of the `checked` ``values`` that should be UIDs and are none."""
        for text, path in self.uid_places.items():
            value = values.get(text)
            if isinstance(value, str) and not plausible("UI", value):
                yield path


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
    groups, prior = tuple(structure.groups), tuple(structure.prior)
    return Structure(name, structure.kind, tuple(structure.messages), groups, prior, fields, tuple(required))


def _rule(name: str, place: _Place, where: str, faults: list[str]) -> FieldRule | ListRule:
    if place.type not in PARTS:
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
            if isinstance(rule, ListRule) or any(path.segment != segment or not path.is_plain for path in rule.places)
        )
        return ListRule(name, place.type, (), segment, tuple(rule for rule in inner if isinstance(rule, FieldRule)))
    paths = tuple(path for written in place.at or place.each if (path := _path(written, where, faults)))
    kind = ListRule if place.each else FieldRule
    return kind(name, place.type, paths)


def _path(written: str, where: str, faults: list[str]) -> FieldPath | None:
    try:
        path = parse_path(written)
    except HilumError as error:
        faults.append(f"{where}: {error.text}")
        return None
    if path.segment in HEADERS and path.field <= 2:
        faults.append(f"{where}: {written!r} holds the delimiters")
        return None
    return path
