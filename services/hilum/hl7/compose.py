"""Outbound messages: built from values, or made of one received with only the named fields changed.

A composed value is a str, a tuple of components (each a str or a tuple of subcomponents), or a list of repetitions of
these. Text is escaped here; an explicit null is `hilum.hl7.escapes.NULL`.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime

from hilum.errors import Rejected
from hilum.hl7.charsets import codec_of, encode
from hilum.hl7.escapes import NULL, STANDARD, Delimiters, escape
from hilum.hl7.fieldpath import FIRST, parse_path
from hilum.hl7.message import Message
from hilum.hl7.segment import Segment
from hilum.hl7.timestamps import write_timestamp

Component = str | tuple[str, ...]
Repetition = str | tuple[Component, ...]
FieldValue = Repetition | list[Repetition]


class MessageBuilder:
    """Collects segments, then gives the message: ``MessageBuilder(...).add("PID", {5: ("Doe", "Ann")}).build()``."""

    def __init__(
        self,
        message_type: tuple[str, ...],
        control_id: str,
        at: datetime,
        *,
        sender: tuple[FieldValue, FieldValue],
        receiver: tuple[FieldValue, FieldValue],
        version: str = "2.5.1",
        processing_id: str = "P",
        charset: str = "UNICODE UTF-8",
        delimiters: Delimiters = STANDARD,
    ) -> None:
        """``sender`` and ``receiver`` are application and facility (MSH-3 to MSH-6); ``charset`` is of table 0211."""
        self._delimiters = delimiters
        self._charset = charset
        self._lines: list[str] = []
        header: dict[int, FieldValue] = {
            3: sender[0],
            4: sender[1],
            5: receiver[0],
            6: receiver[1],
            7: write_timestamp(at),
            9: message_type,
            10: control_id,
            11: processing_id,
            12: version,
            18: charset,
        }
        self.add("MSH", header)

    def add(self, name: str, fields: Mapping[int, FieldValue]) -> "MessageBuilder":
        """Append a segment; ``fields`` by number from 1 (of MSH from 3)."""
        texts = [""] * max(fields, default=0)
        for number, value in fields.items():
            texts[number - 1] = compose_field(value, self._delimiters)
        if name == "MSH":
            line = f"MSH{self._delimiters.field}{self._delimiters.encoding_characters}"
            texts = texts[2:]
            self._lines.append(self._delimiters.field.join([line, *texts]))
        else:
            self._lines.append(self._delimiters.field.join([name, *texts]))
        return self

    def echo(self, segments: Iterable[Segment], changes: Mapping[str, FieldValue] | None = None) -> "MessageBuilder":
        """Append received ``segments`` as they came, every field kept, with only the fields in ``changes`` replaced.

        The builder must use the delimiters of the message that they come from. Keys of ``changes`` are paths to a
        field, repetition, component or subcomponent (``ORC-7.6``); they apply to the first segment of that name.
        """
        self._lines.extend(amend(segments, changes or {}, self._delimiters))
        return self

    def build(self) -> Message:
        """The message; segments in the order added."""
        text = "\r".join(self._lines) + "\r"
        return Message(text, codec_of([self._charset], "ASCII"), self._charset, self._delimiters)

    def to_bytes(self) -> bytes:
        """The message in its character set. Raises Rejected ``charset_unencodable``."""
        return encode(self.build().text, codec_of([self._charset], "ASCII"))


def compose_field(value: FieldValue, delimiters: Delimiters = STANDARD) -> str:
    """The text of a field, escaped; trailing empty components are left off."""
    if isinstance(value, list):
        return delimiters.repetition.join(compose_field(repetition, delimiters) for repetition in value)
    if isinstance(value, str):
        return _text(value, delimiters)
    components = [
        _joined([_text(part, delimiters) for part in component], delimiters.subcomponent)
        if isinstance(component, tuple)
        else _text(component, delimiters)
        for component in value
    ]
    return _joined(components, delimiters.component)


def amend(segments: Iterable[Segment], changes: Mapping[str, FieldValue], delimiters: Delimiters) -> list[str]:
    """The lines of ``segments`` with only the named places changed, every other byte as it came.

    Raises Rejected ``amend_absent`` when a change names a segment that is not there, ``path_bad`` when its path has a
    condition or more than the first segment.
    """
    pending = {name: (parse_path(name), value) for name, value in changes.items()}
    lines = []
    for segment in segments:
        mine = [name for name, (path, _) in pending.items() if path.segment == segment.name]
        fields = list(segment.fields)
        for name in mine:
            path, value = pending.pop(name)
            if path.occurrence is not FIRST or path.repetition.first or path.repetition.index is None:
                raise Rejected("path_bad", f"{name!r}: only the first segment of a name can be changed, by numbers")
            fields.extend([""] * (path.field + 1 - len(fields)))
            whole = path.component == 0 and path.repetition is FIRST
            text = compose_field(value, delimiters)
            if not whole:
                places = [
                    (delimiters.repetition, path.repetition.index),
                    (delimiters.component, path.component - 1),
                    (delimiters.subcomponent, path.subcomponent - 1),
                ]
                text = _placed(fields[path.field], places, text)
            fields[path.field] = text
        if mine and segment.name in {"MSH", "FHS", "BHS"}:
            del fields[1]
        lines.append(delimiters.field.join(fields) if mine else segment.line)
    if pending:
        absent = ", ".join(sorted(path.segment for path, _ in pending.values()))
        raise Rejected("amend_absent", f"no segment to change: {absent}")
    return lines


def _placed(text: str, places: list[tuple[str, int]], value: str) -> str:
    if not places or places[0][1] < 0:
        return value
    mark, number = places[0]
    if not mark:
        raise Rejected("unescapable", "the message declares no subcomponent separator")
    parts = text.split(mark)
    parts.extend([""] * (number + 1 - len(parts)))
    parts[number] = _placed(parts[number], places[1:], value)
    return mark.join(parts)


def _joined(parts: list[str], mark: str) -> str:
    while parts and not parts[-1]:
        parts.pop()
    return mark.join(parts)


def _text(value: str, delimiters: Delimiters) -> str:
    return value if value == NULL else escape(value, delimiters)
