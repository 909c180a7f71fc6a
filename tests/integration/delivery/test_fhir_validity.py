"""HAPI's validator on every resource that we emit, alone and as the bundle: no errors."""

import json
from dataclasses import replace

import pytest

from hilum.integration.adapters.fhir_rendering import render_report
from hilum.integration.adapters.fhir_site import FhirSite
from hilum.integration.domain.case import CaseState
from hilum.integration.domain.result import AlgorithmResult, State
from peers.fhir_validator import FhirValidator
from scenes.results import make_absent, make_algorithm, make_case, make_finding, make_result

pytestmark = pytest.mark.peers

SITE = FhirSite("Northern Teaching Hospital")

VARIANTS = {
    "positive": (make_result(), make_case()),
    "negative": (make_result(make_absent()), make_case()),
    "several": (
        make_result(make_finding(), make_absent(id="b"), make_finding(id="c", state=State.INDETERMINATE)),
        make_case(),
    ),
    "partial": (make_result(partial=True), make_case()),
    "no probability": (make_result(make_finding(probability=None, threshold=None)), make_case()),
    "no order": (make_result(), make_case(orders=())),
    "no study time": (make_result(), make_case(study_time=None)),
    "no notice": (make_result(algorithm=make_algorithm(notice="")), make_case()),
    "no instances": (replace(make_result(), inputs=()), make_case(instance_count=0)),
}


@pytest.mark.timeout(300)
def test_a_created_patient_is_valid(fhir_validator: FhirValidator) -> None:
    bundle = render_report(make_result(), make_case(), SITE, None)
    resources = [json.dumps(entry["resource"]) for entry in json.loads(bundle)["entry"]]
    assert fhir_validator.errors([bundle.decode(), *resources]) == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("result", "case"), VARIANTS.values(), ids=VARIANTS.keys())
def test_valid(result: AlgorithmResult, case: CaseState, fhir_validator: FhirValidator) -> None:
    bundle = render_report(result, case, SITE, "Patient/7")
    resources = [json.dumps(entry["resource"]) for entry in json.loads(bundle)["entry"]]
    assert fhir_validator.errors([bundle.decode(), *resources]) == []


def test_the_validator_would_find_a_fault(fhir_validator: FhirValidator) -> None:
    bundle = json.loads(render_report(make_result(), make_case(), SITE, "Patient/7"))
    report = next(e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "DiagnosticReport")
    report["status"] = "finished"
    assert fhir_validator.errors([json.dumps(report)])
