"""Paths to a value: ``PID-3[1].4.2`` is segment PID, field 3, first repetition, component 4, subcomponent 2.

``SEG[selector]-F[selector].C.S``. A selector is a number from 1, ``*``, or ``4=value`` / ``4.1=value``: the first whose
component (of a repetition) or field and component (``OBX[3.1=113014]-5``, of a segment) equals the value. Without one,
the first. A component or subcomponent left out means the first: a field that grew components in a later version still
reads as the earlier one did (HL7 v2.5.1 2.8.2).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from hilum.errors import Rejected
from hilum.hl7.escapes import Delimiters, unescape
from hilum.hl7.segment import HEADERS, Segment, View

_SELECTOR = r"(?:\[([^\]]+)\])?"
_PLACE = r"([0-9]{1,3})"
_PATH = re.compile(rf"([A-Z][A-Z0-9]{{2}}){_SELECTOR}-{_PLACE}{_SELECTOR}(?:\.{_PLACE}(?:\.{_PLACE})?)?\Z")
_CONDITION = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,3}))?=(.+)\Z")


@dataclass(frozen=True, slots=True)
class Selector:
    """Which repetition or segment: the one at ``index`` from 0, or the first that meets the condition, or every one."""

    index: int | None
    first: int = 0
    second: int = 1
    value: str = ""

    def is_met(self, components: Sequence[str]) -> bool:
        """Whether the one repetition of a field, which has no subcomponents, is the one selected."""
        if self.first:
            return self.second == 1 and self.first <= len(components) and components[self.first - 1] == self.value
        return not self.index


FIRST = Selector(0)


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A parsed path. Numbers are the standard's, from 1; ``component`` 0 means that the path names a whole field."""

    text: str
    segment: str
    occurrence: Selector
    field: int
    repetition: Selector
    component: int
    subcomponent: int

    @property
    def is_plain(self) -> bool:
        """Whether it looks in the first segment of a name, whose fields count from the name."""
        return self.occurrence is FIRST and self.segment not in HEADERS

    def read(self, view: View) -> str:
        """The value, unescaped; "" when absent. With ``[*]`` repetitions, their values joined by newlines."""
        if self.repetition.index is None and not self.repetition.first:
            return "\n".join(self.read_all(view))
        text = self.repetition_text(view)
        return self.part(text, view.delimiters, view.codec) if text else ""

    def part(self, text: str, delimiters: Delimiters, codec: str) -> str:
        """The path's component of a repetition's ``text``, unescaped."""
        if self.segment in HEADERS and self.field <= 2:
            return text
        text = component_of(text, delimiters, self.component or 1, self.subcomponent or 1)
        return unescape(text, delimiters, codec) if delimiters.escape in text else text

    def raw(self, view: View) -> str:
        """The text that the path names, as it came; a path without repetition or component names the whole field."""
        segments = self.matching(view)
        if not segments:
            return ""
        if self.component == 0 and self.repetition is FIRST:
            return segments[0].raw(self.field)
        text = self.repetition_text(view)
        if self.component == 0:
            return text
        mark = view.delimiters.component
        parts = text.split(mark) if mark else [text]
        text = parts[self.component - 1] if self.component <= len(parts) else ""
        if self.subcomponent == 0 or not view.delimiters.subcomponent:
            return text
        parts = text.split(view.delimiters.subcomponent)
        return parts[self.subcomponent - 1] if self.subcomponent <= len(parts) else ""

    def read_all(self, view: View) -> list[str]:
        """Every value that the path does not pin to one segment or repetition, empty ones left out."""
        values = []
        every = self.occurrence is FIRST
        for segment in view.every(self.segment) if every else self.matching(view):
            texts = self.every(segment.raw(self.field), view.delimiters)
            index = self.repetition.index
            for text in texts if self.repetition is FIRST or index is None else texts[index : index + 1]:
                value = self.part(text, view.delimiters, view.codec)
                if value:
                    values.append(value)
        return values

    def matching(self, view: View) -> "Sequence[Segment]":
        """The segments that the occurrence selects: one or none, or all of them for ``[*]``."""
        segments = view.every(self.segment)
        chosen = self.occurrence
        if chosen.first:
            for segment in segments:
                text = segment.raw(chosen.first).split(view.delimiters.repetition, 1)[0]
                if component_of(text, view.delimiters, chosen.second, 1) == chosen.value:
                    return (segment,)
            return ()
        if chosen.index is None:
            return segments
        return segments[chosen.index : chosen.index + 1]

    def every(self, text: str, delimiters: Delimiters) -> list[str]:
        """The repetitions in a field's ``text``: all, or the one that the path's condition chooses."""
        if not text or (self.segment in HEADERS and self.field <= 2):
            return [text] if text else []
        texts = text.split(delimiters.repetition)
        chosen = self.repetition
        if not chosen.first:
            return texts
        for candidate in texts:
            if component_of(candidate, delimiters, chosen.first, chosen.second) == chosen.value:
                return [candidate]
        return []

    def one(self, text: str, delimiters: Delimiters) -> str:
        """The one repetition in a field's ``text`` that the path names; "" when there is none."""
        chosen = self.repetition
        texts = self.every(text, delimiters)
        index = chosen.index or 0
        return texts[index] if index < len(texts) else ""

    def repetition_text(self, view: View) -> str:
        """The text of the one repetition that the path names, "" when there is none."""
        segments = self.matching(view)
        return self.one(segments[0].raw(self.field), view.delimiters) if segments else ""


def component_of(text: str, delimiters: Delimiters, component: int, subcomponent: int) -> str:
    """One subcomponent of the ``text`` of a repetition, still escaped; "" when absent."""
    mark = delimiters.component
    if mark in text:
        parts = text.split(mark, component)
        if component > len(parts):
            return ""
        text = parts[component - 1]
    elif component > 1:
        return ""
    mark = delimiters.subcomponent
    if mark and mark in text:
        parts = text.split(mark)
        return parts[subcomponent - 1] if subcomponent <= len(parts) else ""
    return text if subcomponent == 1 else ""


@lru_cache(maxsize=4096)
def parse_path(text: str) -> FieldPath:
    """The path written ``text``. Raises Rejected ``path_bad``."""
    match = _PATH.match(text)
    if match is None:
        raise Rejected("path_bad", f"{text!r} is no path of the form SEG-F, SEG-F.C or SEG-F[r].C.S")
    numbers = [int(match[3]), int(match[5] or 0), int(match[6] or 0)]
    if numbers[0] == 0 or (match[5] and numbers[1] == 0) or (match[6] and numbers[2] == 0):
        raise Rejected("path_bad", f"{text!r}: fields, components and subcomponents count from 1")
    return FieldPath(
        text, match[1], _selector(match[2], text), numbers[0], _selector(match[4], text), numbers[1], numbers[2]
    )


def _selector(written: str | None, path: str) -> Selector:
    if written is None:
        return FIRST
    if written == "*":
        return Selector(None)
    if written.isdecimal() and written.isascii() and 0 < len(written) < 5 and int(written) > 0:
        return Selector(int(written) - 1)
    match = _CONDITION.match(written)
    if match is None or int(match[1]) == 0 or (match[2] and int(match[2]) == 0):
        raise Rejected("path_bad", f"{path!r}: [{written}] is no number, * or condition such as 5=MR")
    return Selector(None, int(match[1]), int(match[2] or 1), match[3])
