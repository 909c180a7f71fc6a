"""What an original-mode answer to a message is: a pure function of its bytes and the receiver's rules.

AR: type, event, version or processing ID that we do not take (HL7 v2.5.1 2.9.2, table 0008). AE: the content is
wrong. Unknown segments and fields are never a fault (2.8).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from hilum.errors import Rejected
from hilum.hl7.charsets import UTF8_SIGNATURE
from hilum.hl7.escapes import STANDARD, read_delimiters
from hilum.hl7.fieldpath import parse_path
from hilum.hl7.message import Message, header_line, parse
from hilum.hl7.paths import PathTables, Structure
from hilum.hl7.tables import ACKNOWLEDGING, VERSIONS

AcknowledgementCode = Literal["AA", "AE", "AR"]

_HEADER_BYTES = 4096
_HD_LENGTH = 227
_MESSAGE_CODE, _TRIGGER_EVENT = parse_path("MSH-9.1"), parse_path("MSH-9.2")
_PROCESSING_ID, _VERSION = parse_path("MSH-11"), parse_path("MSH-12")
_HEADER_FIELDS = (
    (_MESSAGE_CODE, "message type"),
    (parse_path("MSH-10"), "message control ID"),
    (_PROCESSING_ID, "processing ID"),
    (_VERSION, "version ID"),
)


@dataclass(frozen=True, slots=True)
class Location:
    """Where an error is (ERL): segment, its occurrence and field, from 1; 0 leaves a part out."""

    segment: str
    occurrence: int = 1
    field: int = 0
    component: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the sender is told: ``condition`` is of table 0357, ``reason`` our stable code, ``text`` free of PHI."""

    code: AcknowledgementCode = "AA"
    condition: str = "0"
    reason: str = ""
    text: str = ""
    location: Location | None = None


ACCEPTED = Outcome()


@dataclass(frozen=True, slots=True)
class Rules:
    """How one receiver takes the messages of one sender."""

    tables: PathTables
    processing_id: str = "P"
    default_charset: str = "ASCII"
    versions: frozenset[str] = field(default_factory=lambda: frozenset(VERSIONS))


@dataclass(frozen=True, slots=True)
class Header:
    """What can be read of an MSH without trusting anything else; every part "" when there is none."""

    sending_application: str = ""
    sending_facility: str = ""
    message_control_id: str = ""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer, with what was read on the way: ``structure`` is None for acknowledgements and refused types."""

    outcome: Outcome
    header: Header
    message: Message | None = None
    structure: Structure | None = None


def read_header(raw: bytes) -> Header:
    """Sender and control ID from the bytes of a message, whatever else is wrong with it; at most 227 characters each.

    They name the feed, so the same bytes must always read the same: as UTF-8 where they are, else byte by byte.
    """
    start = raw[:_HEADER_BYTES]
    line = _lenient(header_line(start.removeprefix(UTF8_SIGNATURE)))
    if not line.startswith("MSH"):
        return Header()
    try:
        delimiters = read_delimiters(line)
    except Rejected:
        delimiters = STANDARD
    fields = [*line.split(delimiters.field), *[""] * 10]
    application, facility, control_id = (fields[n].split(delimiters.component, 1)[0].strip() for n in (2, 3, 9))
    return Header(application[:_HD_LENGTH], facility[:_HD_LENGTH], control_id[:_HD_LENGTH])


def judge(raw: bytes, rules_for: Callable[[Header], Rules]) -> Verdict:
    """The verdict on ``raw``, one message without its framing. Never raises for what the bytes hold."""
    header = read_header(raw)
    rules = rules_for(header)
    try:
        message = parse(raw, rules.default_charset)
    except Rejected as error:
        return Verdict(_unreadable(raw, error), header)
    code, event = _MESSAGE_CODE.read(message), _TRIGGER_EVENT.read(message)
    structure = rules.tables.by_message.get(f"{code}^{event}")
    fault = next(_faults(message, code, structure, rules), ACCEPTED)
    return Verdict(fault, header, message, structure)


def _lenient(line: bytes) -> str:
    try:
        text = line.decode("utf_8")
    except UnicodeDecodeError:
        text = line.decode("latin_1")
    return text if text.isprintable() else "".join(mark if mark.isprintable() else "?" for mark in text)


def _faults(message: Message, code: str, structure: Structure | None, rules: Rules) -> Iterator[Outcome]:
    for path, name in _HEADER_FIELDS:
        if not path.read(message).strip():
            yield _error("101", "required_field_missing", f"the {name} is missing", Location("MSH", 1, path.field))
    if _VERSION.read(message).strip() not in rules.versions:
        yield _refusal("203", "version_unsupported", "this version of HL7 is not supported", 12)
    if _PROCESSING_ID.read(message).strip() != rules.processing_id:
        yield _refusal("202", "processing_id_mismatch", "the processing ID is not that of this system", 11)
    if structure is None and code not in ACKNOWLEDGING:
        if code in rules.tables.message_types:
            yield _refusal("201", "event_unsupported", "this trigger event is not supported", 9, 2)
        else:
            yield _refusal("200", "message_type_unsupported", "this message type is not supported", 9, 1)
    if len(message.every("MSH")) > 1:
        yield _error("100", "second_header", "more than one MSH segment in one frame", Location("MSH", 2))
    if message.malformed():
        text = "a line is no segment: it does not begin with a segment ID and the field separator"
        yield _error("100", "segment_malformed", text, None)
    if structure is None:
        if not message.get("MSA-2"):
            text = "an acknowledgement must name the message that it answers"
            yield _error("101", "required_field_missing", text, Location("MSA", 1, 2))
        return
    yield from _content(message, structure)


def _content(message: Message, structure: Structure) -> Iterator[Outcome]:
    ordinal = 0
    for ordinal, values in enumerate(structure.checked.read(message), 1):
        for path in structure.missing(values):
            if not message.layout.groups(structure.groups, structure.prior)[ordinal - 1].lines_of(path.segment):
                text = f"a required segment is missing: {path.segment}"
                yield _error("100", "segment_missing", text, Location(path.segment))
            place = Location(path.segment, ordinal if path.segment in structure.groups else 1, path.field)
            yield _error("101", "required_field_missing", "a required field is missing", place)
        for path in structure.implausible(values) if structure.kind == "order" else ():
            place = Location(path.segment, ordinal if path.segment in structure.groups else 1, path.field)
            yield _error("102", "uid_malformed", "the value is not a DICOM unique identifier", place)
    if not ordinal:
        anchor = Location(structure.groups[0])
        yield _error("100", "segment_missing", f"a required segment is missing: {anchor.segment}", anchor)


def _unreadable(raw: bytes, error: Rejected) -> Outcome:
    if raw[:4].removeprefix(UTF8_SIGNATURE)[:3] in {b"FHS", b"BHS"} or raw[:3] in {b"FHS", b"BHS"}:
        return Outcome("AR", "200", "batch_unsupported", "batches are not supported: send one message a frame")
    condition, number = _UNREADABLE.get(error.code, ("207", 0))
    return Outcome("AE", condition, error.code, error.text, Location("MSH", 1, number))


_UNREADABLE: Mapping[str, tuple[str, int]] = {
    "header_missing": ("100", 0),
    "delimiters_bad": ("102", 2),
    "charset_unknown": ("102", 18),
    "charset_undecodable": ("102", 18),
    "charset_switch": ("102", 18),
    "segments_too_many": ("100", 0),
}


def _error(condition: str, reason: str, text: str, location: Location | None) -> Outcome:
    return Outcome("AE", condition, reason, text, location)


def _refusal(condition: str, reason: str, text: str, number: int, component: int = 0) -> Outcome:
    return Outcome("AR", condition, reason, text, Location("MSH", 1, number, component))
