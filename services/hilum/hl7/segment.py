"""One segment of a message, split on first use, and where a path looks for segments (HL7 v2.5.1 2.5.2)."""

from typing import Protocol

from hilum.hl7.escapes import Delimiters

HEADERS = frozenset({"MSH", "FHS", "BHS"})
"""Segments whose first field is the separator itself."""


class View(Protocol):
    """Where a path looks: a whole message, or one group of it."""

    @property
    def delimiters(self) -> Delimiters: ...
    @property
    def codec(self) -> str: ...
    def every(self, name: str) -> list["Segment"]: ...


class Segment:
    """One segment: ``line`` is its text as it came, ``fields[n]`` the undecoded text of field ``n`` (1-based)."""

    __slots__ = ("_separator", "fields", "line", "name")

    fields: list[str]
    """Element 0 is the segment's name; in header segments element 1 is the separator itself (MSH-1)."""

    def __init__(self, line: str, separator: str) -> None:
        self.name = line[:3]
        self.line = line
        self._separator = separator

    def __getattr__(self, name: str) -> list[str]:
        """Split on first use; afterwards ``fields`` is a plain slot, which is what makes extraction fast."""
        if name != "fields":
            raise AttributeError(name)
        fields = self.line.split(self._separator)
        if self.name in HEADERS:
            fields.insert(1, self._separator)
        self.fields = fields
        return fields

    def raw(self, number: int) -> str:
        """The text of a field as it came, "" when absent."""
        fields = self.fields
        return fields[number] if number < len(fields) else ""

    def __repr__(self) -> str:
        return f"<Segment {self.name}>"  # never content
