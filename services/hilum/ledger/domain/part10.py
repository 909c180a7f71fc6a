"""A DICOM file as bytes: where the data set begins (PS3.10 7.1)."""

_PREAMBLE = 128
_GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"  # (0002,0000), always Explicit VR Little Endian


def data_set(file: bytes) -> bytes | None:
    """The bytes after the file meta information; None when ``file`` is no DICOM file."""
    header = file[_PREAMBLE : _PREAMBLE + 16]
    if header[:4] != b"DICM" or header[4:12] != _GROUP_LENGTH or len(header) < 16:
        return None
    start = _PREAMBLE + 16 + int.from_bytes(header[12:16], "little")
    return file[start:] if start <= len(file) else None
