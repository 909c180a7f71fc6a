"""A result on its way to an EHR: exactly one patient, one transaction, and nothing twice."""

import json
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest

from hilum.simulator.ehr import Ehr
from hilum.simulator.script import Act, Step
from hilum.site import Site
from peers.fhir_validator import FhirValidator
from scenes.results import MRN
from scenes.system import case_message, integration, make_site, result_message

MRN_SYSTEM = "urn:oid:1.3.6.1.4.1.21367.13.20.1000"


@pytest.fixture
async def ehr(tmp_path: Path) -> AsyncIterator[Ehr]:
    kept = tmp_path / "kept"
    kept.mkdir()
    ehr = Ehr(kept=kept)
    await ehr.start()
    yield ehr
    await ehr.stop()


def site(ehr: Ehr, **changes: object) -> Site:
    return make_site(ehr={"url": ehr.url, "timeout_seconds": 0.5, "attempts": 3, "retry_seconds": 0.05, **changes})


def register(ehr: Ehr, value: str = "PAT-001") -> None:
    ehr.resources.seed(
        {
            "resourceType": "Patient",
            "identifier": [{"system": MRN_SYSTEM, "value": value}],
            "birthDate": date(1961, 5, 3).isoformat(),
        }
    )


def count(ehr: Ehr, kind: str) -> int:
    return len(ehr.resources.search(kind, []))


async def test_a_result_lands_with_the_server_s_own_references(ehr: Ehr, tmp_path: Path) -> None:
    register(ehr)
    async with integration(tmp_path, site(ehr)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        delivery = (await system.ended("diagnostic_report", seconds=40))["diagnostic_report"]
    assert delivery.state == "landed"
    references = [proof.value for proof in delivery.proofs if proof.name == "fhir_reference"]
    assert [reference.split("/")[0] for reference in references] == [
        "ImagingStudy",
        "Device",
        "Observation",
        "DiagnosticReport",
        "Provenance",
    ]
    (report,) = ehr.resources.search("DiagnosticReport", [])
    (patient,) = ehr.resources.search("Patient", [])
    assert report["subject"]["reference"] == f"Patient/{patient['id']}"
    assert report["status"] == "preliminary"


async def test_a_rerun_is_a_new_version_and_nothing_else_is_doubled(ehr: Ehr, tmp_path: Path) -> None:
    register(ehr)
    async with integration(tmp_path, site(ehr)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        await system.ended("diagnostic_report", seconds=40)
        await system.say_result(result_message("result-2", state="absent", revision=2))
        await system.until(
            lambda newest: newest["diagnostic_report"].revision == 2 and newest["diagnostic_report"].state == "landed"
        )
    kinds = ("ImagingStudy", "Device", "Observation", "DiagnosticReport", "Provenance")
    assert [count(ehr, kind) for kind in kinds] == [1, 1, 1, 1, 2]
    (observation,) = ehr.resources.search("Observation", [])
    assert observation["valueCodeableConcept"]["coding"][0]["code"] == "2667000"
    assert observation["meta"]["versionId"] == "2"


@pytest.mark.parametrize(
    "step",
    [
        Step(Act.DROP_BEFORE),
        Step(Act.DROP_AFTER),
        Step(Act.SILENT),
        Step(Act.REFUSE, code="503"),
        Step(Act.REFUSE, code="500"),
        Step(Act.REFUSE, code="429"),
        Step(Act.REFUSE, code="409"),
    ],
)
async def test_one_misbehaviour_writes_everything_once(ehr: Ehr, tmp_path: Path, step: Step) -> None:
    register(ehr)
    ehr.script.then(step)
    async with integration(tmp_path, site(ehr)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        assert (await system.ended("diagnostic_report", seconds=40))["diagnostic_report"].state == "landed"
    kinds = ("ImagingStudy", "Device", "Observation", "DiagnosticReport", "Provenance")
    assert [count(ehr, kind) for kind in kinds] == [1, 1, 1, 1, 1]
    assert ehr.resources.search("Observation", [])[0]["meta"]["versionId"] == "1"


@pytest.mark.parametrize(
    ("code", "reason"), [("400", "fhir_refused"), ("412", "fhir_ambiguous"), ("422", "fhir_unprocessable")]
)
async def test_what_would_not_help_is_not_sent_again(ehr: Ehr, tmp_path: Path, code: str, reason: str) -> None:
    register(ehr)
    ehr.script.then(Step(Act.REFUSE, code=code))
    async with integration(tmp_path, site(ehr)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        delivery = (await system.ended("diagnostic_report", seconds=40))["diagnostic_report"]
    assert (delivery.state, delivery.reason, delivery.attempts) == ("refused", reason, 1)
    assert count(ehr, "Observation") == 0


async def test_an_unknown_patient_is_held_until_the_ehr_knows_them(ehr: Ehr, tmp_path: Path) -> None:
    async with integration(tmp_path, site(ehr)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        held = (await system.ended("diagnostic_report", seconds=40))["diagnostic_report"]
        assert (held.state, held.reason) == ("held", "patient_unknown")
        register(ehr)
        await system.say_case(case_message(version=2))
        await system.until(lambda newest: newest["diagnostic_report"].state == "landed")


async def test_two_patients_with_one_number_are_held(ehr: Ehr, tmp_path: Path) -> None:
    register(ehr)
    register(ehr)
    async with integration(tmp_path, site(ehr)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        held = (await system.ended("diagnostic_report", seconds=40))["diagnostic_report"]
    assert (held.state, held.reason) == ("held", "patient_ambiguous")
    assert count(ehr, "DiagnosticReport") == 0


async def test_two_numbers_of_two_patients_are_held(ehr: Ehr, tmp_path: Path) -> None:
    register(ehr)
    register(ehr, "PAT-002")
    case = case_message()
    case.patient.identifiers.add(value="PAT-002", authority=MRN, type_code="PI")
    async with integration(tmp_path, site(ehr)) as system:
        await system.say_case(case)
        await system.say_result(result_message())
        held = (await system.ended("diagnostic_report", seconds=40))["diagnostic_report"]
    assert (held.state, held.reason) == ("held", "patient_ambiguous")
    assert count(ehr, "DiagnosticReport") == 0


async def test_a_site_may_let_patients_be_created(ehr: Ehr, tmp_path: Path) -> None:
    async with integration(tmp_path, site(ehr, create_missing_patients=True)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        assert (await system.ended("diagnostic_report", seconds=40))["diagnostic_report"].state == "landed"
    (patient,) = ehr.resources.search("Patient", [])
    assert patient["identifier"] == [{"system": MRN_SYSTEM, "value": "PAT-001"}]


async def test_triage_states_nothing_in_the_chart(ehr: Ehr, tmp_path: Path) -> None:
    register(ehr)
    async with integration(tmp_path, site(ehr), use="triage") as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        delivery = (await system.ended("diagnostic_report"))["diagnostic_report"]
    assert delivery.state == "suppressed:use_forbids_finding"


@pytest.mark.peers
@pytest.mark.timeout(300)
async def test_what_was_sent_is_valid(ehr: Ehr, tmp_path: Path, fhir_validator: FhirValidator) -> None:
    register(ehr)
    async with integration(tmp_path, site(ehr)) as system:
        await system.say_case(case_message())
        await system.say_result(result_message())
        await system.ended("diagnostic_report", seconds=40)
    (bundle,) = [file.read_text() for file in (tmp_path / "kept").iterdir()]
    resources = [json.dumps(entry["resource"]) for entry in json.loads(bundle)["entry"]]
    assert fhir_validator.errors([bundle, *resources]) == []
