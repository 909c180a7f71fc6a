"""A message as segments, split lazily (HL7 v2.5.1 2.5 to 2.8).

Order matters: decode the declared character set, then split on the declared delimiters, then unescape, once, on
access. Text that nobody asks for is never split. Unknown segments and fields are kept.
"""

import re
from collections.abc import Iterator, Mapping

from hilum.errors import Rejected
from hilum.hl7.charsets import UTF8_SIGNATURE, codec_of, decode, encode
from hilum.hl7.escapes import Delimiters, read_delimiters, unescape
from hilum.hl7.fieldpath import parse_path
from hilum.hl7.segment import Segment

MAX_SEGMENTS = 10_000
"""Far above any message of radiology; a frame of a million empty lines must not become a million objects."""
_USUAL = frozenset({"MSH", "EVN", "PID", "PV1", "ORC", "OBR", "OBX", "NTE", "TQ1", "IPC", "ZDS", "MRG"})
_SEGMENT_NAME = re.compile(r"[A-Z][A-Z0-9]{2}\Z")
_LINE_FEED = re.compile(r"\n(?=[A-Z][A-Z0-9]{2}(?:[^\w\s]|[\r\n]|\Z))")


class Message:
    """A parsed message; immutable. ``get("PID-3[1].4.2")`` reads one value, ``all`` every one, ``raw`` the text."""

    __slots__ = ("_index", "charset", "codec", "delimiters", "segments", "text")

    def __init__(self, text: str, codec: str, charset: str, delimiters: Delimiters) -> None:
        self.text = text
        self.codec = codec
        self.charset = charset
        """MSH-18 as declared, "" when it was empty."""
        self.delimiters = delimiters
        separator = delimiters.field
        self.segments = [Segment(line, separator) for line in text.split("\r") if line[:3].strip()]
        self._index: dict[str, list[Segment]] | None = None

    @property
    def index(self) -> Mapping[str, list[Segment]]:
        """Segments by name, in order."""
        index = self._index
        if index is None:
            self._index = index = _by_name(self.segments)
        return index

    def every(self, name: str) -> list[Segment]:
        """All segments of that name, in order."""
        return self.index.get(name, [])

    def get(self, path: str) -> str:
        """The value at ``path``, unescaped; "" when absent, ``""`` (two quotes) when explicitly null."""
        return parse_path(path).read(self)

    def raw(self, path: str) -> str:
        """The text at ``path`` as it came, delimiters and escapes included."""
        return parse_path(path).raw(self)

    def all(self, path: str) -> list[str]:
        """The values of every segment and repetition that ``path`` does not pin, empty ones left out."""
        return parse_path(path).read_all(self)

    def malformed(self) -> list[int]:
        """Positions (1-based) of lines that are no segment: no name of three characters before the separator."""
        named = _SEGMENT_NAME.match
        ends = ("", self.delimiters.field)
        return [
            position
            for position, segment in enumerate(self.segments, 1)
            if segment.line[3:4] not in ends or (segment.name not in _USUAL and not named(segment.name))
        ]

    def groups(self, anchors: tuple[str, ...]) -> list["Group"]:
        """The repeating groups of the message, each seen with the patient and header that stand before it.

        ``anchors`` are the segments that make a group, outermost first: ("ORC", "OBR", "IPC") for orders, ("ORC",
        "OBR") for results, ("PID",) for merges. A group begins where one of them recurs; the outer ones it does not
        repeat are shared with the group before (several OBR under one ORC, several IPC under one OBR). A Z segment
        that occurs once in the message, such as ZDS, belongs to every group.
        """
        return list(_groups(self, anchors))

    def each_group(self, anchors: tuple[str, ...]) -> Iterator["Group"]:
        """As `groups`, one at a time."""
        return _groups(self, anchors)

    def __repr__(self) -> str:
        return f"<Message of {len(self.segments)} segments>"  # never content


class Group:
    """A view over one group of segments; reads like a message."""

    __slots__ = ("codec", "delimiters", "index", "segments")

    def __init__(self, message: Message, segments: list[Segment], context: Mapping[str, list[Segment]]) -> None:
        self.delimiters = message.delimiters
        self.codec = message.codec
        self.segments = segments
        """The group's own segments; ``index`` also holds those that stand before it."""
        self.index: Mapping[str, list[Segment]] = {**context, **_by_name(segments)}

    def every(self, name: str) -> list[Segment]:
        return self.index.get(name, [])

    def get(self, path: str) -> str:
        """As ``Message.get``, within this group."""
        return parse_path(path).read(self)

    def raw(self, path: str) -> str:
        """As ``Message.raw``, within this group."""
        return parse_path(path).raw(self)

    def all(self, path: str) -> list[str]:
        """As ``Message.all``, within this group."""
        return parse_path(path).read_all(self)


def parse(raw: bytes, default_charset: str = "ASCII") -> Message:
    """The message in ``raw``, one MLLP payload. ``default_charset`` (table 0211) holds where MSH-18 is empty.

    Segments may end in CR, CR LF or LF. Raises Rejected: ``header_missing``, ``delimiters_bad``, ``charset_unknown``,
    ``charset_undecodable``, ``charset_switch``, ``segments_too_many``.
    """
    if raw.startswith(UTF8_SIGNATURE):  # no guess: the signature says it
        raw, default_charset = raw[len(UTF8_SIGNATURE) :], "UNICODE UTF-8"
    header = header_line(raw).decode("latin_1")  # every character set here leaves ASCII bytes alone in a header
    if not header.startswith("MSH") or len(header) < 5:
        raise Rejected("header_missing", "the message does not begin with an MSH segment")
    delimiters = read_delimiters(header)
    fields = header.split(delimiters.field)
    charset = fields[17] if len(fields) > 17 else ""
    repetitions = charset.split(delimiters.repetition) if charset else []
    codec = codec_of(repetitions, default_charset)
    text = decode(raw, codec, len(repetitions))
    if "\n" in text:
        text = _with_carriage_returns(text)
    if text.count("\r") > MAX_SEGMENTS:
        raise Rejected("segments_too_many", f"the message has more than {MAX_SEGMENTS} segments")
    return Message(text, codec, charset, delimiters)


def header_line(raw: bytes) -> bytes:
    """The first segment of ``raw``, undecoded, whatever ends it."""
    end = raw.find(b"\r")
    line = raw if end < 0 else raw[:end]
    end = line.find(b"\n")
    return line if end < 0 else line[:end]


def serialise(message: Message) -> bytes:
    """The message as bytes in its own character set; segments end in CR, content is unchanged.

    Raises Rejected ``charset_unencodable``.
    """
    return encode(message.text, message.codec)


def segment_value(segment: Segment, number: int, message: Message) -> str:
    """A whole field as text, unescaped: for primitive fields whose content may hold stray delimiters."""
    return unescape(segment.raw(number), message.delimiters, message.codec)


def _with_carriage_returns(text: str) -> str:
    """Segment ends as the standard writes them. Beside CR, a lone LF ends a segment only where another begins.

    So do those after the last segment; cut off by hand, since a pattern would search to the end from each of them.
    """
    text = text.replace("\r\n", "\r")
    if "\r" not in text:
        return text.replace("\n", "\r")
    text = _LINE_FEED.sub("\r", text)
    end = len(text.rstrip())
    return text[:end] + text[end:].replace("\n", "\r")


def _by_name(segments: list[Segment]) -> dict[str, list[Segment]]:
    index: dict[str, list[Segment]] = {}
    for segment in segments:
        known = index.get(segment.name)
        if known is None:
            index[segment.name] = [segment]
        else:
            known.append(segment)
    return index


def _groups(message: Message, anchors: tuple[str, ...]) -> Iterator[Group]:
    rank = {name: level for level, name in enumerate(anchors)}
    alone = {name: found for name, found in message.index.items() if name[0] == "Z" and len(found) == 1}
    header: list[Segment] = []  # MSH, EVN ... : before the first patient
    patient: list[Segment] = []  # PID, PV1, NTE ... : up to the patient's first group
    outer: list[list[Segment]] = []  # the shared part of the group, one list a level
    current: list[Segment] | None = None  # the list that the next plain segment joins
    opened = False

    def emit() -> Group:
        context = dict(alone)
        context.update(_by_name(header + patient))
        return Group(message, [segment for level in outer for segment in level], context)

    for segment in message.segments:
        level = rank.get(segment.name)
        if level is None and segment.name == "PID":
            if opened:
                yield emit()
            outer, current, opened = [], None, False
            patient = [segment]
        elif level is None:
            if current is not None:
                current.append(segment)
            elif patient:
                patient.append(segment)
            else:
                header.append(segment)
        else:
            if opened and level < len(outer):
                yield emit()
            del outer[level:]
            outer.extend([] for _ in range(level - len(outer)))
            current = [segment]
            outer.append(current)
            opened = True
    if opened:
        yield emit()
