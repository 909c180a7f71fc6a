"""From facts to dispositions and tasks: one task a content, sticky results, and how orders find studies."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from hilum.contracts.cases.v1.cases_pb2 import CaseState
from hilum.store.sql import SqlStore
from hilum.workflow.adapters import events
from hilum.workflow.adapters.events import _study_time
from scenes.workflow import DETECTOR, NOON, Hospital, Said, adt, hospital, image, order, patient, report, result


def ready(here: Hospital, *more: Said) -> None:
    """An order and its one image, complete."""
    here.hear(order("o", 0, filler="F1", accession="A1"), image("1", accession="A1"), *more)
    here.wait(minutes=1)


# Tasks and results.


def test_an_order_and_its_image_become_one_task(here: Hospital) -> None:
    ready(here)
    (task,) = here.tasks
    assert (task.algorithm, task.algorithm_version, task.study_instance_uid) == ("detector", "1.0.0", "1.2")
    assert [each.object_key for each in task.inputs] == ["instances/1.2/1.dcm"]
    assert task.case_id == here.case().case_id
    (state,) = here.case().algorithms
    assert (state.disposition, state.task_id, state.revision) == ("tasked", task.task_id, 1)
    assert state.due_at.ToDatetime(NOON.tzinfo) == here.case().completeness.decided_at.ToDatetime(
        NOON.tzinfo
    ) + timedelta(minutes=10)


def test_what_is_heard_again_changes_nothing(here: Hospital) -> None:
    ready(here)
    before = len(here.transaction.events)
    ready(here)
    assert len(here.transaction.events) == before


def test_a_late_image_is_another_revision_with_its_own_task(here: Hospital) -> None:
    ready(here)
    here.hear(result(here.tasks[0]))
    here.decide()
    assert here.disposition() == "resulted"
    here.hear(image("2", accession="A1", second=100))
    here.wait(minutes=3)
    first, second = here.tasks
    assert (first.revision, second.revision) == (1, 2)
    assert first.task_id != second.task_id
    assert here.disposition() == "tasked"
    assert here.case().algorithms[0].result_id == ""
    here.hear(result(second))
    here.decide()
    assert here.case().algorithms[0].result_id == f"result of {second.task_id}"


def test_a_late_image_that_is_no_input_keeps_the_result(here: Hospital) -> None:
    ready(here)
    here.hear(result(here.tasks[0]))
    here.hear(image("2", accession="A1", second=100, Modality="SR"))
    here.wait(minutes=3)
    assert here.disposition() == "resulted"
    assert len(here.tasks) == 1


def test_a_failed_result_is_the_coded_reason(here: Hospital) -> None:
    ready(here)
    here.hear(result(here.tasks[0], "failed", "failed:engine"))
    here.decide()
    assert here.disposition() == "failed:engine"


def test_a_result_of_an_older_content_does_not_end_the_newer_task(here: Hospital) -> None:
    ready(here)
    here.hear(image("2", accession="A1", second=100))
    here.wait(minutes=3)
    here.hear(result(here.tasks[0]))
    here.wait(minutes=1)
    assert here.disposition() == "tasked"


def test_a_result_for_no_known_case_is_kept_quietly(here: Hospital) -> None:
    ready(here)
    here.hear(result(replace_case(here)))
    here.decide()
    assert here.disposition() == "tasked"


def replace_case(here: Hospital):  # type: ignore[no-untyped-def]
    task = here.tasks[0]
    other = type(task)()
    other.CopyFrom(task)
    other.case_id = "nobody's"
    return other


# Cancelling, policies, reports.


def test_a_cancellation_before_the_result_ends_the_task(here: Hospital) -> None:
    ready(here)
    here.hear(order("cancel", 5, control="CA", filler="F1"))
    here.decide()
    assert here.disposition() == "cancelled"
    here.hear(result(here.tasks[0]))
    here.decide()
    assert here.disposition() == "cancelled"
    assert here.case().cancelled


def test_a_cancellation_after_the_result_keeps_it(here: Hospital) -> None:
    ready(here)
    here.hear(result(here.tasks[0]))
    here.decide()
    here.hear(order("cancel", 5, control="CA", filler="F1"))
    here.decide()
    assert here.disposition() == "resulted"
    assert here.case().cancelled


def test_a_cancelled_order_gets_no_further_task_for_a_late_image(here: Hospital) -> None:
    ready(here)
    here.hear(result(here.tasks[0]))
    here.decide()
    here.hear(order("cancel", 5, control="CA", filler="F1"), image("2", accession="A1", second=100))
    here.wait(minutes=5)
    assert here.disposition() == "resulted"
    assert len(here.tasks) == 1


def test_one_cancelled_order_of_two_does_not_cancel_the_case(here: Hospital) -> None:
    ready(here, order("o2", 0, filler="F2", accession="A1"))
    here.hear(order("cancel", 5, control="CA", filler="F1"))
    here.decide()
    assert here.disposition() == "tasked"


def test_an_order_placed_anew_after_a_cancellation_goes_on(here: Hospital) -> None:
    here.hear(order("o", 0, filler="F1", accession="A1"), order("cancel", 5, control="CA", filler="F1"))
    here.decide()
    assert here.disposition() == "cancelled"
    here.hear(order("again", 6, control="NW", filler="F1", accession="A1"), image("1", accession="A1"))
    here.wait(minutes=1)
    assert here.disposition() == "tasked"


def test_a_policy_that_is_off_yields_no_task_and_on_again_does(here: Hospital) -> None:
    here.set_policy(DETECTOR, "off")
    ready(here)
    assert (here.disposition(), here.tasks) == ("ineligible:policy_off", [])
    here.set_policy(DETECTOR, "live")
    here.wait(minutes=1)
    assert here.disposition() == "tasked"


def test_a_policy_that_goes_off_keeps_results(here: Hospital) -> None:
    ready(here)
    here.hear(result(here.tasks[0]))
    here.decide()
    here.set_policy(DETECTOR, "off")
    here.decide()
    assert here.disposition() == "resulted"


def test_an_older_policy_revision_changes_nothing(here: Hospital) -> None:
    book = here._book()
    from hilum.contracts.policies.v1.policies_pb2 import Policy

    assert not book.put_policy(Policy(algorithm="detector", revision=1, state="off"))


def test_a_version_that_was_replaced_in_flight_still_ends_with_its_result(store: SqlStore) -> None:
    newer = replace(DETECTOR, version="2.0.0", package_digest="e" * 64)
    with hospital(store, algorithms=[DETECTOR]) as here:
        here.installed[("detector", "2.0.0")] = newer
        ready(here)
        here.set_policy(newer)
        here.decide()
        old, new = here.tasks
        here.hear(result(old), result(new))
        here.decide()
        assert {state.algorithm_version: state.disposition for state in here.case().algorithms} == {
            "1.0.0": "resulted",
            "2.0.0": "resulted",
        }


def test_a_version_that_comes_into_force_later_runs_what_is_still_of_use_and_no_history(store: SqlStore) -> None:
    newer = replace(DETECTOR, version="2.0.0", package_digest="e" * 64)
    for hours, versions in ((11, {"1.0.0", "2.0.0"}), (13, {"1.0.0"})):
        with hospital(store, algorithms=[DETECTOR]) as here:
            here.installed[("detector", "2.0.0")] = newer
            ready(here)
            here.wait(hours=hours)
            here.set_policy(newer)
            here.decide()
            assert {task.algorithm_version for task in here.tasks} == versions


def test_a_young_case_is_decided_before_the_old_ones_that_a_policy_made_due(here: Hospital) -> None:
    here.hear(order("old", accession="A1"))
    here.wait(hours=1)
    here.hear(order("young", accession="A2"))
    here.set_policy(DETECTOR, "off")
    (first, _), (second, _) = here._book().due(here.now, 10)
    assert here._book().row(first).opened_at > here._book().row(second).opened_at


@pytest.mark.parametrize(
    ("told", "status"),
    [
        ([(1, "P"), (2, "F")], "F"),
        ([(1, "F"), (2, "P")], "F"),
        ([(1, "F"), (2, "C")], "C"),
        ([(1, "F"), (2, "X")], "X"),
        ([(1, "P"), (2, "R")], "R"),
        ([(1, "C"), (2, "P"), (3, "R")], "C"),
    ],
)
def test_the_newest_report_counts_but_a_late_preliminary_one_does_not(
    here: Hospital, told: list[tuple[int, str]], status: str
) -> None:
    """HL7 table 0123; standards of the field, 1.9: a late P after F is ignored."""
    ready(here)
    for minute, each in reversed(told):
        here.hear(report(f"r{minute}", minute, each, accession="A1"))
    here.decide()
    assert here.case().report_status == status


def test_a_report_that_names_a_study_speaks_of_no_other(here: Hospital) -> None:
    here.hear(order("o", filler="F1", accession="A1"))
    here.hear(image("1", "1.2", accession="A1"), image("9", "1.9", accession="A1"))
    here.hear(report("r", 5, "F", accession="A1", study="1.2"))
    here.wait(minutes=1)
    assert {state.study_instance_uid: state.report_status for state in here.cases.values()} == {"1.2": "F", "1.9": ""}


def test_a_report_before_its_study_is_remembered(here: Hospital) -> None:
    here.hear(report("r", 5, "F", filler="F1"))
    ready(here)
    assert here.case().report_status == "F"


# Urgency.


@pytest.mark.parametrize(("priority", "urgency"), [("S", "urgent"), ("A", "urgent"), ("R", "routine"), ("", "routine")])
def test_the_orders_priority_sets_the_urgency(here: Hospital, priority: str, urgency: str) -> None:
    here.hear(order("o", accession="A1", priority=priority), image("1", accession="A1"))
    here.wait(minutes=1)
    (event,) = [event for event in here.transaction.events if event.topic.startswith("tasks-")]
    assert event.topic == f"tasks-{urgency}"
    assert here.tasks[0].urgency == urgency


def test_a_result_that_comes_too_late_to_be_useful_is_backfill(here: Hospital) -> None:
    here.hear(order("o", accession="A1", priority="S"), image("1", accession="A1", date="20260101"))
    here.wait(minutes=1)
    assert here.tasks[0].urgency == "backfill"


def test_an_image_without_a_date_counts_from_its_arrival(here: Hospital) -> None:
    here.hear(order("o", accession="A1"), image("1", accession="A1", date="", second=3))
    here.wait(minutes=1)
    assert here.case().study_time.ToDatetime(NOON.tzinfo) == NOON + timedelta(seconds=3)
    assert here.tasks[0].urgency == "routine"


@pytest.mark.parametrize("date", ["", "2026", "20261301", "00010101", "99991231", "2024111", "19000101-", "\u0661" * 8])
def test_a_date_that_cannot_be_believed_is_none(date: str) -> None:
    from scenes.workflow import SITE

    east = SITE.model_copy(update={"timezone": "Pacific/Kiritimati"})
    assert _study_time(date, "000000", east) is None


@pytest.mark.parametrize(
    ("time", "hour"), [("120000", 11), ("12", 11), ("1200", 11), ("120000.123456", 11), ("", 23), ("noon", 23)]
)
def test_a_study_time_is_local_to_the_site(time: str, hour: int) -> None:
    from scenes.workflow import SITE

    site = SITE.model_copy(update={"timezone": "Europe/Berlin"})
    found = _study_time("20260114", time, site)
    assert isinstance(found, datetime)
    assert found.hour == hour


# Matching orders and studies.


def test_an_order_without_images_waits_and_then_never_arrived(here: Hospital) -> None:
    here.hear(order("o", accession="A1"))
    here.decide()
    assert here.disposition() == "waiting"
    here.wait(hours=25)
    assert here.disposition() == "never_arrived"
    here.hear(image("1", accession="A1", second=25 * 3600))
    here.wait(minutes=2)
    assert here.disposition() == "tasked"


def test_images_without_an_order_wait_and_then_are_unmatched(here: Hospital) -> None:
    here.hear(image("1", accession="A1"))
    here.wait(minutes=59)
    assert here.disposition() == "waiting"
    here.wait(minutes=2)
    assert here.disposition() == "unmatched"
    here.hear(order("o", accession="A1"))
    here.decide()
    assert here.disposition() == "tasked"


def test_an_orders_case_becomes_the_case_of_its_study(here: Hospital) -> None:
    here.hear(order("o", accession="A1"))
    here.decide()
    opened = here.case().case_id
    here.hear(image("1", accession="A1"))
    here.wait(minutes=1)
    assert here.case("1.2").case_id == opened
    assert len(here.cases) == 1


def test_an_orders_case_ends_where_the_study_has_one_already(here: Hospital) -> None:
    here.hear(order("o", 0, filler="F1", accession="A1"))
    here.hear(image("1"))  # no accession number: nothing ties them yet
    here.wait(seconds=1)
    assert len(here.cases) == 2
    here.hear(order("named", 1, control="XO", filler="F1", accession="A1", study="1.2"))
    here.wait(minutes=1)
    assert here.disposition("1.2") == "tasked"
    ended = next(state for state in here.cases.values() if not state.study_instance_uid)
    assert ended.algorithms[0].disposition == "superseded"


def test_an_order_may_have_two_studies_and_a_study_two_orders(here: Hospital) -> None:
    here.hear(order("o1", 0, filler="F1", accession="A1"), order("o2", 0, filler="F2", accession="A1"))
    here.hear(image("1", "1.1", accession="A1"), image("2", "1.2", accession="A1"))
    here.wait(minutes=1)
    for study in ("1.1", "1.2"):
        assert len(here.case(study).orders) == 2
        assert here.disposition(study) == "tasked"


def test_two_studies_of_one_filler_order_each_find_it(here: Hospital) -> None:
    here.hear(order("o1", 0, filler="F1", study="1.1"), order("o2", 1, filler="F1", study="1.2"))
    here.hear(image("1", "1.1"), image("2", "1.2"))
    here.wait(minutes=1)
    assert [here.disposition(study) for study in ("1.1", "1.2")] == ["tasked", "tasked"]


def test_two_filler_orders_of_one_placer_order_are_two_cases(here: Hospital) -> None:
    here.hear(order("new", 0, placer="P1"))
    here.hear(order("one", 1, placer="P1", filler="F1"), order("two", 1, placer="P1", filler="F2"))
    here.decide()
    assert sorted(len(state.orders) for state in here.cases.values()) == [1, 1]
    known = set(here.cases)
    for minute in range(2, 6):
        for filler in ("F1", "F2"):
            here.hear(order(f"{filler} {minute}", minute, control="XO", placer="P1", filler=filler))
            here.decide()
    assert set(here.cases) == known
    assert {state.algorithms[0].disposition for state in here.cases.values()} == {"waiting"}


def test_cases_of_messages_that_turn_out_to_be_one_order_become_one(here: Hospital) -> None:
    here.hear(order("placer", 0, placer="P1"), order("filler", 0, filler="F1"))
    here.decide()
    assert len(here.cases) == 2
    here.hear(order("both", 1, placer="P1", filler="F1"))
    here.decide()
    assert here.disposition() == "waiting"  # of the one case that is left


def test_messages_that_turn_out_to_be_two_orders_become_two_cases(here: Hospital) -> None:
    """The bare accession number joined the filler's order until that named another placer order."""
    here.hear(order("placer", 0, placer="P1", accession="A1"), order("filler", 0, filler="F1", accession="A1"))
    here.decide()
    assert here.disposition() == "waiting"
    here.hear(order("more", 1, placer="P2", filler="F1"))
    here.decide()
    live = [state for state in here.cases.values() if state.algorithms[0].disposition == "waiting"]
    assert sorted([each.message_id for each in state.orders] for state in live) == [["more"], ["placer"]]


def test_a_published_order_is_whole(here: Hospital) -> None:
    """The newest message, with what it leaves out; an XO sends back every field."""
    here.hear(order("o", 0, placer="P1", filler="F1", accession="A1", person=patient("1^H"), priority="S"))
    here.hear(order("done", 1, control="SC", status="CM", filler="F1", modality="", priority=""))
    here.decide()
    (found,) = here.case().orders
    assert (found.message_id, found.order_control, found.order_status) == ("done", "SC", "CM")
    assert (found.modality, found.priority) == ("DX", "S")
    assert found.placer_order_number.value == "P1"
    assert found.accession_number.value == "A1"
    assert found.patient.identifiers[0].value == "1"


def test_a_decision_read_back_is_the_decision(here: Hospital) -> None:
    """Otherwise every look would publish a new version."""
    ready(
        here,
        order("more", 1, control="SC", status="CM", filler="F1", person=patient("1^H")),
        adt("a08", 1, "A08", patient("1^H", "2^N")),
        report("r", 1, "P", accession="A1"),
        image("2", accession="A1", expected=3),
    )
    here.wait(minutes=5)
    before = here.case()
    assert before.algorithms[0].disposition == "incomplete"
    here._book().look_at_open_cases(here.now)
    here.decide()
    assert here.case().version == before.version
    again = CaseState.FromString(before.SerializeToString())
    assert events.case_of(again) == events.case_of(before)


def test_versions_rise_by_one(here: Hospital) -> None:
    ready(here)
    here.hear(report("r", 5, "F", accession="A1"))
    here.decide()
    assert [state.version for state in here.states] == list(range(1, len(here.states) + 1))


def test_a_thousand_images_cost_a_few_decisions(here: Hospital) -> None:
    here.hear(order("o", accession="A1"))
    for number in range(1000):
        here.hear(image(f"1.{number}", accession="A1", person=patient("1^H"), second=number / 1000))
    here.wait(minutes=1)
    assert here.case().instance_count == 1000
    assert len(here.states) < 6
    assert len(here.tasks[0].inputs) == 1000
