"""The elements of a data set found without parsing: the same as the parser's, or none at all."""

import random
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.encaps import encapsulate
from pydicom.filereader import _read_file_meta_info, read_preamble
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit
from pynetdicom.dsutils import encode

from datasets.images import image, item
from hilum.dicom.facts import read_facts
from hilum.dicom.outline import outline
from hilum.dicom.quiet import quiet
from hilum.dicom.reading import _parsed
from hilum.errors import Rejected

LARGEST_BYTES = 30_000_000
SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)


def slice_of_many_kinds(*, undefined: bool = False) -> Dataset:
    dataset: Dataset = image(
        np.arange(64 * 64, dtype=np.uint16).reshape(64, 64),
        SpecificCharacterSet="ISO_IR 192",
        PatientName="Müller^Jörg",
        AccessionNumber="",
        AcquisitionNumber=None,
        ImageType=["ORIGINAL", "PRIMARY"],
        IssuerOfAccessionNumberSequence=item(LocalNamespaceEntityID="HOSP"),
        RequestAttributesSequence=item(
            ScheduledProtocolCodeSequence=item(CodeMeaning="Kopf"), RequestedProcedureID="1"
        ),
        AnatomicRegionSequence=[],
    )
    dataset.add_new(0x00091001, "UN", b"private")
    for keyword in ("RequestAttributesSequence", "AnatomicRegionSequence"):
        dataset[keyword].is_undefined_length = undefined
    for each in dataset.RequestAttributesSequence:
        each.is_undefined_length_sequence_item = undefined
    return dataset


def encoded(dataset: Dataset, syntax: str) -> bytes:
    data = encode(dataset, UID(syntax).is_implicit_VR, True)
    assert data is not None
    return data


def parsed(data: bytes, syntax: UID) -> Dataset | None:
    try:
        return _parsed(data, syntax)
    except Rejected:
        return None


def values(dataset: Dataset) -> dict[int, object]:
    """Every value, or the kind of exception that asking for it raises."""
    found: dict[int, object] = {}
    with quiet():
        for tag in dataset.keys():  # noqa: SIM118 - a data set's items would be parsed
            raw = dataset.get_item(tag)
            if isinstance(raw, RawDataElement) and isinstance(raw.value, memoryview):
                dataset._dict[tag] = raw._replace(value=bytes(raw.value))
            try:
                element = dataset[tag]
                found[tag] = (element.VR, element.value)
            except Exception as error:  # noqa: BLE001
                found[tag] = type(error)
    return found


def assert_same(data: bytes, syntax: UID) -> bool:
    """Whether there is an outline; if so it is the parser's data set."""
    outlined = outline(memoryview(data), implicit=syntax.is_implicit_VR)
    if outlined is None:
        return False
    other = parsed(data, syntax)
    assert other is not None
    assert outlined._read_charset == other._read_charset
    assert outlined.is_original_encoding == other.is_original_encoding
    with quiet():
        assert values(outlined) == values(other)
    return True


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("undefined", [False, True])
def test_an_outline_is_what_the_parser_gives(syntax: UID, undefined: bool) -> None:
    assert assert_same(encoded(slice_of_many_kinds(undefined=undefined), syntax), syntax)


def test_encapsulated_pixel_data_are_found() -> None:
    dataset = slice_of_many_kinds()
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate([b"\xff\xd8one", b"\xff\xd8another"])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    assert assert_same(encoded(dataset, ExplicitVRLittleEndian), JPEGBaseline8Bit)


def test_pixel_data_are_not_copied() -> None:
    data = bytearray(encoded(slice_of_many_kinds(), ExplicitVRLittleEndian))
    outlined = outline(memoryview(data), implicit=False)
    assert outlined is not None
    raw = outlined.get_item("PixelData")
    assert isinstance(raw, RawDataElement)
    data[-1] ^= 0xFF
    assert raw.value is not None
    assert raw.value[-1] == data[-1]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_data_sets_that_were_damaged_have_the_parsers_outline_or_none(syntax: UID) -> None:
    chance = random.Random(4)
    whole = encoded(slice_of_many_kinds(undefined=True), syntax)
    outlined = 0
    for _ in range(1500):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 1, 2, 5))):
            at = chance.randrange(0, 700)
            data[at] = chance.choice((0, 0xFF, data[at] ^ (1 << chance.randrange(8)), chance.randrange(256)))
        if chance.random() < 0.2:
            del data[chance.randrange(len(data)) :]
        outlined += assert_same(bytes(data), syntax)
    assert 0 < outlined < 1500


@pytest.mark.parametrize(
    "data",
    [
        b"\x08\x00\x18",
        b"\x08\x00\x18\x00UI\x08\x001.2",
        b"\x08\x00\x18\x00??\x02\x001\x00",
        b"\xfe\xff\x0d\xe0\x00\x00\x00\x00",
        b"\xe0\x7f\x10\x00OB\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\x00\x00\x00\x00",
        (b"\x08\x00\x15\x11SQ\x00\x00\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff") * 20_000,
        b"\x08\x00\x15\x11SQ\x00\x00\xff\xff\xff\xff"
        + b"\xfe\xff\x00\xe0\x14\x00\x00\x00"
        + (b"\x08\x00\x16\x11SQ\x00\x00\xff\xff\xff\xff" + b"no items")
        + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00",
        b"\x08\x00\x15\x11SQ\x00\x00\xff\xff\xff\xff"
        + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
        + (b"\x08\x00\x05\x00CS\x08\x00I\x00SO_IR6" + b"\xfe\xff\x0d\xe0\x00\x00\x00\x00")
        + b"\xfe\xff\xdd\xe0\x00\x00\x00\x00",
        b"\x08\x00\x05\x00CS\x04\x00I\x00SO" + b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100",
        b"\x08\x00\x05\x00UL\x04\x00\x00\x00\x00\x00",
    ],
    ids=[
        "no header",
        "too short",
        "unknown VR",
        "a delimiter",
        "no end of fragments",
        "nested beyond measure",
        "a broken sequence in an item of stated length",
        "an unreadable character set in an item",
        "an unreadable character set before another one",
        "a character set that is a number",
    ],
)
def test_what_is_not_plain_has_no_outline(data: bytes) -> None:
    assert outline(memoryview(data), implicit=False) is None


def test_what_looks_like_explicit_vr_is_left_to_the_parser() -> None:
    data = struct.pack("<HH2sH", 8, 0x18, b"UI", 4) + b"1.2\0"
    assert outline(memoryview(data), implicit=True) is None


def test_facts_are_read_from_an_outline() -> None:
    outlined = outline(memoryview(encoded(slice_of_many_kinds(), ExplicitVRLittleEndian)), implicit=False)
    assert outlined is not None
    facts = read_facts(outlined)
    assert (facts.patient_name, facts.accession_issuer, facts.tags["Rows"]) == ("Müller^Jörg", "HOSP", "64")


# What the parser puts up with, and an outline does not.
LEFT_TO_THE_PARSER = {
    "MR_truncated.dcm",
    "SC_rgb_jpeg.dcm",
    "UN_sequence.dcm",
    "nested_priv_SQ.dcm",
    "rtplan_truncated.dcm",
}


@pytest.mark.shared
def test_published_files_have_the_parsers_outline(shared_data: Path) -> None:
    outlined, left = 0, set()
    for path in sorted((shared_data / "dicom").rglob("*")):
        file = path.read_bytes() if path.is_file() and path.stat().st_size < LARGEST_BYTES else b""
        stream = BytesIO(file)
        if file[128:132] != b"DICM":
            continue
        try:
            with quiet():
                read_preamble(stream, force=False)
                syntax = UID(str(_read_file_meta_info(stream).TransferSyntaxUID))
        except (AttributeError, OSError, ValueError):
            continue
        if not syntax.is_transfer_syntax or not syntax.is_little_endian or syntax.is_deflated:
            continue
        if assert_same(file[stream.tell() :], syntax):
            outlined += 1
        else:
            left.add(path.name)
    assert left == LEFT_TO_THE_PARSER
    assert outlined > 200
