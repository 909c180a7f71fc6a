"""The elements of a data set, found without looking into them (PS3.5 7): a fifth of the time that parsing takes.

Only what is plain is read here. Of anything else `outline` says nothing, and the parser has the word.
"""

import struct
from functools import lru_cache
from typing import Any

from pydicom import Dataset
from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement, empty_value_for_VR
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

from hilum.dicom.quiet import quiet
from hilum.dicom.raw import interned

_EXPLICIT = struct.Struct("<HH2sH")
_IMPLICIT = struct.Struct("<HHL")
_LONG = struct.Struct("<L")
_SHORT_VRS = {str(vr).encode(): str(vr) for vr in EXPLICIT_VR_LENGTH_16}
_LONG_VRS = {str(vr).encode(): str(vr) for vr in EXPLICIT_VR_LENGTH_32}
_EMPTY = {vr: empty_value_for_VR(vr, raw=True) for vr in (*_SHORT_VRS.values(), *_LONG_VRS.values(), None)}
_UNDEFINED = 0xFFFFFFFF
_CHARACTER_SET = 0x00080005
_PIXEL_DATA = 0x7FE00010
_PIXELS = frozenset({_PIXEL_DATA, 0x7FE00008, 0x7FE00009})  # the integer, float and double ones
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DELIMITERS = 0xFFFE
_LENT = 4096  # bytes: longer values are not copied where they are bytes to the library, which decodes the others
_BYTES = frozenset({"OB", "OD", "OF", "OL", "OV", "OW"})
_DEEPEST = 16


class _NotPlain(Exception):
    """The parser has the word."""


def outline(data: memoryview, *, implicit: bool) -> Dataset | None:
    """The data set in little endian ``data``, its values raw; pixel data are a part of ``data`` itself.

    The same as the parser gives, or None: then it has to be parsed.
    """
    try:
        elements = _elements(data, implicit)
    except (_NotPlain, struct.error):
        return None
    dataset = Dataset(elements)
    stated = elements.get(interned(_CHARACTER_SET))
    encodings = _encodings(stated.value or b"") if stated is not None else default_encoding
    dataset.set_original_encoding(implicit, True, encodings)
    return dataset


def _elements(data: memoryview, implicit: bool) -> dict[BaseTag, DataElement | RawDataElement]:
    elements: dict[BaseTag, DataElement | RawDataElement] = {}
    at, end = 0, len(data)
    if implicit and end >= 6 and bytes(data[4:6]).isalpha():
        raise _NotPlain  # it looks like explicit VR, whatever was agreed
    while at < end:
        tag, vr, length, at = _header(data, at, implicit)
        if tag == _CHARACTER_SET:
            _character_set(data, at, vr, length)
        if length != _UNDEFINED:
            stop = at + length
            if stop > end:
                raise _NotPlain
            lent = length > _LENT and (vr in _BYTES or (vr is None and tag == _PIXEL_DATA))
            value: Any = data[at:stop] if lent else bytes(data[at:stop]) if length else _EMPTY[vr]
            element = RawDataElement(interned(tag), vr, length, value, at, implicit, True)
            at = stop
        elif tag == _PIXEL_DATA and vr in ("OB", "OW"):
            stop, after = _fragments_end(data, at)
            value = data[at:stop]
            element = RawDataElement(interned(tag), vr, _UNDEFINED, value, at, implicit, True)
            at = after
        elif vr == "SQ" or (implicit and _is_sequence(tag)):
            stop, after = _sequence_end(data, at, implicit, 0)
            element = RawDataElement(interned(tag), "SQ", stop - at, bytes(data[at:stop]), at, implicit, True)
            at = after
        else:
            raise _NotPlain
        elements[element.tag] = element
    return elements


def _header(data: memoryview, at: int, implicit: bool) -> tuple[int, str | None, int, int]:
    """Tag, VR where it is stated, length, and where the value begins."""
    if implicit:
        group, number, length = _IMPLICIT.unpack_from(data, at)
        vr, begins = None, at + 8
    else:
        group, number, stated, length = _EXPLICIT.unpack_from(data, at)
        vr, begins = _SHORT_VRS.get(stated), at + 8
        if vr is None:
            vr = _LONG_VRS.get(stated)
            if vr is None:
                raise _NotPlain
            (length,) = _LONG.unpack_from(data, begins)
            begins += 4
    if group == _DELIMITERS:
        raise _NotPlain
    return group << 16 | number, vr, length, begins


def _delimiter(data: memoryview, at: int) -> tuple[int, int]:
    """The tag and length of an item or a delimitation (PS3.5 7.5)."""
    group, number, length = _IMPLICIT.unpack_from(data, at)
    return group << 16 | number, length


def _sequence_end(data: memoryview, at: int, implicit: bool, depth: int) -> tuple[int, int]:
    """Where the items of a sequence of undefined length end, and where what follows it begins."""
    if depth > _DEEPEST:
        raise _NotPlain
    while True:
        tag, length = _delimiter(data, at)
        if tag == _SEQUENCE_END and not length:
            return at, at + 8
        if tag != _ITEM:
            raise _NotPlain
        at += 8
        at = _item_end(data, at, at + length if length != _UNDEFINED else None, implicit, depth)


def _item_end(data: memoryview, at: int, stop: int | None, implicit: bool, depth: int) -> int:
    """Where what follows an item begins: at ``stop`` where its length is stated, else behind its delimitation."""
    while at != stop:
        if stop is None:
            tag, length = _delimiter(data, at)
            if tag == _ITEM_END and not length:
                return at + 8
        tag, vr, length, at = _header(data, at, implicit)
        if tag == _CHARACTER_SET:
            _character_set(data, at, vr, length)
        if length != _UNDEFINED:
            at += length
        elif vr == "SQ" or (implicit and _is_sequence(tag)):
            _, at = _sequence_end(data, at, implicit, depth + 1)
        else:
            raise _NotPlain
        if at > (len(data) if stop is None else stop):
            raise _NotPlain
    return at


def _character_set(data: memoryview, at: int, vr: str | None, length: int) -> None:
    """Each (0008,0005) that the parser passes must be one that it takes, also in an item, also when repeated."""
    if length == _UNDEFINED or vr not in (None, "CS"):
        raise _NotPlain
    if _encodings(bytes(data[at : at + length])) is None:
        raise _NotPlain


def _fragments_end(data: memoryview, at: int) -> tuple[int, int]:
    """Of encapsulated pixel data (PS3.5 A.4): as `_sequence_end`."""
    while True:
        tag, length = _delimiter(data, at)
        if tag == _SEQUENCE_END and not length:
            return at, at + 8
        if tag != _ITEM or length == _UNDEFINED:
            raise _NotPlain
        at += 8 + length
        if at > len(data):
            raise _NotPlain


@lru_cache(4096)
def _is_sequence(tag: int) -> bool:
    """Whether PS3.6 says so."""
    try:
        return dictionary_VR(tag) == "SQ"
    except KeyError:
        return False


@lru_cache(256)
def _encodings(value: bytes) -> list[str] | None:
    """Python's names of what (0008,0005) states (PS3.3 C.12.1.1.2); None where only the parser can tell."""
    try:
        text = value.decode("ascii").rstrip("\0 ")
        with quiet():
            return convert_encodings(text.split("\\"))
    except Exception:  # noqa: BLE001 - unknown character sets raise what they will
        return None
