"""The intended use gates output by code."""

import pytest

from hilum.integration.domain.intended_use import permitted, refusal, statable
from hilum.integration.domain.result import Output, State, Use
from scenes.results import make_absent, make_algorithm, make_finding, make_result


def test_triage_yields_a_priority_and_a_notification_whatever_it_declares() -> None:
    assert permitted(make_algorithm(Use.TRIAGE)) == {Output.PRIORITY, Output.NOTIFICATION}


def test_a_use_yields_nothing_that_is_not_declared() -> None:
    assert permitted(make_algorithm(Use.DIAGNOSIS, frozenset({Output.FINDING}))) == {Output.FINDING}


@pytest.mark.parametrize("output", [Output.FINDING, Output.PROBABILITY, Output.ABSENT, Output.LOCALISATION])
def test_triage_is_refused_with_a_rule(output: Output) -> None:
    rule = refusal(make_algorithm(Use.TRIAGE), output)
    assert rule is not None
    assert rule.code == f"use_forbids_{output}"


def test_triage_states_no_negative_no_probability_and_no_mark() -> None:
    result = make_result(make_finding(), make_absent(id="other"), algorithm=make_algorithm(Use.TRIAGE))
    (finding,) = statable(result).findings
    assert finding.state is State.PRESENT
    assert (finding.probability, finding.threshold, finding.localisation) == (None, None, None)
    assert finding.priority == "S"


def test_an_undeclared_priority_is_taken_out() -> None:
    algorithm = make_algorithm(outputs=frozenset(Output) - {Output.PRIORITY})
    assert statable(make_result(algorithm=algorithm)).findings[0].priority is None


def test_indeterminate_needs_the_same_leave_as_absent() -> None:
    algorithm = make_algorithm(outputs=frozenset(Output) - {Output.ABSENT})
    result = make_result(make_finding(state=State.INDETERMINATE), algorithm=algorithm)
    assert statable(result).findings == ()


def test_detection_with_everything_declared_states_everything() -> None:
    result = make_result(make_finding(), make_absent(id="other"))
    assert statable(result) == result
