"""Acknowledgements in original mode (HL7 v2.5.1 2.9.2, 2.14): writing ours, reading others'.

Writing is a pure function: the same bytes, outcome and time give the same answer, also to bytes that are no message.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from hilum.errors import Rejected
from hilum.hl7.charsets import declared_codec
from hilum.hl7.escapes import STANDARD, Delimiters, escape, read_delimiters
from hilum.hl7.header import Header
from hilum.hl7.judge import Location, Outcome
from hilum.hl7.message import parse
from hilum.hl7.tables import ACKNOWLEDGING, CONDITIONS, VERSIONS, version_number
from hilum.hl7.timestamps import write_timestamp


@dataclass(frozen=True, slots=True)
class AcknowledgementConfig:
    """What an answer says of us where the message does not: MSH-3, MSH-4, MSH-11, MSH-12."""

    application: str = "HILUM"
    facility: str = ""
    processing_id: str = "P"
    version: str = "2.5.1"


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


def acknowledge(
    header: Header,
    digest: bytes,
    outcome: Outcome,
    at: datetime,
    config: AcknowledgementConfig,
    default_charset: str = "ASCII",
) -> bytes:
    """The ACK to a message, or to anything at all, as bytes without framing. Never raises.

    ``header`` is what `hilum.hl7.header.read_header` read of it, ``digest`` the SHA-256 of its bytes. ``at`` must be
    aware; ``default_charset`` holds where MSH-18 is empty. The answer keeps the sender's delimiters and character set
    where they are usable, so that what it echoes is byte for byte what was sent.
    """
    echo, delimiters, codec, charset = _echo(header, default_charset)
    separator, component = delimiters.field, delimiters.component
    version = echo[11].split(component, 1)[0].strip()
    if version not in VERSIONS:
        version = config.version
    number = version_number(version)
    kind = "ACK"
    if number >= (2, 4):
        event = [*echo[8].split(delimiters.repetition, 1)[0].split(component), ""][1]
        if event:
            kind = f"ACK{component}{event}"
            if number >= (2, 5):
                kind = f"{kind}{component}ACK"
    own_id = hashlib.sha256(digest + f"{outcome.code}{outcome.condition}".encode()).hexdigest()[:19].upper()
    fields = [
        "MSH",
        delimiters.encoding_characters,
        echo[4] or escape(config.application, delimiters),
        echo[5] or escape(config.facility, delimiters),
        echo[2],
        echo[3],
        write_timestamp(at),
        "",
        kind,
        f"H{own_id}",
        echo[10] or config.processing_id,
        version,
    ]
    if charset:
        fields += ["", "", "", "", "", charset]
    segments = [separator.join(fields), *_answer(echo[9], outcome, delimiters, number)]
    return "\r".join([*segments, ""]).encode(codec, "replace")


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


def _answer(control_id: str, outcome: Outcome, delimiters: Delimiters, version: tuple[int, ...]) -> list[str]:
    """MSA, and ERR where the message is not accepted."""
    separator = delimiters.field
    if outcome.code == "AA":
        return [separator.join(("MSA", "AA", control_id) if control_id else ("MSA", "AA"))]
    answer = ["MSA", outcome.code, control_id]
    if version < (2, 5):  # later versions carry the text in ERR-8; MSA-3 is deprecated
        answer.append(escape(outcome.text, delimiters))
    return [separator.join(_trimmed(part)) for part in (answer, _error_segment(outcome, delimiters, version))]


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


class _Echo(NamedTuple):
    """What of the sender's header can be repeated, and in which character set; MSH-n is ``fields[n - 1]``."""

    fields: Sequence[str]
    delimiters: Delimiters
    codec: str
    charset: str
    """MSH-18 to declare: only what we can both read and write."""


_NOTHING = ("",) * 20
_NO_ECHO = _Echo(_NOTHING, STANDARD, "ascii", "")


def _echo(header: Header, default_charset: str) -> _Echo:
    delimiters = header.delimiters
    fields = (*header.fields, *_NOTHING)
    try:
        codec, _ = declared_codec(fields[17], delimiters.repetition, default_charset)
        charset = fields[17]
        text = "" if header.plain else header.line.decode(codec)
    except (Rejected, UnicodeDecodeError):
        codec, charset = "ascii", ""
        text = "" if header.plain else header.line.decode("ascii", "replace").replace("\ufffd", " ")
    if not header.plain:
        try:
            delimiters = read_delimiters(text)
        except Rejected:
            delimiters = STANDARD
        fields = (*(_printable(field) for field in text.split(delimiters.field)), *_NOTHING)
    return _Echo(fields, delimiters, codec, charset) if fields[0] == "MSH" else _NO_ECHO


def _printable(text: str) -> str:
    # A space stands in: it is the one printable character that no message can declare as a delimiter.
    return text if text.isprintable() else "".join(mark if mark.isprintable() else " " for mark in text)


def _trimmed(fields: list[str]) -> list[str]:
    while fields and not fields[-1]:
        fields = fields[:-1]
    return fields
