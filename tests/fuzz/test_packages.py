"""Model packages under drawn manifests, and what the search found in their loader."""

import pytest

from hilum.workflow.domain import eligibility


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
