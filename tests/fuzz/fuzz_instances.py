"""What C-STORE brings: a data set becomes an arrival, or a refusal with its code; reading it never raises."""

import hashlib
import re
from datetime import UTC, datetime

from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.dicom.facts import read_facts
from hilum.dicom.reading import file_header, parse
from hilum.errors import Rejected
from hilum.imaging.adapters.data_sets import Reading, Received
from hilum.imaging.domain import Arrival, object_key, quarantine_key, refusal_key

AT = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
LIMIT = 4 << 20
SYNTAXES = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.1.98",
    "1.2.840.10008.1.2.4.102",
)
_REASONS = frozenset(
    {
        "data_set_unreadable", "data_set_too_large", "uid_missing", "uid_invalid", "sop_instance_uid_invalid",
        "uids_disagree", "sop_class_not_supported",
    }
)  # fmt: skip
_PIXEL_REASONS = frozenset(
    {
        "", "no_pixels", "frame_absent", "image_header_missing", "image_header_invalid", "frame_too_large",
        "frame_size_disagrees", "pixels_undecodable", "element_unreadable",
    }
)  # fmt: skip
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+")
_READING = Reading("fuzz", "HOSPITAL", LIMIT)


def check(data: bytes) -> None:
    """Byte 0 chooses the transfer syntax; the data set follows."""
    if not data:
        return
    syntax = SYNTAXES[data[0] % len(SYNTAXES)]
    data_set = data[1:]
    sop_class, sop_instance = stated(data_set, syntax)
    file = memoryview(file_header(sop_class, sop_instance, syntax) + data_set)
    whole = file[len(file) - len(data_set) :]
    read = _READING.read(Received(sop_class, sop_instance, syntax, sop_class, "MODALITY", whole, file, AT))
    assert bytes(read.file) == bytes(file), "what came is kept byte for byte"
    assert read.sha256 == hashlib.sha256(data_set).digest()
    if isinstance(read, Arrival):
        assert read.reason in _PIXEL_REASONS
        assert _KEY.fullmatch(object_key(read))
        assert _KEY.fullmatch(quarantine_key(read))
        statement = Instance.FromString(read.statement)
        assert len(read.statement) <= 1 << 18
        assert (statement.sop_instance_uid, statement.size_bytes) == (read.sop_instance_uid, len(data_set))
    else:
        assert read.code in _REASONS
        assert _KEY.fullmatch(refusal_key(read))


def stated(data_set: bytes, syntax: str) -> tuple[str, str]:
    """SOP class and instance that the data set names, so that the request agrees with it."""
    try:
        facts = read_facts(parse(data_set, syntax, LIMIT))
    except Rejected:
        return "1.2.840.10008.5.1.4.1.1.1", "1.2.3.3"
    return facts.sop_class_uid, facts.sop_instance_uid
