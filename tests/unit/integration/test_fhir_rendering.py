"""The transaction for the chart: conditional, derived, preliminary, and marked as AI."""

import json
from dataclasses import replace
from typing import Any

import pytest

from hilum.fhir import systems
from hilum.integration.adapters.fhir_rendering import render_report
from hilum.integration.adapters.fhir_site import FhirSite
from hilum.integration.domain.case import AssignedId, CaseState, Patient
from hilum.integration.domain.result import AlgorithmResult
from scenes.results import STUDY_UID, make_absent, make_algorithm, make_case, make_finding, make_order, make_result

SITE = FhirSite("Northern Teaching Hospital", {"RISX": "https://ris.example.org/accession"})


def entries(result: AlgorithmResult | None = None, case: CaseState | None = None) -> list[dict[str, Any]]:
    bundle = json.loads(render_report(result or make_result(), case or make_case(), SITE, "Patient/7"))
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "transaction")
    return list(bundle["entry"])


def resource(kind: str, **inputs: Any) -> dict[str, Any]:
    found: dict[str, Any] = next(e["resource"] for e in entries(**inputs) if e["resource"]["resourceType"] == kind)
    return found


def test_the_same_input_gives_the_same_bytes() -> None:
    assert len({render_report(make_result(), make_case(), SITE, "Patient/7") for _ in range(3)}) == 1


def test_every_entry_is_conditional() -> None:
    requests = {e["resource"]["resourceType"]: e["request"] for e in entries()}
    assert requests["ImagingStudy"]["ifNoneExist"] == f"identifier=urn:dicom:uid|urn:oid:{STUDY_UID}"
    assert requests["Device"]["ifNoneExist"].startswith("identifier=urn:dicom:uid|urn:oid:")
    assert requests["Provenance"]["ifNoneExist"].startswith(f"_tag={systems.DELIVERY_TAG}|")
    for kind in ("Observation", "DiagnosticReport"):
        assert requests[kind]["method"] == "PUT"
        assert requests[kind]["url"].startswith(f"{kind}?identifier={systems.RESULT_IDENTIFIER}|")


def test_references_lead_to_entries_of_the_bundle() -> None:
    rows = entries(make_result(make_finding(), make_absent(id="other")))
    urls = {e["fullUrl"] for e in rows}
    referred = {r for r in _references([e["resource"] for e in rows]) if r.startswith("urn:uuid:")}
    assert len(urls) == len(rows)
    assert referred <= urls


def _references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["reference"]] if isinstance(node.get("reference"), str) else []
        return own + [r for child in node.values() for r in _references(child)]
    return [r for child in node for r in _references(child)] if isinstance(node, list) else []


def test_everything_stated_is_preliminary_and_labelled_ai() -> None:
    for kind in ("Observation", "DiagnosticReport"):
        content = resource(kind)
        assert content["status"] == "preliminary"
        assert [label["code"] for label in content["meta"]["security"]] == ["DEVAST", "AIAST"]
    assert resource("DiagnosticReport", result=make_result(partial=True))["status"] == "partial"


def test_a_server_of_today_gets_the_label_under_its_own_system() -> None:
    bundle = json.loads(render_report(make_result(), make_case(), FhirSite("x", current_terminology=True), "Patient/7"))
    labels = [e["resource"]["meta"]["security"] for e in bundle["entry"] if "security" in e["resource"].get("meta", {})]
    assert labels == [[dict(zip(("system", "code", "display"), systems.AI_ASSERTED, strict=True))]] * 2


def test_one_observation_a_finding_with_value_probability_and_threshold() -> None:
    rows = [e["resource"] for e in entries(make_result(make_finding(), make_absent(id="other")))]
    found = [r for r in rows if r["resourceType"] == "Observation"]
    assert [r["valueCodeableConcept"]["coding"][0]["code"] for r in found] == ["52101004", "2667000"]
    assert [c["valueQuantity"]["value"] for c in found[0]["component"]] == [0.9312, 0.5]
    assert found[0]["code"]["coding"][0]["code"] == "36118008"


def test_no_component_where_a_probability_may_not_be_shown() -> None:
    result = make_result(make_finding(probability=None, threshold=None))
    assert "component" not in resource("Observation", result=result)


def test_a_rerun_is_a_new_version_of_the_same_resources() -> None:
    first, second = entries(), entries(make_result(revision=2))
    urls = [[e["request"]["url"] for e in rows if e["request"]["method"] == "PUT"] for rows in (first, second)]
    assert urls[0] == urls[1]
    tags = [rows[-1]["request"]["ifNoneExist"] for rows in (first, second)]
    assert tags[0] != tags[1]


def test_another_model_version_is_another_device_and_report() -> None:
    other = make_result(algorithm=make_algorithm(version="1.1.0", device_uid="2.25.42"))
    requests = [[e["request"] for e in rows] for rows in (entries(), entries(other))]
    assert all(a != b for a, b in zip(requests[0][1:], requests[1][1:], strict=True))


@pytest.mark.parametrize(
    ("authority", "system"),
    [
        ("1.2.3", "urn:oid:1.2.3"),
        ("RISX", "https://ris.example.org/accession"),
        ("NOBODY", "urn:hilum:accession"),
    ],
)
def test_the_accession_carries_the_system_of_its_issuer(authority: str, system: str) -> None:
    case = make_case(orders=(make_order(accession_number=AssignedId("ACC-9", authority)),))
    identifier = resource("DiagnosticReport", case=case)["basedOn"][0]["identifier"]
    assert identifier["value"] == "ACC-9"
    assert identifier["type"]["coding"][0]["code"] == "ACSN"
    assert identifier.get("system") == system


def test_a_study_without_an_order_has_no_request() -> None:
    assert "basedOn" not in resource("DiagnosticReport", case=make_case(orders=()))


def test_markup_in_a_name_cannot_break_the_narrative() -> None:
    algorithm = make_algorithm(title="<script>&")
    div = resource("DiagnosticReport", result=make_result(algorithm=algorithm))["text"]["div"]
    assert "&lt;script&gt;&amp;" in div


def test_a_patient_is_created_only_where_none_was_found() -> None:
    bundle = json.loads(render_report(make_result(), make_case(), SITE, None))
    first = bundle["entry"][0]
    assert first["request"] == {
        "method": "POST",
        "url": "Patient",
        "ifNoneExist": "identifier=urn:oid:1.3.6.1.4.1.21367.13.20.1000|PAT-001",
    }
    assert first["resource"]["birthDate"] == "1961-05-03"
    assert bundle["entry"][-2]["resource"]["subject"]["reference"] == first["fullUrl"]
    assert "Patient" not in {e["resource"]["resourceType"] for e in entries()}


def test_the_medical_record_number_is_asked_for_first() -> None:
    ids = (AssignedId("V-1", "1.2.9", "VN"), AssignedId("M-1", "1.2.8", "MR"))
    case = make_case(patient=Patient(ids))
    assert SITE.patient_tokens(case.patient)[0] == ("urn:oid:1.2.8", "M-1")


@pytest.mark.parametrize("type_code", ["AN", "VN", "SS", "DL"])
def test_a_number_of_something_else_is_no_patient_s(type_code: str) -> None:
    ids = (AssignedId("42", "1.2.8", type_code), AssignedId("42", "", type_code))
    assert SITE.patient_tokens(Patient(ids)) == ()


def test_an_authority_that_the_site_did_not_name_is_not_taken_for_its_own() -> None:
    site = replace(SITE, own_authority="NORTH", systems={"SOUTH": "urn:south"})
    ids = tuple(AssignedId("42", authority, "MR") for authority in ("NORTH", "", "SOUTH", "ELSEWHERE"))
    assert site.patient_tokens(Patient(ids)) == ((site.patient_system, "42"), ("urn:south", "42"))
