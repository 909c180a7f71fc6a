"""What published images say of themselves, as Hilum, a plain script on pydicom, and dcmtk's dcm2xml read them.

The fields are those that imaging publishes: identity, patient, dates, and the attributes that rules may ask about. The
plain script and the reader of dcm2xml's output go by keyword and call nothing of Hilum.
"""

import shutil
import subprocess
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.multival import MultiValue

from corpora.comparison import Readings, Row, Unread
from corpora.dicom_files import opened, syntax_of, taken_apart
from corpora.published import Published
from hilum.dicom.facts import read_facts
from hilum.dicom.reading import parse
from hilum.errors import Rejected

_LARGEST = 1 << 29
_SINGLE = {
    "sop_class_uid": "SOPClassUID",
    "sop_instance_uid": "SOPInstanceUID",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "patient_id": "PatientID",
    "patient_name": "PatientName",
    "birth_date": "PatientBirthDate",
    "sex": "PatientSex",
    "accession_number": "AccessionNumber",
    "study_date": "StudyDate",
    "study_time": "StudyTime",
    "timezone_offset": "TimezoneOffsetFromUTC",
}
_ATTRIBUTES = (
    *("Modality", "BodyPartExamined", "Laterality", "ImageLaterality", "ViewPosition", "PatientPosition"),
    *("AcquisitionDate", "ImageType", "InstanceNumber", "SeriesNumber", "NumberOfFrames", "PresentationIntentType"),
    *("Rows", "Columns", "BitsStored", "SamplesPerPixel", "PhotometricInterpretation", "PixelSpacing"),
    *("LossyImageCompression", "BurnedInAnnotation", "PatientIdentityRemoved", "SliceThickness", "KVP"),
    *("ContrastBolusAgent", "ConvolutionKernel", "ProtocolName", "StudyDescription", "SeriesDescription"),
    *("Manufacturer", "ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions", "StationName"),
    *("InstitutionName", "NumberOfSeriesRelatedInstances", "NumberOfStudyRelatedInstances"),
)
_ISSUER = ("LocalNamespaceEntityID", "UniversalEntityID")


def hilum(files: Sequence[Published]) -> dict[str, list[Row]]:
    """Every file whose data set Hilum reads and can identify."""
    found: dict[str, list[Row]] = {}
    for file in files:
        parts = taken_apart(file)
        syntax = syntax_of(parts, opened(file.path))
        try:
            facts = read_facts(parse(parts.data_set, syntax, _LARGEST))
        except Rejected:
            continue
        row = {field: getattr(facts, field) for field in (*_SINGLE, "issuer_of_patient_id", "accession_issuer")}
        row |= {keyword: facts.tags.get(keyword, "") for keyword in _ATTRIBUTES}
        row |= {"transfer_syntax_uid": facts.transfer_syntax_uid}
        row |= {"anatomic_region": facts.tags.get("AnatomicRegionSequence", "")}
        found[file.name] = [{field: value for field, value in row.items() if value}]
    return found


def pydicom(files: Iterable[Published]) -> Readings:
    """A plain script: dcmread, and the values by keyword."""
    return {file.name: _pydicom(file.path) for file in files}


def _pydicom(path: Path) -> Sequence[Row] | Unread:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = opened(path)
            meta = getattr(dataset, "file_meta", Dataset())
            return [_row(lambda place: _of(dataset, place), str(meta.get("TransferSyntaxUID", "")))]
    except Exception as error:  # noqa: BLE001 - whatever it makes of a file that it does not read
        return Unread(f"{type(error).__name__}: {error}")


def _of(dataset: Dataset, place: Sequence[str]) -> str:
    """The value at a keyword, or at a keyword in the first item of a sequence."""
    value: Any = dataset
    for keyword in place:
        item = value if isinstance(value, Dataset) else value[0] if value else Dataset()
        value = item.get(keyword)
    if value is None:
        return ""
    return "\\".join(str(part).strip() for part in value) if isinstance(value, MultiValue) else str(value).strip()


def dcm2xml(files: Iterable[Published]) -> Readings:
    """dcmtk's view, text converted to UTF-8 by dcmtk itself."""
    program = shutil.which("dcm2xml")
    assert program is not None, "install the Debian package dcmtk"
    return {file.name: _dcm2xml(program, file.path) for file in files}


def _dcm2xml(program: str, path: Path) -> Sequence[Row] | Unread:
    for options in (["+U8", "+Ca", "latin-1"], []):  # the second: character sets that dcmtk cannot convert
        done = subprocess.run([program, *options, str(path)], capture_output=True, timeout=60.0, check=False)
        if done.returncode == 0 and done.stdout:
            break
    else:
        return Unread(done.stderr.decode("latin_1").strip())
    try:
        data_set = ET.fromstring(done.stdout).find("data-set")
    except ET.ParseError as error:
        return Unread(f"ParseError: {error}")
    assert data_set is not None
    return [_row(lambda place: _in(data_set, place), data_set.get("xfer", ""))]


def _in(data_set: ET.Element, place: Sequence[str]) -> str:
    found: ET.Element | None = data_set
    for keyword in place[:-1]:
        found = found.find(f"sequence[@name='{keyword}']/item") if found is not None else None
    found = found.find(f"element[@name='{place[-1]}']") if found is not None else None
    return (found.text or "").strip() if found is not None else ""


def _row(value: Callable[[Sequence[str]], str], syntax: str) -> Row:
    row = {field: value([keyword]) for field, keyword in _SINGLE.items()}
    row["patient_name"] = next((group.strip() for group in row["patient_name"].split("=") if group.strip()), "")
    row["sex"] = row["sex"].upper()
    row["issuer_of_patient_id"] = value(["IssuerOfPatientID"]) or _issuer(value, "IssuerOfPatientIDQualifiersSequence")
    row["accession_issuer"] = _issuer(value, "IssuerOfAccessionNumberSequence")
    row["anatomic_region"] = value(["AnatomicRegionSequence", "CodeMeaning"])
    row["transfer_syntax_uid"] = syntax
    row |= {keyword: value([keyword]) for keyword in _ATTRIBUTES}
    return {field: text for field, text in row.items() if text}


def _issuer(value: Callable[[Sequence[str]], str], sequence: str) -> str:
    return next((text for part in _ISSUER if (text := value([sequence, part]))), "")
