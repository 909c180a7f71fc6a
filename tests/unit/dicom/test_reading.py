"""Data sets as bytes: parsed as they are encoded, framed as files."""

import zlib
from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ExplicitVRLittleEndian
from pynetdicom.dsutils import encode

from datasets.images import image
from hilum.dicom.reading import file_header, parse
from hilum.errors import Rejected

LIMIT = 1 << 20


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(data) + compressor.flush()


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_data_set_is_parsed_in_its_encoding(syntax: str) -> None:
    data_set = encode(image([[1, 2]], PatientID="7", syntax=syntax), False, syntax == ExplicitVRLittleEndian)
    assert data_set is not None
    parsed = parse(data_set, syntax, LIMIT)
    assert (parsed.PatientID, parsed.Columns) == ("7", 2)


def test_a_deflated_data_set_is_inflated() -> None:
    data_set = encode(image([[1, 2]], PatientID="7"), False, True)
    assert data_set is not None
    assert parse(deflated(data_set), DeflatedExplicitVRLittleEndian, LIMIT).PatientID == "7"


def test_a_deflated_data_set_inflates_up_to_the_limit_alone() -> None:
    with pytest.raises(Rejected, match="data_set_too_large"):
        parse(deflated(bytes(20 * LIMIT)), DeflatedExplicitVRLittleEndian, LIMIT)


def test_noise_cannot_be_inflated() -> None:
    with pytest.raises(Rejected, match="data_set_unreadable"):
        parse(b"\xff" * 100, DeflatedExplicitVRLittleEndian, LIMIT)


def test_a_file_header_is_what_pydicom_reads_before_the_data_set() -> None:
    dataset = image([[1, 2]], PatientID="7")
    data_set = encode(dataset, False, True)
    assert data_set is not None
    file = file_header(dataset.SOPClassUID, dataset.SOPInstanceUID, ExplicitVRLittleEndian) + data_set
    read = dcmread(BytesIO(file))
    assert read.file_meta.MediaStorageSOPClassUID == dataset.SOPClassUID
    assert read.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    assert read.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert read.file_meta.FileMetaInformationGroupLength == len(file) - len(data_set) - 144
    assert read.PatientID == "7"
