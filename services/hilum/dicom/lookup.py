"""Look-up tables as data sets hold them: modality, VOI and palette (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from hilum.errors import Rejected


@dataclass(frozen=True)
class LookupTable:
    """``entries[0]`` stands for input values up to ``first``, the last entry for all beyond; ``bits`` an entry."""

    first: int
    entries: NDArray[np.int64]
    bits: int

    def look_up(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Entries for ``values``, which may be of any numeric type; the shape is kept."""
        if np.issubdtype(values.dtype, np.floating):
            values = np.rint(values)
        index = np.clip(values.astype(np.int64) - self.first, 0, len(self.entries) - 1)
        return self.entries[index]


def read_descriptor(value: Any, limits: tuple[float, float]) -> tuple[int, int, int]:
    """Entries, first value mapped and bits from a LUT Descriptor; ``limits`` of the input values settle the sign.

    The second value is SS where the input may be negative, else US (C.11.2.1.1), but the element carries one
    VR for all three and writers mistake it: of the two readings the one that meets more of the input holds.

    Raises:
        Rejected: ``lut_invalid``.
    """
    try:
        entries, first, bits = (int(part) for part in value)
    except (TypeError, ValueError):
        raise Rejected("lut_invalid", "a LUT Descriptor needs three numbers") from None
    entries &= 0xFFFF
    entries = entries or 1 << 16
    if not 8 <= bits <= 16:
        raise Rejected("lut_invalid", f"{bits} bits an entry; 8 to 16 is possible")

    def met(start: int) -> float:
        return min(limits[1], start + entries - 1) - max(limits[0], start)

    return entries, max((first, first - 65536 if first > 0 else first + 65536), key=met), bits


def read_table(descriptor: tuple[int, int, int], data: Any, *, little_endian: bool) -> LookupTable:
    """The table of LUT Data, as words (US, SS or OW) or as bytes where one byte an entry was written.

    Raises:
        Rejected: ``lut_invalid`` where there are fewer entries than the descriptor states.
    """
    length, first, bits = descriptor
    entries = _words(data, length, little_endian=little_endian)
    if len(entries) < length:
        raise Rejected("lut_invalid", f"{len(entries)} entries; the descriptor states {length}")
    entries = entries[:length]
    # Descriptors that state fewer bits than the entries use are common; the entries are right.
    return LookupTable(first, entries, max(bits, int(entries.max()).bit_length()))


def read_sequence_table(item: Dataset, limits: tuple[float, float], *, little_endian: bool) -> LookupTable:
    """The table of one item of a Modality or VOI LUT Sequence."""
    descriptor = read_descriptor(item.get("LUTDescriptor"), limits)
    return read_table(descriptor, item.get("LUTData"), little_endian=little_endian)


def read_palette(dataset: Dataset, limits: tuple[float, float], *, little_endian: bool) -> tuple[LookupTable, ...]:
    """Red, green and blue tables of the Palette Color Lookup Table module (C.7.6.3.1.5, C.7.6.3.1.6, C.7.9.2).

    Raises:
        Rejected: ``palette_missing``, ``lut_invalid``.
    """
    tables = []
    for colour in ("Red", "Green", "Blue"):
        if (stated := dataset.get(f"{colour}PaletteColorLookupTableDescriptor")) is None:
            raise Rejected("palette_missing", f"no {colour.lower()} palette descriptor")
        descriptor = read_descriptor(stated, limits)
        data = dataset.get(f"{colour}PaletteColorLookupTableData")
        if data is None:
            segmented = dataset.get(f"Segmented{colour}PaletteColorLookupTableData")
            if segmented is None:
                raise Rejected("palette_missing", f"no {colour.lower()} palette data")
            data = expand_segments(_segment_words(segmented, descriptor[2], little_endian=little_endian), descriptor[0])
        tables.append(read_table(descriptor, data, little_endian=little_endian))
    return tuple(tables)


def expand_segments(words: Sequence[int], length: int) -> list[int]:
    """The ``length`` entries that discrete (0) and linear (1) segments stand for (C.7.9.2.1, C.7.9.2.2).

    Raises:
        Rejected: ``lut_invalid`` where segments are cut short, unknown or make too many entries;
            ``palette_unsupported`` at an indirect segment (C.7.9.2.3).
    """
    entries: list[int] = []
    offset = 0
    while offset + 2 < len(words):  # a single trailing byte or word is padding
        kind, size = words[offset], words[offset + 1]
        if kind == 2:
            raise Rejected("palette_unsupported", "indirect palette segments are not read")
        if kind > 2 or (kind == 1 and not entries) or (kind == 0 and offset + 2 + size > len(words)):
            raise Rejected("lut_invalid", "a palette segment is unknown or cut short")
        if len(entries) + size > length:
            raise Rejected("lut_invalid", "palette segments make more entries than the descriptor states")
        if kind == 0:
            entries.extend(words[offset + 2 : offset + 2 + size])
            offset += 2 + size
        else:
            last, end = entries[-1], words[offset + 2]
            entries.extend(round(last + (end - last) * step / size) for step in range(1, size + 1))
            offset += 3
    return entries


def _words(data: Any, length: int, *, little_endian: bool) -> NDArray[np.int64]:
    if isinstance(data, bytes | bytearray):
        one_byte = len(data) in (length, length + length % 2)
        return _unpack(data, one_byte=one_byte, little_endian=little_endian)
    try:
        return np.atleast_1d(np.asarray(data, dtype=np.int64)) & 0xFFFF
    except (TypeError, ValueError, OverflowError):
        raise Rejected("lut_invalid", "LUT Data is absent or not numeric") from None


def _segment_words(data: Any, bits: int, *, little_endian: bool) -> list[int]:
    if isinstance(data, bytes | bytearray):
        return [int(word) for word in _unpack(data, one_byte=bits == 8, little_endian=little_endian)]
    return [int(word) for word in _words(data, 0, little_endian=little_endian)]


def _unpack(data: bytes | bytearray, *, one_byte: bool, little_endian: bool) -> NDArray[np.int64]:
    whole = data if one_byte else data[: len(data) // 2 * 2]
    return np.frombuffer(bytes(whole), "u1" if one_byte else "<u2" if little_endian else ">u2").astype(np.int64)
