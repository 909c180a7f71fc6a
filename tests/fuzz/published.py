"""Published messages and images as further places to begin. They are read where they lie and never kept here."""

import os
from collections.abc import Iterator
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.misc import is_dicom

from fuzz.fuzz_instances import SYNTAXES
from fuzz.targets import HERE, TARGETS

_FILE_META = 128 + 4


def published(target: str) -> Iterator[bytes]:
    """Inputs of ``target`` made of the published data; none where that is absent, or the target has no use for it."""
    shared = Path(os.environ.get("HILUM_SHARED", HERE.parents[2] / "shared")) / "data"
    limit = TARGETS[target].max_bytes
    if target == "messages":
        found = (path.read_bytes() for path in sorted(shared.glob("hl7/**/*.hl7")))
    elif target in {"instances", "pixels", "outline"}:
        frame = b"\0" if target == "pixels" else b""
        small = (path for path in sorted(shared.glob("dicom/**/*")) if path.is_file() and path.stat().st_size <= limit)
        found = (data[:1] + frame + data[1:] for path in small if (data := _data_set(path)))
    else:
        return
    yield from (data for data in found if len(data) <= limit)


def _data_set(path: Path) -> bytes:
    """The number of the transfer syntax and the data set of a DICOM file; nothing where it is none of ours."""
    if not is_dicom(path):
        return b""
    try:
        meta = read_file_meta_info(path)
        syntax = str(meta.TransferSyntaxUID)
        start = _FILE_META + 12 + int(meta.FileMetaInformationGroupLength)
    except (InvalidDicomError, AttributeError, ValueError):
        return b""
    return bytes([SYNTAXES.index(syntax)]) + path.read_bytes()[start:] if syntax in SYNTAXES else b""
