"""The SR and the Secondary Capture, judged by dicom3tools' dciodvfy and dcmtk's dsr2html and dcm2pnm."""

import re
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset, dcmread

from hilum.errors import Fault, Rejected
from hilum.integration.adapters.dicom_source import read_source
from hilum.integration.adapters.secondary_capture import render_overlay, render_secondary_capture
from hilum.integration.adapters.structured_report import DicomSite, render_structured_report
from hilum.integration.domain.case import CaseState
from hilum.integration.domain.result import AlgorithmResult, Box, Concept, Localisation, State
from peers.child import required
from scenes.images import make_image
from scenes.results import SOP_UID, STUDY_UID, make_absent, make_case, make_finding, make_result

pytestmark = pytest.mark.peers

SITE = DicomSite(ZoneInfo("Europe/Berlin"))
SEVERAL = make_result(make_finding(), make_absent(id="b"), make_finding(id="c", state=State.INDETERMINATE))


def report(
    result: AlgorithmResult = SEVERAL, case: CaseState | None = None, image: bytes | None = None
) -> tuple[bytes, Dataset]:
    source = read_source(image or make_image())
    data = render_structured_report(result, case or make_case(), SITE, "delivery-1", [source])
    return data, dcmread(BytesIO(data))


def capture(
    result: AlgorithmResult | None = None, case: CaseState | None = None, image: bytes | None = None
) -> tuple[bytes, Dataset]:
    result = result or make_result()
    source = read_source(image or make_image(), pixels=True)
    picture = render_overlay(result, source, {"pneumothorax": np.eye(16, dtype=np.float32)})
    data = render_secondary_capture(result, case or make_case(), SITE, "delivery-2", source, picture)
    return data, dcmread(BytesIO(data))


def faults(data: bytes, folder: Path) -> list[str]:
    """What dciodvfy calls an error."""
    file = folder / "object.dcm"
    file.write_bytes(data)
    run = subprocess.run(
        [required("dciodvfy", "dicom3tools"), "-new", file], capture_output=True, text=True, check=False
    )
    return [line for line in (run.stdout + run.stderr).splitlines() if line.startswith("Error")]


def shown(data: bytes, folder: Path) -> str:
    """The text of dsr2html's page."""
    file = folder / "report.dcm"
    file.write_bytes(data)
    run = subprocess.run([required("dsr2html", "dcmtk"), file], capture_output=True, text=True, check=True)
    return " ".join(re.sub(r"<[^>]*>", " ", run.stdout).split())


IMAGES: dict[str, dict[str, Any]] = {
    "whole": {},
    "with spacing": {"ImagerPixelSpacing": [0.14, 0.14]},
    "bare": {
        "PatientName": None,
        "PatientID": None,
        "PatientBirthDate": None,
        "PatientSex": None,
        "StudyDate": None,
        "StudyTime": None,
        "StudyID": None,
        "AccessionNumber": None,
        "ReferringPhysicianName": None,
        "PatientOrientation": None,
        "SpecificCharacterSet": None,
        "Manufacturer": None,
    },
    "odd sex": {"PatientSex": "X"},
    "computed radiography": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1", "Modality": "CR"},
    "secondary capture": {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7", "Modality": "OT"},
}


@pytest.mark.parametrize("changes", IMAGES.values(), ids=IMAGES.keys())
def test_the_report_has_no_error(changes: dict[str, Any], tmp_path: Path) -> None:
    assert faults(report(image=make_image(**changes))[0], tmp_path) == []


@pytest.mark.parametrize("changes", IMAGES.values(), ids=IMAGES.keys())
def test_the_capture_has_no_error(changes: dict[str, Any], tmp_path: Path) -> None:
    assert faults(capture(image=make_image(**changes))[0], tmp_path) == []


def test_dciodvfy_would_find_an_error(tmp_path: Path) -> None:
    _, broken = capture()
    del broken.SOPInstanceUID, broken.Rows
    buffer = BytesIO()
    broken.save_as(buffer, enforce_file_format=False)
    assert faults(buffer.getvalue(), tmp_path)


def test_results_without_an_order_have_no_error(tmp_path: Path) -> None:
    case = make_case(orders=())
    assert faults(report(case=case)[0], tmp_path) == []
    assert faults(capture(case=case)[0], tmp_path) == []


def test_the_report_reads_as_what_was_found(tmp_path: Path) -> None:
    text = shown(report()[0], tmp_path)
    assert "Imaging Measurement Report" in text
    assert "UNVERIFIED" in text
    assert "93.12 %" in text
    assert 'Algorithm Version = "1.0.0"' in text
    assert "threshold=0.5" in text
    assert "Not for clinical use." in text
    for state in ("Present", "Absent", "Indeterminate"):
        assert state in text


def test_the_same_result_gives_the_same_bytes() -> None:
    assert report()[0] == report()[0]
    assert capture()[0] == capture()[0]


def test_both_are_new_series_of_the_same_study() -> None:
    objects = [report()[1], capture()[1]]
    assert {o.StudyInstanceUID for o in objects} == {STUDY_UID}
    assert len({o.SeriesInstanceUID for o in objects}) == 2
    assert all(o.SOPInstanceUID.startswith("2.25.") for o in objects)
    assert all("AI" in o.SeriesDescription for o in objects)


def test_a_rerun_is_another_instance_of_the_same_series() -> None:
    source = read_source(make_image())
    first, second = (
        dcmread(BytesIO(render_structured_report(make_result(revision=n), make_case(), SITE, f"d{n}", [source])))
        for n in (1, 2)
    )
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert (first.InstanceNumber, second.InstanceNumber) == (1, 2)


def test_patient_and_study_are_the_source_s_in_unicode() -> None:
    for content in (report()[1], capture()[1]):
        assert content.SpecificCharacterSet == "ISO_IR 192"
        assert content.PatientName == "Testperson^Ada Zoë"
        assert (content.PatientID, content.IssuerOfPatientID) == ("PAT-001", "HILUMTEST")
        assert (content.AccessionNumber, content.StudyDate) == ("ACC-1001", "20260329")


def test_one_processing_equipment_an_algorithm_agreeing_with_the_content() -> None:
    _, content = report()
    (equipment,) = content.ContributingEquipmentSequence
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    values = {i.ConceptNameCodeSequence[0].CodeValue: i for i in content.ContentSequence}
    assert values["121014"].TextValue == equipment.Manufacturer
    assert values["121015"].TextValue == equipment.ManufacturerModelName
    assert equipment.DeviceUID == values["121012"].UID


def test_times_are_the_site_s_and_the_content_s_is_the_start_of_the_analysis() -> None:
    _, content = report()
    assert (content.ContentDate, content.ContentTime[:6]) == ("20260329", "112950")


def test_the_evidence_lists_what_was_analysed() -> None:
    _, content = report()
    series = content.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert [i.ReferencedSOPInstanceUID for i in series.ReferencedSOPSequence] == [SOP_UID]


def test_the_box_is_a_region_of_the_source() -> None:
    _, content = report(make_result())
    measured = next(i for i in content.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010")
    items = [i for i in measured.ContentSequence[0].ContentSequence if i.ValueType == "SCOORD"]
    assert items[0].GraphicType == "POLYLINE"
    assert list(items[0].GraphicData)[:4] == [150.0, 40.0, 220.0, 40.0]


def test_a_box_beyond_the_image_is_cut_to_it(tmp_path: Path) -> None:
    finding = make_finding(localisation=Localisation(SOP_UID, Box(-10, -10, 999, 999)))
    data, _ = report(make_result(finding))
    assert faults(data, tmp_path) == []


def test_partial_is_said() -> None:
    assert report(make_result(partial=True))[1].CompletionFlag == "PARTIAL"
    assert report()[1].CompletionFlag == "COMPLETE"
    assert report()[1].VerificationFlag == "UNVERIFIED"


def test_a_concept_of_an_unknown_system_is_a_coded_fault() -> None:
    finding = make_finding(concept=Concept("https://codes.example.org", "1", "x"))
    with pytest.raises(Fault, match="concept_without_dicom_scheme"):
        report(make_result(finding))


def test_bytes_that_are_not_dicom_are_rejected() -> None:
    with pytest.raises(Rejected, match="source_unreadable"):
        read_source(b"not a DICOM file")


def test_the_capture_shows_the_picture(tmp_path: Path) -> None:
    data, content = capture()
    file, shown_as = tmp_path / "sc.dcm", tmp_path / "sc.png"
    file.write_bytes(data)
    subprocess.run([required("dcm2pnm", "dcmtk"), "--write-png", file, shown_as], check=True, capture_output=True)
    assert np.array_equal(np.asarray(Image.open(shown_as).convert("RGB")), content.pixel_array)


def test_the_capture_says_what_it_is() -> None:
    _, content = capture()
    assert content.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert content.ImageType[0] == "DERIVED"
    assert content.BurnedInAnnotation == "NO"
    assert "Not for clinical use." in content.DerivationDescription
    assert content.SourceImageSequence[0].ReferencedSOPInstanceUID == SOP_UID
    assert content.ContributingEquipmentSequence[0].PurposeOfReferenceCodeSequence[0].CodeValue == "109102"


@pytest.mark.parametrize("said", ["YES", "NO", None])
def test_what_is_burned_into_the_source_is_burned_into_the_picture(said: str | None) -> None:
    changes = {} if said is None else {"BurnedInAnnotation": said}
    assert capture(image=make_image(**changes))[1].BurnedInAnnotation == (said or "NO")


@pytest.mark.parametrize(("stated", "kept"), [(["R", "F"], ["R", "F"]), (None, None), (["L", ""], None)])
def test_a_side_that_the_source_does_not_state_is_not_invented(
    stated: list[str] | None, kept: list[str] | None, tmp_path: Path
) -> None:
    data, content = capture(image=make_image(PatientOrientation=stated))
    assert (list(content.PatientOrientation) if content.PatientOrientation else None) == kept
    assert faults(data, tmp_path) == []


def test_nothing_is_drawn_without_a_place() -> None:
    with pytest.raises(Fault, match="no_image_marked"):
        capture(make_result(make_absent()))
