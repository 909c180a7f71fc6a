"""Delimiters as MSH-1 and MSH-2 declare them, and escape sequences (HL7 v2.5.1 2.5.4 and 2.7)."""

import re
from functools import lru_cache
from typing import NamedTuple

from hilum.errors import Rejected

NULL = '""'
"""An explicit null: delete the value (2.5.3.2). An empty field leaves it as it is."""

_CONTENT = frozenset('".+-')  # parts of numbers, times and the null
_SEQUENCE_BODY = r"([A-Za-z][0-9A-Za-z]*|\.[A-Za-z]{2}[+-]?[0-9]*)"
_LINE_COMMANDS = {".br": 1, ".sp": 1, ".ce": 1}
_SILENT_COMMANDS = frozenset({".in", ".ti", ".fi", ".nf", ".sk"})


class Delimiters(NamedTuple):
    """The encoding characters. ``truncation`` exists from version 2.7; ``escape`` and ``subcomponent`` may be ""."""

    field: str = "|"
    component: str = "^"
    repetition: str = "~"
    escape: str = "\\"
    subcomponent: str = "&"
    truncation: str = ""

    @property
    def encoding_characters(self) -> str:
        """MSH-2."""
        return self.component + self.repetition + self.escape + self.subcomponent + self.truncation


STANDARD = Delimiters()


def read_delimiters(header: str) -> Delimiters:
    """The delimiters declared by a header segment (``MSH|^~\\&|...``). Raises Rejected ``delimiters_bad``."""
    if header.startswith("MSH|^~\\&|"):
        return STANDARD
    separator = header[3:4]
    declared = header[4:].split(separator, 1)[0] if separator else ""
    if separator == "|" and declared == "^~\\&":
        return STANDARD
    marks = separator + declared
    usable = (
        3 <= len(marks) <= 6
        and len(set(marks)) == len(marks)
        and not any(mark.isalnum() or mark in _CONTENT or not " " < mark <= "~" for mark in marks)
    )
    if not usable:
        raise Rejected("delimiters_bad", "MSH-1 and MSH-2 must be 3 to 6 different punctuation characters")
    padded = [*marks, "", "", ""]
    return Delimiters(separator, padded[1], padded[2], padded[3], padded[4], padded[5])


def unescape(text: str, delimiters: Delimiters, codec: str = "utf_8") -> str:
    """``text`` with its escape sequences resolved once; a sequence that is not understood stays as it is.

    Line commands (``.br .sp .ce``) become newlines; highlighting and indentation disappear; ``X`` is in ``codec``.
    """
    mark = delimiters.escape
    if not mark or mark not in text:
        return text
    letters, sequences, _ = _compiled(delimiters)

    def resolve(match: re.Match[str]) -> str:
        body = match[1]
        letter = letters.get(body)
        if letter is not None:
            return letter
        if body in {"H", "N"}:
            return ""
        if body[0] == "X":
            return _hexadecimal(body[1:], codec, match[0])
        if body[0] == ".":
            return _formatting(body, match[0])
        return match[0]

    return sequences.sub(resolve, text)


def escape(text: str, delimiters: Delimiters = STANDARD) -> str:
    """``text`` made safe as the content of a field; ``unescape`` gives it back.

    Raises Rejected ``unescapable`` when a delimiter occurs and the message has no escape character.
    """
    letters, _, special = _compiled(delimiters)
    mark = delimiters.escape

    def protect(match: re.Match[str]) -> str:
        if not mark:
            raise Rejected("unescapable", "a delimiter occurs in a value and the message declares no escape character")
        found = match[0]
        if found == "\n":
            return f"{mark}.br{mark}"
        for letter, meaning in letters.items():
            if meaning == found:
                return f"{mark}{letter}{mark}"
        return f"{mark}X{ord(found):02X}{mark}"

    return special.sub(protect, text)


@lru_cache(maxsize=64)
def _compiled(delimiters: Delimiters) -> tuple[dict[str, str], re.Pattern[str], re.Pattern[str]]:
    mark = re.escape(delimiters.escape)
    letters = dict(zip("FSRETP", delimiters, strict=True))
    letters = {letter: meaning for letter, meaning in letters.items() if meaning}
    special = "".join(re.escape(meaning) for meaning in letters.values())
    return letters, re.compile(f"{mark}{_SEQUENCE_BODY}{mark}"), re.compile(f"[{special}\n\r\x0b\x1c]")


def _hexadecimal(digits: str, codec: str, literal: str) -> str:
    try:
        return bytes.fromhex(digits).decode(codec) if digits else literal
    except ValueError:
        return literal


def _formatting(body: str, literal: str) -> str:
    command, count = body[:3], body[3:]
    if command in _LINE_COMMANDS:
        lines = int(count) if count.isdigit() and len(count) < 3 else _LINE_COMMANDS[command]
        return "\n" * lines
    if command in _SILENT_COMMANDS:
        return " " * int(count) if command == ".sk" and count.isdigit() and len(count) < 3 else ""
    return literal
