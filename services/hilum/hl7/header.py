"""The MSH of a message that may be anything: what names its sender, and what an answer repeats."""

from collections.abc import Sequence
from typing import NamedTuple

from hilum.errors import Rejected
from hilum.hl7.charsets import UTF8_SIGNATURE
from hilum.hl7.escapes import STANDARD, Delimiters, read_delimiters
from hilum.hl7.message import header_line

_HEADER_BYTES = 4096
_HD_LENGTH = 227
_NAMES = (2, 3, 9)  # MSH-3, MSH-4 and MSH-10, from 0


class Header(NamedTuple):
    """What can be read of an MSH without trusting anything else; every part empty when there is none."""

    sending_application: str = ""
    sending_facility: str = ""
    message_control_id: str = ""
    line: bytes = b""
    """The segment as it came, at most 4096 bytes of it."""
    fields: Sequence[str] = ()
    """MSH-n is ``fields[n - 1]``; text as UTF-8 where it is, else byte by byte."""
    delimiters: Delimiters = STANDARD
    """Those declared, the standard ones where these are unusable."""
    plain: bool = False
    """Whether it is printable ASCII, which reads the same in every character set."""


def read_header(raw: bytes) -> Header:
    """Sender and control ID from the bytes of a message, whatever else is wrong with it; at most 227 characters each.

    They name the feed, so the same bytes must always read the same: as UTF-8 where they are, else byte by byte.
    """
    line = header_line(raw.removeprefix(UTF8_SIGNATURE))[:_HEADER_BYTES]
    text = _decoded(line)
    plain = text.isprintable()
    if not plain:
        text = "".join([mark if mark.isprintable() else "?" for mark in text])
    if not text.startswith("MSH"):
        return Header()
    try:
        delimiters = read_delimiters(text)
    except Rejected:
        delimiters = STANDARD
    fields = text.split(delimiters.field)
    application, facility, control_id = [_first(fields, place, delimiters.component) for place in _NAMES]
    return Header(application, facility, control_id, line, fields, delimiters, plain and line.isascii())


def _first(fields: Sequence[str], place: int, component: str) -> str:
    text = fields[place] if place < len(fields) else ""
    if component in text:
        text = text.split(component, 1)[0]
    return text.strip()[:_HD_LENGTH]


def _decoded(line: bytes) -> str:
    try:
        return line.decode("utf_8")
    except UnicodeDecodeError:
        return line.decode("latin_1")
