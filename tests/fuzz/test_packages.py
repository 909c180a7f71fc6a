"""Model packages under drawn manifests and hostile YAML, and what the search found in their loader and rules."""

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fuzz.drawing import drawn
from fuzz.fuzz_packages import check
from fuzz.limits import processor_seconds
from fuzz.seeds import manifest
from fuzz.test_site_file import HANG_SECONDS, HOSTILE, documents, places, replaced
from hilum.workflow.domain import eligibility


@st.composite
def spoiled(draw: st.DrawFn) -> bytes:
    """A manifest that holds, but for a few places."""
    whole: Any = manifest()
    for _ in range(draw(st.integers(1, 3))):
        whole = replaced(whole, draw(st.sampled_from(places(whole))), draw(documents))
    return yaml.safe_dump(whole).encode("utf-8", "replace")


rules = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["a", "b", "a-b"]),
        "field": st.sampled_from(["order.modality", "study.body", "dicom.PatientAgeYears", "dicom.X"]),
        "op": st.sampled_from(["in", "not_in", "contains", "at_least", "at_most", "present"]),
        "value": st.none()
        | st.floats()
        | st.integers()
        | st.text(max_size=5)
        | st.lists(st.text(max_size=5), max_size=3),
        "missing": st.sampled_from(["fail", "pass"]),
    }
)


@drawn
@given(spoiled())
def test_a_spoiled_manifest_is_refused_with_its_faults_or_holds(source: bytes) -> None:
    check(source)


@drawn
@given(st.lists(rules, max_size=3), st.lists(rules, max_size=3))
def test_every_set_of_rules_that_is_let_in_can_be_judged(study: list[Any], instance: list[Any]) -> None:
    check(yaml.safe_dump(manifest() | {"eligibility": {"study": study, "instance": instance}}).encode())


@pytest.mark.parametrize("source", HOSTILE.values(), ids=HOSTILE)
def test_hostile_yaml_costs_little_and_is_judged(source: bytes) -> None:
    with processor_seconds(HANG_SECONDS):
        check(source)


@pytest.mark.parametrize("seen", ["inf", "nan", "1_8", "\u0661\u0668", "infinity", "1e999", "0x12"])
def test_only_a_decimal_string_is_a_number_to_a_rule(seen: str) -> None:
    """Found by the target: whatever Python reads as a number passed, so an age of ``inf`` was an adult's."""
    rule = eligibility.Rule("adult", "dicom.PatientAgeYears", "at_least", 18.0, missing_passes=False)
    outcome = eligibility.judge(rule, {rule.field: seen}, frozenset({"dicom"}))
    assert outcome.outcome is eligibility.Outcome.FAILED


@pytest.mark.parametrize("seen", ["18", "+18.0", " 18", "1.8E1", "18."])
def test_every_form_of_a_decimal_string_is_one(seen: str) -> None:
    rule = eligibility.Rule("adult", "dicom.PatientAgeYears", "at_least", 18.0, missing_passes=False)
    outcome = eligibility.judge(rule, {rule.field: seen}, frozenset({"dicom"}))
    assert outcome.outcome is eligibility.Outcome.PASSED
