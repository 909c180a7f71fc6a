"""A message as segments, split lazily (HL7 v2.5.1 2.5 to 2.8).

Order matters: decode the declared character set, then split on the declared delimiters, then unescape, once, on
access. Text that nobody asks for is never split. Unknown segments and fields are kept.
"""

import re
from collections.abc import Iterable, Sequence

from hilum.errors import Rejected
from hilum.hl7.charsets import UTF8_SIGNATURE, declared_codec, decode, encode
from hilum.hl7.escapes import Delimiters, read_delimiters, unescape
from hilum.hl7.fieldpath import parse_path
from hilum.hl7.layout import Extent, layout_of
from hilum.hl7.segment import Segment

MAX_SEGMENTS = 10_000
"""Far above any message of radiology; a frame of a million empty lines must not become a million objects."""
_LINE_FEED_BYTE = ord("\n")
_ANOTHER_SEGMENT = r"\n(?=[A-Z][A-Z0-9]{2}(?:[!-/:-@\[-^`{-~\r\n]|\Z))"  # what may part fields is ASCII
_LINE_FEED = re.compile(_ANOTHER_SEGMENT)
_HEADER_LINE_FEED = re.compile(_ANOTHER_SEGMENT.encode("ascii"))


class Message:
    """A parsed message; immutable. ``get("PID-3[1].4.2")`` reads one value, ``all`` every one, ``raw`` the text."""

    __slots__ = ("_index", "_segments", "charset", "codec", "delimiters", "layout", "lines", "text")

    def __init__(self, text: str, codec: str, charset: str, delimiters: Delimiters) -> None:
        """``text`` with its segments ended by CR. Raises Rejected ``segments_too_many``."""
        self.text = text
        self.codec = codec
        self.charset = charset
        """MSH-18 as declared, "" when it was empty."""
        self.delimiters = delimiters
        lines = text.split("\r", MAX_SEGMENTS)
        if not lines[-1]:
            del lines[-1]
        elif len(lines) > MAX_SEGMENTS:
            raise Rejected("segments_too_many", f"the message has more than {MAX_SEGMENTS} segments")
        self.layout = layout = layout_of(lines, delimiters.field)
        self.lines = lines if layout.kept is None else [lines[number] for number in layout.kept]
        """The text of each segment; blank lines are none."""
        self._segments: list[Segment] | None = None
        self._index: dict[str, list[Segment]] = {}

    @property
    def segments(self) -> list[Segment]:
        """All segments, in order; always the same objects."""
        segments = self._segments
        if segments is None:
            separator = self.delimiters.field
            self._segments = segments = [Segment(line, separator) for line in self.lines]
            for segment in segments:
                self._index.setdefault(segment.name, []).append(segment)
        return segments

    def every(self, name: str) -> list[Segment]:
        """All segments of that name, in order."""
        if self._segments is None:
            _ = self.segments
        return self._index.get(name, [])

    def header(self, numbers: Iterable[int], fields: Sequence[str] = ()) -> dict[int, list[str]]:
        """The components of these fields of the first segment, MSH, each as ``get`` reads it; at least one a field.

        ``fields`` are those of the segment, where they are known.
        """
        fields = fields or self.lines[0].split(self.delimiters.field)
        return {number: self._components(fields[number - 1]) if number <= len(fields) else [""] for number in numbers}

    def _components(self, text: str) -> list[str]:
        """Of the first repetition, the first subcomponents."""
        if text.isalnum():  # no delimiter is a letter or a digit
            return [text]
        _, component, repetition, escape, subcomponent, _ = self.delimiters
        if repetition in text:
            text = text.split(repetition, 1)[0]
        components = text.split(component)
        if subcomponent and subcomponent in text:
            components = [value.split(subcomponent, 1)[0] for value in components]
        if escape in text:
            components = [unescape(value, self.delimiters, self.codec) for value in components]
        return components

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
        return self.layout.malformed

    def groups(self, anchors: tuple[str, ...]) -> list["Group"]:
        """The repeating groups of the message, each seen with the patient and header that stand before it.

        ``anchors`` are the segments that make a group, outermost first: ("ORC", "OBR", "IPC") for orders, ("ORC",
        "OBR") for results, ("PID",) for merges. A group begins where one of them recurs; the outer ones it does not
        repeat are shared with the group before (several OBR under one ORC, several IPC under one OBR). A Z segment
        that occurs once in the message, such as ZDS, belongs to every group.
        """
        return [Group(self, extent) for extent in self.layout.groups(anchors)]

    def __repr__(self) -> str:
        return f"<Message of {len(self.lines)} segments>"  # never content


class Group:
    """A view over one group of segments; reads like a message."""

    __slots__ = ("_extent", "_message", "codec", "delimiters")

    def __init__(self, message: Message, extent: Extent) -> None:
        self.delimiters = message.delimiters
        self.codec = message.codec
        self._message = message
        self._extent = extent

    @property
    def segments(self) -> list[Segment]:
        """The group's own segments, of those of its message; `every` also sees those that stand before it."""
        return self._of(self._extent.own)

    def every(self, name: str) -> list[Segment]:
        """All segments of that name, in order; those before the group where it has none of its own."""
        return self._of(self._extent.lines_of(name))

    def _of(self, lines: Sequence[int]) -> list[Segment]:
        segments = self._message.segments
        return [segments[line] for line in lines]

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
    later = header.count(delimiters.field) - 16  # MSH-18, counted from the end, where it mostly stands
    charset = header.rsplit(delimiters.field, later)[1] if later > 0 else ""
    codec, several = declared_codec(charset, delimiters.repetition, default_charset)
    text = decode(raw, codec, several)
    if "\n" in text:
        text = _with_carriage_returns(text)
    return Message(text, codec, charset, delimiters)


def header_line(raw: bytes) -> bytes:
    """The first segment of ``raw``, undecoded, ended as those of a whole message are."""
    end = raw.find(b"\r")
    if end < 0:
        return raw.partition(b"\n")[0]
    line = raw[:end]
    if _LINE_FEED_BYTE not in line:
        return line
    found = _HEADER_LINE_FEED.search(raw, 0, end + 1)
    return (line if found is None else line[: found.start()]).rstrip(b"\n")


def serialise(message: Message) -> bytes:
    """The message as bytes in its own character set; segments end in CR, content is unchanged.

    Raises Rejected ``charset_unencodable``.
    """
    return encode(message.text, message.codec)


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
