"""The logical fields of a message, chosen from what another reader found in it.

The same table as Hilum's (``hilum/hl7/paths.yaml``), applied anew: nothing here calls Hilum, so that a fault of its
extraction and one of its splitter both show. The components of each data type are written out from HL7 v2.5.1 2A.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

import yaml

Repetition = Sequence[Sequence[str]]
"""Components, each a list of subcomponents, unescaped."""
Segment = Mapping[str, Sequence[Repetition]]
"""Field number as text to repetitions."""
Row = Mapping[str, Sequence[Segment]]
"""Segment name to the segments of one order, report or patient."""
Fields = dict[str, Any]

# Suffix: (component, subcomponent), from 1.
_PARTS: dict[str, dict[str, tuple[int, int]]] = {
    "ST": {"": (1, 1)},
    "UI": {"": (1, 1)},
    "EI": {"": (1, 1), ".authority": (2, 1), ".authority_uid": (3, 1)},
    "CX": {"": (1, 1), ".authority": (4, 1), ".authority_uid": (4, 2), ".type": (5, 1)},
    "CWE": {"": (1, 1), ".text": (2, 1), ".system": (3, 1)},
    "XPN": {".family": (1, 1), ".given": (2, 1), ".middle": (3, 1), ".suffix": (4, 1), ".prefix": (5, 1)},
    "XCN": {"": (1, 1), ".family": (2, 1), ".given": (3, 1), ".authority": (9, 1)},
    "NDL": {"": (1, 1), ".family": (1, 2), ".given": (1, 3)},
    "PL": {".point_of_care": (1, 1), ".room": (2, 1), ".bed": (3, 1), ".facility": (4, 1)},
}
_PLACE = re.compile(
    r"(?P<segment>[A-Z0-9]{3})(?:\[(?P<if_field>\d+)\.(?P<if_part>\d+)=(?P<segment_is>[^\]]+)\])?"
    r"-(?P<field>\d+)(?:\[(?P<if_component>\d+)=(?P<component_is>[^\]]+)\])?"
    r"(?:\.(?P<component>\d+))?(?:\.(?P<subcomponent>\d+))?"
)
_TABLE = yaml.safe_load(resources.files("hilum.hl7").joinpath("paths.yaml").read_text(encoding="utf-8"))


def structure_of(message_type: str) -> dict[str, Any] | None:
    """The entry of the table for MSH-9 as ``ORM^O01``; its ``fields`` are every field of its fragments."""
    for structure in _TABLE["structures"].values():
        if message_type in structure["messages"]:
            fields = {name: place for part in structure["include"] for name, place in _TABLE["fragments"][part].items()}
            return {**structure, "fields": fields}
    return None


def choose(row: Row, fields: Mapping[str, Any]) -> Fields:
    """Each logical field that ``row`` holds: texts, and tuples of texts for the columns of a list."""
    found: Fields = {}
    for name, place in fields.items():
        if isinstance(place, dict) and "each" in place:
            rows = list(_segment_rows(row, place) if "fields" in place else _repetition_rows(row, place))
            for column in sorted({column for each in rows for column in each}):
                found[f"{name}.{column}"] = tuple(each.get(column, "") for each in rows)
        else:
            found.update(_single(name, row, place))
    return found


def _single(name: str, row: Row, place: Any) -> dict[str, str]:
    kind, places = (place.get("type", "ST"), place["at"]) if isinstance(place, dict) else ("ST", place)
    for written in places:
        where = _place(written)
        for segment in _segments(row, where)[:1]:
            repetitions = segment.get(where["field"], [])
            if kind == "TX":
                text = "\n".join("^".join("&".join(parts) for parts in _trimmed(each)) for each in repetitions)
                if text:
                    return {name: text}
                continue
            for repetition in _repetitions(repetitions, where)[:1]:
                found = _parts(repetition, where, kind)
                if kind == "UI" and not all(_is_uid(value) for value in found.values()):
                    continue
                if found:
                    return {name + suffix: value for suffix, value in found.items()}
    return {}


def _segment_rows(row: Row, place: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    for segment in row.get(place["each"], []):
        alone = {place["each"]: [segment]}
        found = {
            key: value for name, inner in place["fields"].items() for key, value in _single(name, alone, inner).items()
        }
        if found:
            yield found


def _repetition_rows(row: Row, place: Mapping[str, Any]) -> list[dict[str, str]]:
    places = place["each"] if isinstance(place["each"], list) else [place["each"]]
    for written in places:
        where = _place(written)
        repetitions = [
            each for segment in row.get(where["segment"], [])[:1] for each in segment.get(where["field"], [])
        ]
        found = [_parts(repetition, where, place["type"]) for repetition in repetitions]
        rows = [
            {suffix.removeprefix(".") or "value": value for suffix, value in each.items()} for each in found if each
        ]
        if rows:
            return rows
    return []


def _parts(repetition: Repetition, where: Mapping[str, str], kind: str) -> dict[str, str]:
    ahead = int(where["component"] or 1) - 1
    found = {}
    for suffix, (component, subcomponent) in _PARTS[kind].items():
        number = int(where["subcomponent"] or subcomponent)
        if value := _at(repetition, component + ahead, number):
            found[suffix] = value
    return found


def _place(written: str) -> dict[str, str]:
    match = _PLACE.fullmatch(written)
    assert match is not None, written
    return match.groupdict("")


def _segments(row: Row, where: Mapping[str, str]) -> list[Segment]:
    segments = list(row.get(where["segment"], []))
    if not where["segment_is"]:
        return segments
    part, wanted = int(where["if_part"]), where["segment_is"]
    return [
        segment
        for segment in segments
        if any(_at(repetition, part, 1) == wanted for repetition in segment.get(where["if_field"], [])[:1])
    ]


def _repetitions(repetitions: Sequence[Repetition], where: Mapping[str, str]) -> Sequence[Repetition]:
    if not where["component_is"]:
        return repetitions
    component, wanted = int(where["if_component"]), where["component_is"]
    return [repetition for repetition in repetitions if _at(repetition, component, 1) == wanted]


def _at(repetition: Repetition, component: int, subcomponent: int) -> str:
    if component > len(repetition) or subcomponent > len(repetition[component - 1]):
        return ""
    return repetition[component - 1][subcomponent - 1]


def _trimmed(repetition: Repetition) -> list[list[str]]:
    """Without the empty components and subcomponents that end it: a reader may add those of the data type."""
    components = [_without_end(list(parts)) for parts in repetition]
    while components and not components[-1]:
        components.pop()
    return components


def _without_end(parts: list[str]) -> list[str]:
    while parts and not parts[-1]:
        parts.pop()
    return parts


def _is_uid(value: str) -> bool:
    return value == '""' or (
        len(value) <= 64 and re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+", value, re.ASCII) is not None
    )
