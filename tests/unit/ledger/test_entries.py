"""One entry a study and algorithm: its disposition, its coded reason, its timeline."""

from datetime import timedelta

from hilum.contracts.cases.v1.cases_pb2 import RuleOutcome
from hilum.ledger.ports import Selection


async def test_a_resulted_study_tells_its_whole_way(story) -> None:
    await story.resulted_case()
    await story.heard()

    (entry,) = await story.entries()

    assert (entry.accession_number, entry.study_instance_uid, entry.patient_id) == ("A1", "1.2.3", "P1")
    assert (entry.disposition, entry.reason) == ("resulted", "")
    told = [moment.what for moment in entry.timeline]
    assert told == [
        "order_received",
        "image_received",
        "complete",
        "tasked",
        "resulted",
        "ris priority planned",
        "ris priority landed",
    ]
    assert [moment.detail for moment in entry.timeline if moment.what == "resulted"] == ["pneumothorax present (0.93)"]
    assert [moment.at for moment in entry.timeline] == sorted(moment.at for moment in entry.timeline)


async def test_a_delivery_carries_its_proof(story) -> None:
    await story.resulted_case()
    await story.heard()

    ((delivery,),) = [entry.deliveries for entry in await story.entries()]

    assert delivery.state == "landed"
    assert delivery.proof == {"message_control_id": "H1", "acknowledgement_code": "AA"}


async def test_an_ineligible_study_lists_every_rule_with_what_it_saw(story) -> None:
    order = await story.order()
    await story.image()
    rules = (
        RuleOutcome(rule="modality", field="dicom.Modality", outcome="failed", expected="in CR, DX", seen="MR"),
        RuleOutcome(rule="view", field="dicom.ViewPosition", outcome="passed", expected="in AP, PA", seen="AP"),
    )
    await story.case("ineligible:modality", orders=(order,), rules=rules)
    await story.heard()

    (entry,) = await story.entries()

    assert entry.disposition == entry.reason == "ineligible:modality"
    assert entry.explanation == "modality (dicom.Modality) failed: saw MR, expected in CR, DX"
    (decided,) = [moment.detail for moment in entry.timeline if moment.what == "ineligible"]
    assert decided == (
        "modality (dicom.Modality) failed: saw MR, expected in CR, DX; "
        "view (dicom.ViewPosition) passed: saw AP, expected in AP, PA"
    )


async def test_what_waits_is_in_progress_until_it_is_due(story) -> None:
    order = await story.order()
    await story.case("waiting", study="", orders=(order,), instance_count=0, due_after=timedelta(seconds=30))
    await story.heard()

    (entry,) = await story.entries()
    assert (entry.disposition, entry.reason, entry.overdue) == ("in_progress", "waiting", False)
    assert entry.explanation == "no image has arrived"

    story.now += timedelta(seconds=60)
    (entry,) = await story.entries()
    assert entry.overdue


async def test_an_older_state_that_comes_late_changes_nothing(story) -> None:
    order = await story.order()
    await story.case("resulted", version=3, orders=(order,), result_id="r")
    await story.case("waiting", version=2, orders=(order,), due_after=timedelta(seconds=5))
    await story.heard()

    (entry,) = await story.entries()

    assert entry.disposition == "resulted"


async def test_pages_together_give_every_case_once(story) -> None:
    for number in range(5):
        order = await story.order(f"A{number}")
        await story.case("never_arrived", case_id=f"case-{number}", study="", orders=(order,), instance_count=0)
    await story.heard()

    first = await story.entries(Selection(limit=3))
    after = (min(e.timeline[0].at for e in first), first[-1].case_id)
    cases = await story.view(lambda view: view.cases())
    opened = next(case.opened_at for case in cases if case.case_id == after[1])
    rest = await story.entries(Selection(limit=3, after=(opened, after[1])))

    assert [entry.case_id for entry in first + rest] == [f"case-{number}" for number in range(5)]


async def test_one_accession_number_is_found_alone(story) -> None:
    await story.resulted_case("A1", "1.2.3", 1)
    await story.resulted_case("A2", "1.2.4", 2)
    await story.heard()

    assert [entry.accession_number for entry in await story.entries(Selection(accession_number="A2"))] == ["A2"]


async def test_two_orders_of_one_patient_do_not_share_a_timeline(story) -> None:
    await story.resulted_case("A1", "1.2.3", 1)
    await story.resulted_case("A2", "1.2.4", 2)
    await story.heard()

    for entry in await story.entries():
        assert sum(moment.what == "order_received" for moment in entry.timeline) == 1
