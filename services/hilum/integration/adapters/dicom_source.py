"""The source image's own header, made fit to found a derived object on (PS3.3 C.7.1.1, C.7.2.1)."""

from datetime import datetime
from io import BytesIO

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence
from pydicom.tag import Tag

import hilum.dicom  # noqa: F401 - reading rules of this house
from hilum.errors import Rejected
from hilum.integration.domain.case import AssignedId, CaseState

_TYPE_2 = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
_PIXELS = Tag("PixelData")


def read_source(data: bytes, *, pixels: bool = False) -> Dataset:
    """One source instance in UTF-8, with every Type 2 attribute that derived objects copy.

    Raises Rejected ``source_unreadable``, ``source_incomplete`` (no UIDs).
    """
    try:
        source = dcmread(BytesIO(data), stop_before_pixels=not pixels)
        source.decode()
    except (InvalidDicomError, ValueError, KeyError, EOFError, AttributeError, LookupError) as error:
        raise Rejected("source_unreadable", f"a source image cannot be read ({type(error).__name__})") from None
    if not all(source.get(name) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")):
        raise Rejected("source_incomplete", "a source image lacks one of its UIDs")
    source.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _TYPE_2:
        if keyword not in source:
            setattr(source, keyword, "")
    if source.PatientSex not in ("M", "F", "O", ""):
        source.PatientSex = ""
    return source


def derive(target: Dataset, source: Dataset, content_time: datetime, created_time: datetime) -> Dataset:
    """Give a derived object its times and the issuers of its identifiers; both times are local to the site.

    What the library took from the machine's clock is replaced, so that the same result gives the same bytes.
    """
    target.SpecificCharacterSet = "ISO_IR 192"
    target.InstanceCreationDate = created_time.strftime("%Y%m%d")
    target.InstanceCreationTime = created_time.strftime("%H%M%S")
    target.ContentDate = content_time.strftime("%Y%m%d")
    target.ContentTime = content_time.strftime("%H%M%S")
    target.SeriesDate, target.SeriesTime = target.ContentDate, target.ContentTime
    for keyword in ("IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "IssuerOfAccessionNumberSequence"):
        if keyword in source:
            target[keyword] = source[keyword]
    return target


def requests(case: CaseState, source: Dataset) -> list[Dataset]:
    """The items of the Referenced Request Sequence (PS3.3 C.17.2): one an order."""
    items = []
    for order in case.orders:
        item = Dataset()
        item.StudyInstanceUID = source.StudyInstanceUID
        item.ReferencedStudySequence = Sequence()
        item.AccessionNumber = _value(order.accession_number)[:16]
        item.PlacerOrderNumberImagingServiceRequest = _value(order.placer_order_number)[:64]
        item.FillerOrderNumberImagingServiceRequest = _value(order.filler_order_number)[:64]
        item.RequestedProcedureID = order.requested_procedure_id[:16]
        item.RequestedProcedureDescription = order.procedure_code[1][:64] if order.procedure_code else ""
        item.RequestedProcedureCodeSequence = Sequence()
        items.append(item)
    return items


def encoded(dataset: Dataset) -> bytes:
    """The object as a DICOM file (PS3.10)."""
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def _value(number: AssignedId | None) -> str:
    return number.value if number is not None else ""
