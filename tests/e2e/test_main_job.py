"""The main job on what others published: real orders, real radiographs; every output where people look."""

import json
from collections import Counter
from pathlib import Path

import pytest
from pydicom import dcmread

from hilum.hl7.message import parse
from hilum.simulator.demo import DemoOptions, run_demo

REPOSITORY = Path(__file__).resolve().parents[2]
ORDERS = (
    "dcm4che_dcm4che/OMI^O23-ImagingOrder.hl7",
    "dcm4che_dcm4che/ORM^O01-GeneralOrder.hl7",
    "cosyte_hl7/philips__orm-o01.hl7",
    "cosyte_hl7/visage__orm-o01.hl7",
    "kcenon_pacs_bridge/orm_o01_sample.hl7",
)
COUNT = 15
COMPREHENSIVE_3D_SR = "1.2.840.10008.5.1.4.1.1.88.34"


@pytest.fixture(scope="module")
def out(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One run of fifteen children that the model never saw, under five published orders in turn."""
    import asyncio

    folder = tmp_path_factory.mktemp("main-job")
    options = DemoOptions(
        images=shared_data / "cxr" / "paediatric",
        labels=REPOSITORY / "models" / "pneumonia-paediatric" / "unseen.csv",
        orders=tuple(shared_data / "hl7" / name for name in ORDERS),
        limit=COUNT,
        out=folder,
    )
    assert asyncio.run(run_demo(options)) == 0
    return folder


@pytest.fixture(scope="module")
def results(out: Path) -> list[dict[str, object]]:
    entries = json.loads((out / "ledger.json").read_text())
    return [entry for entry in entries if entry["algorithm"] == "pneumonia-paediatric"]


def test_every_examination_has_a_result_and_the_ledger_adds_up(out: Path, results: list[dict[str, object]]) -> None:
    assert Counter(entry["disposition"] for entry in results) == {"resulted": COUNT}
    verdict = json.loads((out / "reconcile.json").read_text())
    assert verdict["adds_up"]
    assert all(check["holds"] for check in verdict["checks"])


def test_a_priority_reaches_the_ris_for_each_present_finding_and_no_other(
    out: Path, results: list[dict[str, object]]
) -> None:
    present = {
        entry["accession_number"]
        for entry in results
        if any(finding["state"] == "present" for finding in entry["findings"])
    }
    sent = [parse(path.read_bytes(), "8859/1") for path in (out / "hl7").iterdir()]
    assert 0 < len(present) < COUNT
    assert sorted(message.get("OBR-18") for message in sent) == sorted(present)
    assert {message.get("OBR-25") for message in sent} == {"P"}
    assert not {message.get("OBR-3.1") for message in sent} & {f"F{number:06d}" for number in range(COUNT)}


def test_a_preliminary_diagnostic_report_reaches_the_ehr_for_each(out: Path) -> None:
    bundles = [json.loads(path.read_text()) for path in (out / "fhir").iterdir()]
    assert len(bundles) == COUNT
    for bundle in bundles:
        kinds = Counter(entry["resource"]["resourceType"] for entry in bundle["entry"])
        assert kinds == {"DiagnosticReport": 1, "ImagingStudy": 1, "Observation": 1, "Device": 1, "Provenance": 1}
        report = next(e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "DiagnosticReport")
        assert report["status"] == "preliminary"


def test_an_sr_for_each_and_an_overlay_for_each_present_finding_reach_the_archive(
    out: Path, results: list[dict[str, object]]
) -> None:
    stored = [dcmread(path, stop_before_pixels=True) for path in (out / "dicom").iterdir()]
    reports = [dataset for dataset in stored if dataset.SOPClassUID == COMPREHENSIVE_3D_SR]
    assert {report.StudyInstanceUID for report in reports} == {entry["study_instance_uid"] for entry in results}
    overlays = [dataset for dataset in stored if dataset.SOPClassUID != COMPREHENSIVE_3D_SR]
    assert len(overlays) == len(list((out / "hl7").iterdir())) == len(list((out / "overlays").glob("*.png")))
