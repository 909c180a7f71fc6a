"""The ratchet: up only, once, and not when a person was there first."""

from dataclasses import replace
from datetime import timedelta

import pytest

from hilum.integration.domain import priority
from hilum.integration.domain.case import CaseState
from hilum.integration.domain.priority import PriorityPolicy, Ratchet, may_raise
from hilum.integration.domain.result import AlgorithmResult
from hilum.integration.domain.rule import Rule
from scenes.results import NOW, make_absent, make_case, make_finding, make_order, make_result


def judged(
    case: CaseState,
    result: AlgorithmResult | None = None,
    *,
    ratchet: Ratchet | None = None,
    policy: PriorityPolicy | None = None,
    writes_order: bool = False,
) -> Rule | None:
    return may_raise(
        result or make_result(),
        case,
        ratchet=ratchet or Ratchet(),
        policy=policy or PriorityPolicy(),
        now=NOW,
        writes_order=writes_order,
    )


def test_a_present_finding_raises_a_routine_study() -> None:
    assert judged(make_case()) is None


def test_a_negative_never_asks_for_a_priority() -> None:
    assert priority.proposed(make_result(make_absent())) is None
    assert judged(make_case(), make_result(make_absent())) is priority.NOTHING_TO_RAISE


def test_a_finding_cannot_ask_for_a_lower_or_an_unranked_code() -> None:
    for code in ("R", "P", "C", "T", "", "X", None):
        assert priority.proposed(make_result(make_finding(priority=code))) is None


def test_the_highest_of_several_findings_is_proposed() -> None:
    findings = (make_finding(id="a", priority="A"), make_finding(id="b", priority="S"), make_absent(id="c"))
    assert priority.proposed(make_result(*findings)) == "S"


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"report_status": "F"}, priority.REPORT_FINAL),
        ({"report_status": "C"}, priority.REPORT_FINAL),
        ({"being_read": True}, priority.BEING_READ),
        ({"cancelled": True}, priority.CANCELLED),
        ({"useful_until": {"pneumothorax-phantom": NOW - timedelta(seconds=1)}}, priority.NO_LONGER_USEFUL),
        ({"observed_at": NOW - timedelta(seconds=5.1)}, priority.PROJECTION_STALE),
        ({"observed_at": None}, priority.PROJECTION_STALE),
        ({"orders": (make_order(priority="S"),)}, priority.ALREADY_AS_HIGH),
    ],
)
def test_suppressed(changes: dict[str, object], rule: Rule) -> None:
    assert judged(make_case(**changes)) is rule


@pytest.mark.parametrize(
    "changes",
    [
        {"report_status": "P"},
        {"useful_until": {"pneumothorax-phantom": NOW}},
        {"useful_until": {"another": NOW - timedelta(hours=1)}},
        {"observed_at": NOW - timedelta(seconds=5)},
        {"orders": (make_order(priority="A"),)},
        {"orders": (make_order(priority=""),)},
        {"orders": ()},
    ],
)
def test_not_suppressed(changes: dict[str, object]) -> None:
    assert judged(make_case(**changes)) is None


def test_a_silent_algorithm_raises_nothing() -> None:
    assert judged(make_case(), make_result(silent=True)) is priority.SILENT


def test_a_site_may_count_a_preliminary_report_as_read() -> None:
    policy = PriorityPolicy(reported=frozenset({"P", "F", "C"}))
    assert judged(make_case(report_status="P"), policy=policy) is priority.REPORT_FINAL


def test_a_site_may_raise_what_is_being_read() -> None:
    assert judged(make_case(being_read=True), policy=PriorityPolicy(respect_being_read=False)) is None


@pytest.mark.parametrize("code", ["P", "C", "T", "TM30", "PRN"])
def test_an_order_message_never_replaces_a_priority_that_has_no_rank(code: str) -> None:
    case = make_case(orders=(make_order(priority=code),))
    assert judged(case, writes_order=True) is priority.NOT_COMPARABLE
    assert judged(case) is None  # an ORU finding leaves the order as it is


def test_an_order_message_replaces_only_what_the_site_lets_it() -> None:
    case = make_case(orders=(make_order(priority="A"),))
    assert judged(case, writes_order=True) is priority.NOT_OVERWRITTEN
    allowed = PriorityPolicy(overwrites=frozenset({"", "R", "A"}))
    assert judged(case, writes_order=True, policy=allowed) is None


def test_the_highest_of_several_orders_counts() -> None:
    case = make_case(orders=(make_order(priority="R"), make_order(priority="S")))
    assert judged(case) is priority.ALREADY_AS_HIGH


def test_one_escalation_a_study_and_algorithm_version() -> None:
    raised = Ratchet((("A", "pneumothorax-phantom", "1.0.0"),))
    assert judged(make_case(), ratchet=raised) is priority.ALREADY_RAISED
    other = replace(raised, sent=(("A", "pneumothorax-phantom", "0.9.0"),))
    assert judged(make_case(), ratchet=other) is None


def test_what_another_algorithm_raised_is_not_raised_again() -> None:
    assert judged(make_case(), ratchet=Ratchet((("S", "other", "1.0.0"),))) is priority.ALREADY_AS_HIGH
