"""Acknowledgements in original mode (HL7 v2.5.1 2.9.2, 2.14): writing ours, reading others'.

Writing is a pure function: the same bytes, outcome and time give the same answer, also to bytes that are no message.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime

from hilum.errors import Rejected
from hilum.hl7.charsets import UTF8_SIGNATURE, codec_of
from hilum.hl7.escapes import STANDARD, Delimiters, escape, read_delimiters
from hilum.hl7.judge import Location, Outcome
from hilum.hl7.message import header_line, parse
from hilum.hl7.tables import ACKNOWLEDGING, CONDITIONS, VERSIONS, version_number
from hilum.hl7.timestamps import write_timestamp
from hilum.ids import control_id


@dataclass(frozen=True, slots=True)
class AcknowledgementConfig:
    """What an answer says of us where the message does not: MSH-3, MSH-4, MSH-11, MSH-12."""

    application: str = "HILUM"
    facility: str = ""
    processing_id: str = "P"
    version: str = "2.5.1"
    default_charset: str = "ASCII"


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """An answer as read: MSA-1, MSA-2, table 0357 conditions of its ERR segments, and ORC-1 of an order response."""

    code: str
    message_control_id: str
    conditions: tuple[str, ...]
    text: str
    message_type: str
    order_controls: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        return self.code in {"AA", "CA"}


def acknowledge(raw: bytes, outcome: Outcome, at: datetime, config: AcknowledgementConfig) -> bytes:
    """The ACK to ``raw`` (a whole message, or anything at all), as bytes without framing. Never raises.

    ``at`` must be aware. The answer keeps the sender's delimiters and character set where they are usable, so that
    what it echoes is byte for byte what was sent.
    """
    echo = _echo(raw, config)
    delimiters = echo.delimiters
    digest = hashlib.sha256(raw).hexdigest()
    own_id = control_id("acknowledgement", digest, outcome.code, outcome.condition)
    version = echo.version if echo.version in VERSIONS else config.version
    number = version_number(version)
    kind = ["ACK"]
    if number >= (2, 4) and echo.event:
        kind.append(echo.event)
        if number >= (2, 5):
            kind.append("ACK")
    header = [
        "MSH",
        delimiters.encoding_characters,
        echo.fields[5] or escape(config.application, delimiters),
        echo.fields[6] or escape(config.facility, delimiters),
        echo.fields[3],
        echo.fields[4],
        write_timestamp(at),
        "",
        delimiters.component.join(kind),
        own_id,
        echo.fields[11] or config.processing_id,
        version,
    ]
    if echo.fields[18]:
        header += ["", "", "", "", "", echo.fields[18]]
    answer = ["MSA", outcome.code, echo.fields[10]]
    accepted = outcome.code == "AA"
    if not accepted and number < (2, 5):  # later versions carry the text in ERR-8; MSA-3 is deprecated
        answer.append(escape(outcome.text, delimiters))
    segments = [header, answer]
    if not accepted:
        segments.append(_error_segment(outcome, delimiters, number))
    text = "\r".join(delimiters.field.join(_trimmed(segment)) for segment in segments) + "\r"
    return text.encode(echo.codec, "replace")


def read_acknowledgement(raw: bytes, default_charset: str = "UNICODE UTF-8") -> Acknowledgement:
    """An answer of a peer, one payload: ACK, or an order response such as ORR^O02.

    Raises Rejected: what `hilum.hl7.message.parse` raises, ``acknowledgement_type`` when it is another message,
    ``acknowledgement_incomplete`` when MSA-1 or MSA-2 is missing or MSA-1 is not of table 0008.
    """
    message = parse(raw, default_charset)
    kind = message.get("MSH-9.1")
    if kind not in ACKNOWLEDGING:
        raise Rejected("acknowledgement_type", "the answer is not an acknowledgement")
    code, answered = message.get("MSA-1"), message.get("MSA-2")
    if code not in {"AA", "AE", "AR", "CA", "CE", "CR"} or not answered:
        raise Rejected("acknowledgement_incomplete", "the acknowledgement lacks its code or the control ID it answers")
    conditions = [value for value in (message.all("ERR-3.1") or message.all("ERR-1.4.1")) if value in CONDITIONS]
    text = message.get("ERR-8") or message.get("MSA-3")
    controls = tuple(group.get("ORC-1") for group in message.groups(("ORC",)))
    return Acknowledgement(code, answered, tuple(conditions), text, kind, controls)


def _error_segment(outcome: Outcome, delimiters: Delimiters, version: tuple[int, ...]) -> list[str]:
    component = delimiters.component
    text = CONDITIONS.get(outcome.condition, "")
    place = outcome.location or Location("")
    if version >= (2, 5):
        coded = component.join([outcome.condition, text, "HL70357"])
        where = [place.segment, place.occurrence if place.segment else 0, place.field, 0, place.component]
        where[3] = 1 if place.component else 0
        location = component.join(_trimmed([str(part) if part else "" for part in where]))
        return ["ERR", "", location, coded, "E", "", "", "", escape(outcome.text, delimiters)]
    subcomponent = delimiters.subcomponent or component
    coded = subcomponent.join([outcome.condition, text, "HL70357"])
    numbers = [str(number) if number else "" for number in (place.occurrence if place.segment else 0, place.field)]
    return ["ERR", component.join([place.segment, *numbers, coded])]


@dataclass(frozen=True, slots=True)
class _Echo:
    fields: list[str]
    """Elements by MSH field number, as they came; "" where unusable."""
    delimiters: Delimiters
    codec: str
    version: str
    event: str


def _echo(raw: bytes, config: AcknowledgementConfig) -> _Echo:
    line = header_line(raw.removeprefix(UTF8_SIGNATURE))
    text, codec, charset = _decoded_header(line, config)
    empty = [""] * 32
    if not text.startswith("MSH"):
        return _Echo(empty, STANDARD, "ascii", "", "")
    try:
        delimiters = read_delimiters(text)
    except Rejected:
        if text[3:4] != STANDARD.field:
            return _Echo(empty, STANDARD, "ascii", "", "")
        delimiters = STANDARD
    fields = text.split(delimiters.field)
    fields.insert(1, "")
    fields = [_printable(field) for field in fields] + empty
    fields[18] = charset
    kind = [*fields[9].split(delimiters.repetition)[0].split(delimiters.component), ""]
    version = fields[12].split(delimiters.component)[0].strip()
    return _Echo(fields, delimiters, codec, version, kind[1])


def _decoded_header(line: bytes, config: AcknowledgementConfig) -> tuple[str, str, str]:
    """Header text, codec of the answer, and MSH-18 to declare in it: only what we can both read and write."""
    separator = line[3:4]
    parts = line.split(separator) if separator else []
    declared = parts[17].decode("ascii", "replace") if len(parts) > 17 else ""
    repetition = line[5:6].decode("ascii", "replace")
    names = declared.split(repetition) if repetition else [declared]
    try:
        codec = codec_of(names, config.default_charset)
        return line.decode(codec), codec, declared
    except (Rejected, UnicodeDecodeError):
        return line.decode("ascii", "replace").replace("\ufffd", " "), "ascii", ""


def _printable(text: str) -> str:
    # A space stands in: it is the one printable character that no message can declare as a delimiter.
    return text if text.isprintable() else "".join(mark if mark.isprintable() else " " for mark in text)


def _trimmed(fields: list[str]) -> list[str]:
    while fields and not fields[-1]:
        fields = fields[:-1]
    return fields
