"""Data sets as bytes: parsed in their transfer syntax, and framed as files (PS3.10 7), without re-encoding."""

import struct
import zlib
from io import BytesIO

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from hilum.dicom.outline import outline
from hilum.dicom.quiet import quiet
from hilum.errors import Rejected

IMPLEMENTATION_CLASS_UID = "2.25.163912802707764656321169664634831327490"
IMPLEMENTATION_VERSION_NAME = "HILUM"
_PREAMBLE = bytes(128) + b"DICM"
_DEFLATED_AT_ONCE = 1 << 16
_INFLATED_AT_ONCE = 1 << 20


def parse(data_set: bytes | memoryview, transfer_syntax_uid: str, max_bytes: int) -> Dataset:
    """The elements of ``data_set``, encoded in ``transfer_syntax_uid``; values stay raw until they are asked for.

    Pixel data may be a part of ``data_set`` itself, where that is a memoryview: it must outlive them.

    Raises:
        Rejected: ``data_set_unreadable``; ``data_set_too_large`` where it inflates to more than ``max_bytes``.
    """
    syntax = UID(transfer_syntax_uid)
    if syntax == DeflatedExplicitVRLittleEndian:
        data_set = _inflate(data_set, max_bytes)
    dataset = outline(memoryview(data_set), implicit=syntax.is_implicit_VR) if syntax.is_little_endian else None
    if dataset is None:
        dataset = _parsed(bytes(data_set), syntax)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return dataset


def _parsed(data_set: bytes, syntax: UID) -> Dataset:
    try:
        with quiet():
            dataset = read_dataset(BytesIO(data_set), syntax.is_implicit_VR, syntax.is_little_endian)
    except Exception:  # noqa: BLE001 - a parser of hostile bytes raises anything
        raise Rejected("data_set_unreadable", "the data set cannot be parsed in its transfer syntax") from None
    dataset.set_original_encoding(syntax.is_implicit_VR, syntax.is_little_endian)
    return dataset


def file_header(sop_class_uid: str, sop_instance_uid: str, transfer_syntax_uid: str) -> bytes:
    """Preamble and group 0002 (PS3.10 7.1), in explicit VR little endian; the data set's bytes follow."""
    elements = b"".join(
        (
            _long_element(0x0001, b"OB", b"\x00\x01"),
            _uid_element(0x0002, sop_class_uid),
            _uid_element(0x0003, sop_instance_uid),
            _uid_element(0x0010, transfer_syntax_uid),
            _uid_element(0x0012, IMPLEMENTATION_CLASS_UID),
            _element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME.encode().ljust(6)),
        )
    )
    return _PREAMBLE + _element(0x0000, b"UL", struct.pack("<I", len(elements))) + elements


def _uid_element(number: int, uid: str) -> bytes:
    value = uid.encode("ascii", "replace")
    return _element(number, b"UI", value + b"\x00" * (len(value) % 2))


def _element(number: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sH", 0x0002, number, vr, len(value)) + value


def _long_element(number: int, vr: bytes, value: bytes) -> bytes:
    return struct.pack("<HH2sHI", 0x0002, number, vr, 0, len(value)) + value


def _inflate(data_set: bytes | memoryview, limit: int) -> bytes:
    """PS3.5 A.5; a deflated data set may stand for a thousand times its size."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    parts: list[bytes] = []
    size = 0
    try:
        for start in range(0, len(data_set), _DEFLATED_AT_ONCE):
            waiting = data_set[start : start + _DEFLATED_AT_ONCE]
            while waiting and not inflater.eof:
                parts.append(inflater.decompress(waiting, _INFLATED_AT_ONCE))
                size += len(parts[-1])
                waiting = inflater.unconsumed_tail
                if size > limit:
                    raise Rejected("data_set_too_large", "the data set inflates to more than is allowed")
    except zlib.error:
        raise Rejected("data_set_unreadable", "the deflated data set cannot be inflated") from None
    return b"".join(parts)
