"""A DICOM file as bytes: where the data set begins (PS3.10 7.1)."""

_PREAMBLE = 128
_GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"  # (0002,0000), always Explicit VR Little Endian
_SOP_INSTANCE_UID = b"\x02\x00\x03\x00"
_LONG = {b"OB", b"UN", b"UT"}  # a length of four bytes after two reserved ones (PS3.5 7.1.2)


def data_set(file: bytes) -> bytes | None:
    """The bytes after the file meta information; None when ``file`` is no DICOM file."""
    header = file[_PREAMBLE : _PREAMBLE + 16]
    if header[:4] != b"DICM" or header[4:12] != _GROUP_LENGTH or len(header) < 16:
        return None
    start = _PREAMBLE + 16 + int.from_bytes(header[12:16], "little")
    return file[start:] if start <= len(file) else None


def sop_instance_uid(file: bytes) -> str:
    """Media Storage SOP Instance UID (0002,0003); empty when ``file`` is no DICOM file."""
    body = data_set(file)
    if body is None:
        return ""
    at, end = _PREAMBLE + 16, len(file) - len(body)
    while at + 8 <= end:
        tag, representation = file[at : at + 4], file[at + 4 : at + 6]
        long = representation in _LONG
        start = at + (12 if long else 8)
        length = int.from_bytes(file[at + 8 : at + 12] if long else file[at + 6 : at + 8], "little")
        if tag == _SOP_INSTANCE_UID:
            return file[start : min(start + length, end)].rstrip(b"\0 ").decode("ascii", "replace")
        at = start + length
    return ""
