"""The logical fields of published messages as Hilum, hl7apy and HAPI HL7v2 read them.

hl7apy and HAPI split the messages; which values are the logical fields is chosen by `corpora.hl7_choice`, not by Hilum.
HAPI also finds the groups, by the standard's structures; hl7apy takes seconds for that, so they are found here, by the
standard's grammar and nothing else.
"""

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hl7apy.parser import parse_segment

from corpora.comparison import Readings, Row, Unread
from corpora.hl7_choice import choose, structure_of
from corpora.published import Published
from hilum.errors import Rejected
from hilum.hl7.message import parse
from hilum.hl7.paths import load_tables
from peers import hapi_v2

_DEFAULT_CHARSET = "8859/1"  # a feed's unless the site file says otherwise
_ESCAPES = {"F": "|", "S": "^", "T": "&", "R": "~", "E": "\\", ".br": "\n"}
_SEGMENTS = {"MSH", "PID", "PV1", "MRG", "ORC", "OBR", "TQ1", "IPC", "ZDS", "OBX"}


def hilum(files: Sequence[Published]) -> tuple[dict[str, list[Row]], dict[str, str]]:
    """Every file that Hilum reads and whose kind of message is in the path table, whatever it is answered.

    The rows of each, and its message type as ``ORM^O01``.
    """
    tables = load_tables()
    found: dict[str, list[Row]] = {}
    kinds: dict[str, str] = {}
    for file in files:
        try:
            message = parse(file.path.read_bytes(), _DEFAULT_CHARSET)
        except Rejected:
            continue
        kind = f"{message.get('MSH-9.1')}^{message.get('MSH-9.2')}"
        structure = tables.by_message.get(kind)
        if structure is not None:
            kinds[file.name] = kind
            found[file.name] = [_flat(values) for values in structure.all.read(message)]
    return found, kinds


def hapi(files: Iterable[Published], kinds: Mapping[str, str], config: pytest.Config | None = None) -> Readings:
    """HAPI's reading of each file; ``kinds`` has its message type as ``ORM^O01``."""
    paths = {file.path: file.name for file in files}
    found: dict[str, Sequence[Row] | Unread] = {}
    for reading in hapi_v2.read_fields(list(paths), config):
        name = paths[reading.file]
        found[name] = Unread(f"{reading.error}: {reading.text}") if reading.error else _rows(reading.rows, kinds[name])
    return found


def hl7apy(files: Iterable[Published], kinds: Mapping[str, str]) -> Readings:
    """hl7apy's reading of each file."""
    found: dict[str, Sequence[Row] | Unread] = {}
    for file in files:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                segments = _hl7apy_segments(file.path)
        except Exception as error:  # noqa: BLE001 - whatever it makes of a message that it does not read
            found[file.name] = Unread(f"{type(error).__name__}: {error}")
            continue
        found[file.name] = _rows(list(_groups(segments, kinds[file.name])), kinds[file.name])
    return found


def _flat(fields: Mapping[str, Any]) -> Row:
    found: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, str):
            found[name] = value
            continue
        for column in sorted({column for row in value for column in row}):
            found[f"{name}.{column}"] = tuple(row.get(column, "") for row in value)
    return found


def _rows(rows: Sequence[Any], kind: str) -> list[Row]:
    structure = structure_of(kind)
    assert structure is not None, kind
    return [choose(row, structure["fields"]) for row in rows]


_Segment = tuple[str, dict[str, list[list[list[str]]]]]


def _hl7apy_segments(path: Path) -> list[_Segment]:
    """A segment at a time: hl7apy refuses whole messages for segments and versions that are no matter here."""
    raw = path.read_bytes()
    text = raw.removeprefix(b"\xef\xbb\xbf").decode(_codec(raw))
    lines = [line for line in re.split(r"[\r\n]+", text) if line]
    marks = _encoding_characters(lines[0])
    version = lines[0].split(marks["FIELD"])[11].split(marks["COMPONENT"])[0].strip()
    found: list[_Segment] = []
    for line in lines:
        if line[:3] in _SEGMENTS:
            segment = parse_segment(line, version=version, encoding_chars=marks)
            fields: dict[str, list[list[list[str]]]] = {}
            for field in segment.children:
                number = str(field.name).rsplit("_", 1)[-1]
                components = _at_places(field, _length(field))
                fields.setdefault(number, []).append([_texts(component, marks["ESCAPE"]) for component in components])
            found.append((line[:3], fields))
    return found


def _encoding_characters(header: str) -> dict[str, str]:
    marks = dict(zip(("FIELD", "COMPONENT", "REPETITION", "ESCAPE", "SUBCOMPONENT"), header[3:8], strict=True))
    return {"SEGMENT": "\r", "GROUP": "\r", **marks}


def _length(field: Any) -> int:
    """How many components the data type has: those beyond have no number of their own."""
    return len(field.ordered_children or ())


def _at_places(element: Any, length: int) -> list[Any]:
    """The children of a field or component by their number; None where hl7apy left an empty one out."""
    placed: list[Any] = []
    for child in element.children:
        numbered = re.search(r"_(\d+)$", child.name or "")
        known = int(numbered[1]) - 1 if numbered else length if child.name is None else 0
        placed += [None] * (known - len(placed))
        placed.append(child)
    return placed


def _texts(component: Any, escape: str) -> list[str]:
    if component is None:
        return [""]
    return [_text(part, escape) for part in _at_places(component, 0)] or [""]


def _text(part: Any, escape: str) -> str:
    if part is None:
        return ""
    value = getattr(part.value, "value", part.value)
    return _unescaped(value if isinstance(value, str) else part.to_er7(), escape)


def _unescaped(text: str, escape: str) -> str:
    """hl7apy leaves escape sequences as they came. (2.5.1 2.7)"""
    mark = re.escape(escape)
    return re.sub(f"{mark}(F|S|T|R|E|\\.br){mark}", lambda found: _ESCAPES[found[1]], text)


def _codec(raw: bytes) -> str:
    if raw.startswith(b"\xef\xbb\xbf"):
        return "utf_8"
    header = re.split(rb"[\r\n]", raw, maxsplit=1)[0].split(raw[3:4])
    declared = header[17].decode("ascii", "replace") if len(header) > 17 else ""
    if declared in {"UNICODE UTF-8", "UTF-8"}:
        return "utf_8"
    return f"iso{declared.replace('/', '_')}" if declared.startswith("8859/") else "latin_1"


def _groups(segments: Sequence[_Segment], kind: str) -> Iterable[dict[str, list[dict[str, Any]]]]:
    """Orders begin with ORC, or with OBR where none stands before it; patients of a merge with PID; IPC are steps."""
    if kind == "ADT^A40":
        starts = [place for place, (name, _) in enumerate(segments) if name == "PID"]
        for start, end in zip(starts, [*starts[1:], len(segments)], strict=True):
            yield _by_name([*segments[: starts[0]], *segments[start:end]])
        return
    if kind.startswith("ADT"):
        yield _by_name(segments)
        return
    around: list[_Segment] = []
    order: list[_Segment] = []
    for segment in [*segments, ("ORC", {})]:
        name = segment[0]
        held = {each[0] for each in order}
        ends = name == "ORC" or (name == "OBR" and "OBR" in held) or (name == "PID" and kind == "ORU^R01")
        if order and ends:
            yield from _steps(around, order)
            order = []
        if name in {"PID", "PV1"} and order and kind == "OMG^O19":
            yield from _steps(around, order)
            return  # what follows are earlier results (PRIOR_RESULT)
        if name in {"ORC", "OBR"} or order:
            order.append(segment)
        else:
            around = [segment] if name == "PID" else [*around, segment]


def _steps(around: Sequence[_Segment], order: Sequence[_Segment]) -> Iterable[dict[str, list[dict[str, Any]]]]:
    context = [segment for segment in around if segment[0] != "OBX"]  # those are the patient's
    steps = [segment for segment in order if segment[0] == "IPC"]
    rest = [segment for segment in order if segment[0] != "IPC"]
    for chosen in [[step] for step in steps] or [[]]:
        yield _by_name([*context, *rest, *chosen])


def _by_name(segments: Iterable[_Segment]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for name, fields in segments:
        found.setdefault(name, []).append(fields)
    return found
