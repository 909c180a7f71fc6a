"""A delivery that nobody takes is told to a person, once, for as long as it is so."""

from datetime import timedelta

import pytest

PATIENCE = timedelta(minutes=10)


async def standing(story) -> list[tuple[str, str]]:
    return [(alarm.kind, alarm.detail) for alarm in await story.view(lambda view: view.alarms())]


@pytest.mark.parametrize(("state", "reason"), [("refused", "ris_ae"), ("unconfirmed", "ris_no_answer")])
async def test_what_the_peer_did_not_take_needs_a_person_at_once(story, state: str, reason: str) -> None:
    await story.resulted_case()
    await story.delivery(state, delivery_id="delivery-9", kind="structured_report", destination="pacs", reason=reason)
    await story.heard()
    assert await standing(story) == [("undelivered", f"structured_report to pacs is {state}: {reason}")]
    assert await story.watch_deliveries(PATIENCE) == []


@pytest.mark.parametrize(("state", "reason"), [("planned", "ris_unreachable"), ("held", "patient_unknown")])
async def test_what_waits_too_long_raises_one_alarm(story, state: str, reason: str) -> None:
    await story.resulted_case()
    await story.delivery(state, delivery_id="delivery-9", reason=reason)
    await story.heard()
    assert await story.watch_deliveries(PATIENCE) == []
    story.now += timedelta(minutes=11)
    assert await story.watch_deliveries(PATIENCE) == ["delivery-9"]
    assert await story.watch_deliveries(PATIENCE) == []
    assert await standing(story) == [("undelivered", f"priority to ris is {state}: {reason}")]


async def test_the_alarm_ends_when_it_lands(story) -> None:
    await story.resulted_case()
    await story.delivery("held", delivery_id="delivery-9", reason="patient_unknown")
    await story.heard()
    story.now += timedelta(minutes=11)
    await story.watch_deliveries(PATIENCE)
    proof = {"message_control_id": "H9", "acknowledgement_code": "AA"}
    await story.delivery("landed", delivery_id="delivery-9", proof=proof)
    await story.heard()
    assert await standing(story) == []


async def test_it_does_not_stand_in_for_an_alarm_of_overdue_work(story) -> None:
    await story.resulted_case()
    await story.delivery("refused", delivery_id="delivery-9", reason="ris_ae")
    order = await story.order("A1", "XO", "1.2.3")
    await story.case("tasked", version=3, orders=(order,), due_after=timedelta(seconds=1))
    await story.heard()
    story.now += timedelta(minutes=1)
    assert await story.broken() == {"identity:pneumothorax-phantom"}
