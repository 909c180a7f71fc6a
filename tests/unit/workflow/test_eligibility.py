"""Eligibility is explained: each rule, the value it saw, and what it does while the value has not come."""

from dataclasses import replace

import pytest

from hilum.store.sql import SqlStore
from hilum.workflow.domain.eligibility import Outcome, Rule, Value, judge
from scenes.workflow import DETECTOR, SITE, Hospital, hospital, image, order

ARRIVED = frozenset({"order", "dicom"})


def outcome(op: str, value: Value, seen: str, missing_passes: bool = False) -> Outcome:
    rule = Rule("rule", "order.modality", op, value, missing_passes)
    return judge(rule, {"order.modality": seen}, ARRIVED).outcome


@pytest.mark.parametrize(
    ("op", "value", "seen", "passes"),
    [
        ("in", ("CR", "DX"), "dx", True),
        ("in", ("CR", "DX"), " DX ", True),
        ("in", ("CR", "DX"), "CT", False),
        ("not_in", ("CT",), "DX", True),
        ("not_in", ("CT",), "ct", False),
        ("contains", "chest", "CHEST PA", True),
        ("contains", "chest", "HAND", False),
        ("at_least", 18.0, "18", True),
        ("at_least", 18.0, "17.9", False),
        ("at_least", 18, "018Y", False),
        ("at_most", 17.0, "17", True),
        ("at_most", 17.0, "nan", False),
        ("at_least", 18.0, "nan", False),
        ("present", None, "anything", True),
        ("unheard_of", None, "anything", False),
    ],
)
def test_a_rule_holds_or_fails(op: str, value: Value, seen: str, passes: bool) -> None:
    assert outcome(op, value, seen) is (Outcome.PASSED if passes else Outcome.FAILED)


@pytest.mark.parametrize(("passes", "expected"), [(True, Outcome.PASSED), (False, Outcome.FAILED)])
def test_a_source_without_the_field_is_judged_by_the_rules_own_word(passes: bool, expected: Outcome) -> None:
    assert outcome("in", ("CR",), "", passes) is expected
    assert outcome("in", ("CR",), "  ", passes) is expected


def test_present_never_passes_on_nothing() -> None:
    assert outcome("present", None, "", True) is Outcome.FAILED


def test_a_source_that_has_not_come_leaves_the_rule_unknown() -> None:
    rule = Rule("rule", "study.modality", "in", ("CR",), False)
    assert judge(rule, {}, ARRIVED).outcome is Outcome.UNKNOWN


def test_an_outcome_tells_what_was_expected_and_seen() -> None:
    found = judge(Rule("m", "order.modality", "in", ("CR", "DX"), False), {"order.modality": "CT"}, ARRIVED)
    assert (found.rule, found.field, found.expected, found.seen) == ("m", "order.modality", "in CR, DX", "CT")


# In the decision.


def test_an_order_that_fails_a_rule_is_ineligible_before_any_image(here: Hospital) -> None:
    here.hear(order("o", accession="A1", modality="CT"))
    here.decide()
    assert here.disposition() == "ineligible:ordered-modality"
    (state,) = here.case().algorithms
    assert [(rule.rule, rule.outcome, rule.seen) for rule in state.rules] == [("ordered-modality", "failed", "CT")]


def test_a_rule_about_the_order_is_unknown_until_it_comes(here: Hospital) -> None:
    here.hear(image("1", accession="A1"))
    here.wait(seconds=1)
    (state,) = here.case().algorithms
    assert (state.disposition, state.rules[0].outcome) == ("waiting", "unknown")


def test_no_image_that_passes_is_ineligible_by_the_rule_that_failed(here: Hospital) -> None:
    here.hear(order("o", accession="A1"), image("1", accession="A1", Modality="CT"))
    here.wait(minutes=1)
    assert here.disposition() == "ineligible:modality"


def test_images_that_pass_are_the_inputs_and_the_others_are_not(here: Hospital) -> None:
    here.hear(order("o", accession="A1"))
    here.hear(*(image(f"{n}", accession="A1", Modality="DX" if n % 2 else "SR") for n in range(4)))
    here.hear(image("9", accession="A1", reason="lying_header"))
    here.wait(minutes=1)
    (task,) = here.tasks
    assert [each.sop_instance_uid for each in task.inputs] == ["1", "3"]


def test_images_that_are_all_unusable_tell_why(here: Hospital) -> None:
    here.hear(order("o", accession="A1"), image("1", accession="A1", reason="lying_header"))
    here.wait(minutes=1)
    assert here.disposition() == "ineligible:lying_header"


def test_a_rule_about_the_study_waits_until_the_study_is_complete(store: SqlStore) -> None:
    """Half a study must not be called too small."""
    counting = replace(
        DETECTOR, study_rules=(Rule("images", "study.instance_count", "at_least", 2.0, False),), instance_rules=()
    )
    with hospital(store, algorithms=[counting]) as here:
        here.hear(order("o", accession="A1"), image("1", accession="A1"))
        here.wait(seconds=10)
        assert here.disposition() == "waiting"
        here.hear(image("2", accession="A1", second=10))
        here.wait(minutes=1)
        assert here.disposition() == "tasked"
        assert not any("ineligible" in algorithm.disposition for state in here.states for algorithm in state.algorithms)


def test_where_no_order_is_needed_a_rule_about_it_is_judged_as_missing(store: SqlStore) -> None:
    site = SITE.model_copy(update={"matching": SITE.matching.model_copy(update={"require_order": False})})
    strict = replace(DETECTOR, study_rules=(Rule("ordered", "order.modality", "in", ("DX",), False),))
    for algorithm, expected in ((DETECTOR, "tasked"), (strict, "ineligible:ordered")):
        with hospital(store, site, [algorithm]) as here:
            here.hear(image("1"))
            here.wait(minutes=1)
            assert here.disposition() == expected


def test_the_study_is_spoken_for_by_an_image_that_can_be_used(here: Hospital) -> None:
    here.hear(order("o", accession="A1"))
    here.hear(image("1", accession="A1", Modality="XX", reason="lying_header"), image("2", accession="A1"))
    here.wait(minutes=1)
    assert here.case().modality == "DX"


def test_a_modality_that_a_status_update_leaves_out_still_counts(here: Hospital) -> None:
    here.hear(order("o", 0, filler="F1", accession="A1", modality="DX"), image("1", accession="A1"))
    here.hear(order("done", 1, control="SC", status="CM", filler="F1", modality=""))
    here.wait(minutes=1)
    (state,) = here.case().algorithms
    assert state.rules[0].seen == "DX"
