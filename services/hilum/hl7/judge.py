"""What an original-mode answer to a message is: a pure function of its bytes and the receiver's rules.

AR: type, event, version or processing ID that we do not take (HL7 v2.5.1 2.9.2, table 0008). AE: the content is
wrong. Unknown segments and fields are never a fault (2.8).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from hilum.errors import Rejected
from hilum.hl7.charsets import UTF8_SIGNATURE
from hilum.hl7.header import Header, read_header
from hilum.hl7.layout import Extent
from hilum.hl7.message import Message, parse
from hilum.hl7.paths import PathTables, Structure
from hilum.hl7.tables import ACKNOWLEDGING, VERSIONS

AcknowledgementCode = Literal["AA", "AE", "AR"]

_REQUIRED = {9: "message type", 10: "message control ID", 11: "processing ID", 12: "version ID"}


_REPEATED_BYTES = 8 << 20
"""Some 150 orders of usual size in one message, or thousands of observations under one patient."""


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


class Verdict(NamedTuple):
    """The answer, with what was read on the way: ``structure`` is None for acknowledgements and refused types."""

    outcome: Outcome
    header: Header
    message: Message | None = None
    structure: Structure | None = None


def judge(raw: bytes, rules_for: Callable[[Header], Rules]) -> Verdict:
    """The verdict on ``raw``, one message without its framing. Never raises for what the bytes hold."""
    header = read_header(raw)
    rules = rules_for(header)
    try:
        message = parse(raw, rules.default_charset)
    except Rejected as error:
        return Verdict(_unreadable(raw, error), header)
    known = header.plain and len(header.line) == len(message.lines[0])  # then they are the same text
    values = message.header(_REQUIRED, header.fields if known else ())
    code, event = [*values[9], ""][:2]
    structure = rules.tables.by_message.get(f"{code}^{event}")
    fault = next(_faults(message, values, structure, rules), ACCEPTED)
    return Verdict(fault, header, message, structure)


def _faults(
    message: Message, header: Mapping[int, Sequence[str]], structure: Structure | None, rules: Rules
) -> Iterator[Outcome]:
    for number, name in _REQUIRED.items():
        if not header[number][0].strip():
            yield _error("101", "required_field_missing", f"the {name} is missing", Location("MSH", 1, number))
    if header[12][0].strip() not in rules.versions:
        yield _refusal("203", "version_unsupported", "this version of HL7 is not supported", 12)
    if header[11][0].strip() != rules.processing_id:
        yield _refusal("202", "processing_id_mismatch", "the processing ID is not that of this system", 11)
    if structure is None and (code := header[9][0]) not in ACKNOWLEDGING:
        if code in rules.tables.message_types:
            yield _refusal("201", "event_unsupported", "this trigger event is not supported", 9, 2)
        else:
            yield _refusal("200", "message_type_unsupported", "this message type is not supported", 9, 1)
    if message.layout.has_second_header:
        yield _error("100", "second_header", "more than one MSH segment in one frame", Location("MSH", 2))
    if message.layout.malformed:
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
    earlier, unclear = structure.earlier(message)
    if unclear:
        text = (
            "behind earlier results, this ORC may begin an order or one more result: say which in ORC-1 (RE: a result)"
        )
        yield _error("100", "order_or_result_unclear", text, Location("ORC", unclear, 1))
    groups = message.layout.groups(structure.groups, earlier)
    if _repeated_bytes(message, structure, groups) > _REPEATED_BYTES:
        text = "its groups repeat too much: send them in several messages"
        yield _error("100", "groups_too_many", text, Location(structure.anchors[0]))
    for ordinal, values in enumerate(structure.checked.read(message), 1):
        for path in structure.missing(values):
            if not groups[ordinal - 1].lines_of(path.segment):
                text = f"a required segment is missing: {path.segment}"
                yield _error("100", "segment_missing", text, Location(path.segment))
            place = Location(path.segment, ordinal if path.segment in structure.anchors else 1, path.field)
            yield _error("101", "required_field_missing", "a required field is missing", place)
        for path in structure.implausible(values):
            place = Location(path.segment, ordinal if path.segment in structure.anchors else 1, path.field)
            yield _error("102", "uid_malformed", "the value is not a DICOM unique identifier", place)
    if not ordinal:
        anchor = Location(structure.anchors[0])
        yield _error("100", "segment_missing", f"a required segment is missing: {anchor.segment}", anchor)


def _repeated_bytes(message: Message, structure: Structure, groups: Sequence[Extent]) -> int:
    """What is read, or kept, once for each group: of an order the whole message, else what stands before the groups."""
    size = len(message.text)
    if structure.kind != "order" and len(groups) * size > _REPEATED_BYTES:
        own = {line for group in groups for line in group.own}
        size -= sum(len(message.lines[line]) for line in own)
    return size * len(groups) if len(groups) > 1 else 0


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
