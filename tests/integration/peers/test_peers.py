"""The real servers answer as the tests rely on, so that a silent peer never passes for a satisfied one."""

import json
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from peers.fhir_validator import FhirValidator
from peers.orthanc import Orthanc
from peers.storescp import StoreScp

pytestmark = pytest.mark.peers


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """A small Secondary Capture in a file."""
    image = Dataset()
    image.SOPClassUID = SecondaryCaptureImageStorage
    image.SOPInstanceUID = generate_uid()
    image.StudyInstanceUID = generate_uid()
    image.SeriesInstanceUID = generate_uid()
    image.PatientID = "P1"
    image.PatientName = "Test^Peer"
    image.Modality = "OT"
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    path = tmp_path / "capture.dcm"
    image.save_as(path, enforce_file_format=True)
    return path


def send(path: Path, ae_title: str, port: int) -> subprocess.CompletedProcess[str]:
    arguments = ["storescu", "-v", "-aec", ae_title, "127.0.0.1", str(port), str(path)]
    return subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)


def test_the_validator_accepts_a_valid_resource(fhir_validator: FhirValidator) -> None:
    assert fhir_validator.errors([json.dumps({"resourceType": "Patient", "gender": "female"})]) == []


def test_the_validator_names_each_fault_and_its_resource(fhir_validator: FhirValidator) -> None:
    good = json.dumps({"resourceType": "Patient"})
    bad = json.dumps({"resourceType": "Patient", "gender": "none of these"})
    worse = json.dumps({"resourceType": "Observation"})
    issues = fhir_validator.errors([good, bad, worse])
    assert {issue.resource for issue in issues} == {1, 2}
    assert any("gender" in issue.location for issue in issues)


def test_the_validator_survives_what_is_no_json(fhir_validator: FhirValidator) -> None:
    assert fhir_validator.errors(["{"])
    assert fhir_validator.errors([json.dumps({"resourceType": "Patient"})]) == []


def test_storescp_keeps_what_it_is_sent(storescp: StoreScp, capture: Path) -> None:
    assert send(capture, storescp.ae_title, storescp.port).returncode == 0
    assert len(storescp.files()) == 1


def test_storescp_refuses_when_told_to(start_storescp: Callable[..., StoreScp], capture: Path) -> None:
    refusing = start_storescp("--refuse")
    assert send(capture, refusing.ae_title, refusing.port).returncode != 0
    assert refusing.files() == []


def test_orthanc_stores_and_shows_an_instance(orthanc: Orthanc, capture: Path) -> None:
    before = len(orthanc.tags())
    assert send(capture, orthanc.ae_title, orthanc.dicom_port).returncode == 0
    tags = orthanc.tags()
    assert len(tags) == before + 1
    assert tags[-1]["PatientID"] == "P1"


def test_orthanc_is_not_reachable_from_outside(orthanc: Orthanc) -> None:
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", 4242)) != 0
