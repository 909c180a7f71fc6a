"""What an instance says of itself: identity, patient, and the attributes that a rule may ask about.

Only the UIDs are indispensable. Everything else is taken as text where it can be read and left empty
where it cannot: whether it suffices is for the rules and the join to decide, which name what they saw.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo
from functools import cache
from types import MappingProxyType
from typing import Any, TypeVar

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.valuerep import PersonName

from hilum.dicom.ages import age_in_years, read_date
from hilum.dicom.quiet import quiet
from hilum.dicom.raw import stored, tag_and_vr, unsigned_short
from hilum.dicom.uids import require_uid
from hilum.errors import Rejected

T = TypeVar("T")

# PS3.6 keywords, as `dicom.<Keyword>` in the rules of a model package. PatientAgeYears is worked out.
TAG_KEYWORDS = (
    "AcquisitionDate",
    "AnatomicRegionSequence",
    "BitsStored",
    "BodyPartExamined",
    "BurnedInAnnotation",
    "ContrastBolusAgent",
    "ConvolutionKernel",
    "DeviceSerialNumber",
    "ImageLaterality",
    "ImageType",
    "InstanceNumber",
    "InstitutionName",
    "KVP",
    "Laterality",
    "LossyImageCompression",
    "Manufacturer",
    "ManufacturerModelName",
    "Modality",
    "NumberOfFrames",
    "NumberOfSeriesRelatedInstances",
    "NumberOfStudyRelatedInstances",
    "PatientIdentityRemoved",
    "PatientPosition",
    "PatientSex",
    "PhotometricInterpretation",
    "PixelSpacing",
    "PresentationIntentType",
    "ProtocolName",
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "SeriesDescription",
    "SeriesNumber",
    "SliceThickness",
    "SOPClassUID",
    "SoftwareVersions",
    "StationName",
    "StudyDescription",
    "TransferSyntaxUID",
    "ViewPosition",
)
PATIENT_AGE_YEARS = "PatientAgeYears"
_TEXT_LIMIT = 1024
_TEXT_VRS = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "SH", "ST", "TM", "UI"})
_ONE_TEXT_VRS = frozenset({"LT", "ST"})
_ESCAPE = b"\x1b"
_OFFSET = re.compile(r"([+-])([0-9]{2})([0-9]{2})")


@dataclass(frozen=True, slots=True)
class InstanceFacts:
    """One SOP instance. Texts are decoded (PS3.5 6.1.2), stripped, and empty where absent or unreadable."""

    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    patient_id: str
    issuer_of_patient_id: str
    patient_name: str
    birth_date: str
    sex: str
    accession_number: str
    accession_issuer: str
    study_date: str
    study_time: str
    timezone_offset: str
    tags: Mapping[str, str]

    @property
    def family_name(self) -> str:
        return self.patient_name.partition("^")[0]

    @property
    def given_name(self) -> str:
        return self.patient_name.partition("^")[2].partition("^")[0]

    def study_datetime(self, zone: tzinfo) -> datetime | None:
        """When the study began: in (0008,0201) where the instance states it, else in the site's ``zone``."""
        day = read_date(self.study_date)
        if day is None:
            return None
        offset = _OFFSET.fullmatch(self.timezone_offset)
        if offset:
            minutes = int(offset[2]) * 60 + int(offset[3])
            zone = timezone(timedelta(minutes=-minutes if offset[1] == "-" else minutes)) if minutes < 1440 else zone
        digits = (re.sub(r"[^0-9]", "", self.study_time.partition(".")[0]) + "000000")[:6]
        hour, minute, second = int(digits[:2]), int(digits[2:4]), int(digits[4:6])
        if hour > 23 or minute > 59 or second > 60:
            return None
        return datetime(day.year, day.month, day.day, hour, minute, min(second, 59), tzinfo=zone)


def read_facts(dataset: Dataset) -> InstanceFacts:
    """The facts of ``dataset``, with its group 0002 where it has one.

    Raises:
        Rejected: ``uid_missing``, ``uid_invalid``, ``sop_instance_uid_invalid``; ``uids_disagree`` where group 0002
            names another instance or class (PS3.10 7.1).
    """
    with quiet():
        return _read(dataset)


def _read(dataset: Dataset) -> InstanceFacts:
    meta = getattr(dataset, "file_meta", None) or Dataset()
    sop_class_uid = require_uid(_text(dataset, "SOPClassUID"), "SOP Class UID")
    sop_instance_uid = require_uid(_text(dataset, "SOPInstanceUID"), "SOP Instance UID", "sop_instance_uid_invalid")
    for keyword, expected in (
        ("MediaStorageSOPClassUID", sop_class_uid),
        ("MediaStorageSOPInstanceUID", sop_instance_uid),
    ):
        stated = _text(meta, keyword)
        if stated and stated != expected:
            raise Rejected("uids_disagree", f"{keyword} differs from the data set")
    birth_date, study_date = _text(dataset, "PatientBirthDate"), _text(dataset, "StudyDate")
    transfer_syntax_uid = _text(meta, "TransferSyntaxUID")
    tags = {keyword: text for keyword in TAG_KEYWORDS if (text := _tag(dataset, keyword))}
    if transfer_syntax_uid:
        tags["TransferSyntaxUID"] = transfer_syntax_uid
    years = age_in_years(_text(dataset, "PatientAge"), birth_date, study_date or _text(dataset, "AcquisitionDate"))
    if years is not None:
        tags[PATIENT_AGE_YEARS] = f"{years:g}"
    return InstanceFacts(
        sop_class_uid=sop_class_uid,
        sop_instance_uid=sop_instance_uid,
        study_instance_uid=require_uid(_text(dataset, "StudyInstanceUID"), "Study Instance UID"),
        series_instance_uid=require_uid(_text(dataset, "SeriesInstanceUID"), "Series Instance UID"),
        transfer_syntax_uid=transfer_syntax_uid,
        patient_id=_text(dataset, "PatientID"),
        issuer_of_patient_id=_text(dataset, "IssuerOfPatientID")
        or _issuer(dataset, "IssuerOfPatientIDQualifiersSequence"),
        patient_name=_person_name(dataset),
        birth_date=birth_date if read_date(birth_date) else "",
        sex=_text(dataset, "PatientSex").upper(),
        accession_number=_text(dataset, "AccessionNumber"),
        accession_issuer=_issuer(dataset, "IssuerOfAccessionNumberSequence"),
        study_date=study_date if read_date(study_date) else "",
        study_time=_text(dataset, "StudyTime"),
        timezone_offset=_text(dataset, "TimezoneOffsetFromUTC"),
        tags=MappingProxyType(tags),
    )


def _guarded(read: Callable[[], T], otherwise: T) -> T:
    """``read()``, or ``otherwise`` where an element cannot be read: pydicom parses at access and raises anything."""
    try:
        return read()
    except Exception:  # noqa: BLE001
        return otherwise


def _text(dataset: Dataset, keyword: str) -> str:
    raw = stored(dataset, keyword)
    if raw is None:
        return ""
    textual, several = _kind(keyword)
    if textual and isinstance(raw, RawDataElement) and isinstance(raw.value, bytes):
        value = raw.value
        # Most texts are plain ASCII, which needs no parser; an escape changes the character set (PS3.5 6.1.2.5).
        if value.isascii() and _ESCAPE not in value:
            text = value.decode("ascii")
            return _as_text(text.split("\\") if several and "\\" in text else text)
    number = unsigned_short(dataset, keyword)
    return _guarded(lambda: _as_text(dataset.get(keyword)), "") if number is None else str(number)


@cache
def _kind(keyword: str) -> tuple[bool, bool]:
    """Whether its value is text on the wire, and whether the backslash parts values in it (PS3.5 6.4)."""
    _, vr = tag_and_vr(keyword)
    return vr in _TEXT_VRS, vr not in _ONE_TEXT_VRS


def _as_text(value: Any) -> str:
    """Several values are joined by the backslash, as on the wire (PS3.5 6.4)."""
    if value is None:
        return ""
    if isinstance(value, MultiValue | list | tuple):
        return "\\".join(_as_text(part) for part in value)[:_TEXT_LIMIT]
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    return str(value).replace("\x00", "").strip()[:_TEXT_LIMIT]


def _tag(dataset: Dataset, keyword: str) -> str:
    if keyword.endswith("Sequence"):
        if stored(dataset, keyword) is None:
            return ""
        return _guarded(lambda: _code_meaning(dataset, keyword), "")
    return _text(dataset, keyword)


def _code_meaning(dataset: Dataset, keyword: str) -> str:
    items = dataset.get(keyword)
    return _as_text(items[0].get("CodeMeaning")) if items else ""


def _person_name(dataset: Dataset) -> str:
    """The alphabetic group, else the ideographic, else the phonetic (PS3.5 6.2.1.1): ``family^given^...``."""

    def read() -> str:
        name = dataset.get("PatientName")
        if isinstance(name, MultiValue):
            name = name[0] if name else None
        if not isinstance(name, PersonName):
            return _as_text(name)
        groups = (name.alphabetic, name.ideographic, name.phonetic)
        return next((text for group in groups if (text := _as_text(group))), "")

    return _guarded(read, "")


def _issuer(dataset: Dataset, keyword: str) -> str:
    """Local Namespace Entity ID, else Universal Entity ID (PS3.3 10.14, 10.15)."""

    def read() -> str:
        items = dataset.get(keyword)
        if not items:
            return ""
        return _text(items[0], "LocalNamespaceEntityID") or _text(items[0], "UniversalEntityID")

    return _guarded(read, "")
