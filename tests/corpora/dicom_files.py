"""A DICOM file taken apart by hand (PS3.10 7.1): group 0002, and where the data set begins."""

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from corpora.published import Published

_LONG = (b"OB", b"OW", b"UN", b"SQ", b"UT")


@dataclass(frozen=True)
class Part10:
    """``meta`` has the values of group 0002 by element number; ``data_set`` is the bytes after it."""

    meta: dict[int, str]
    data_set: bytes

    @property
    def transfer_syntax(self) -> str:
        """That of the file, or "" where it names none."""
        return self.meta.get(0x0010, "")


def taken_apart(file: Published) -> Part10:
    """A file without preamble, or without group 0002, is a data set from its first byte."""
    content = file.path.read_bytes()
    start = 132 if content[128:132] == b"DICM" else 0
    meta: dict[int, str] = {}
    while content[start : start + 2] == b"\x02\x00":
        number, vr = struct.unpack_from("<H2s", content, start + 2)
        if vr in _LONG:
            (length,) = struct.unpack_from("<I", content, start + 8)
            start += 12
        else:
            (length,) = struct.unpack_from("<H", content, start + 6)
            start += 8
        meta[number] = content[start : start + length].rstrip(b"\x00 ").decode("latin_1")
        start += length
    return Part10(meta, content[start:])


def opened(path: Path) -> Dataset:
    """By pydicom, whatever it warns of; the values that are parsed later may warn again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(path, force=True, stop_before_pixels=True)


def syntax_of(parts: Part10, dataset: Dataset) -> str:
    """That of group 0002, else what the elements look like to pydicom."""
    implicit = dataset.original_encoding[0]
    return parts.transfer_syntax or str(ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian)
