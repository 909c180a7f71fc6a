"""What the guard lets go, and when: claims, crashes, reruns and policies, on the real store with a given time."""

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import pytest

from hilum.contracts.findings.v1.findings_pb2 import Result
from hilum.contracts.policies.v1.policies_pb2 import Policy
from hilum.integration.adapters.state import SqlState, SqlTransactions
from hilum.integration.adapters.tables import METADATA
from hilum.integration.app import apply_case, claim, plan_result, settle
from hilum.integration.domain.attempt import (
    CLAIMED_FOR,
    DeliveryRecord,
    Failed,
    Held,
    Landed,
    Outcome,
    Persistence,
    Refused,
)
from hilum.integration.domain.plan import Destination, Peer
from hilum.integration.ports import Assignment
from hilum.packages import load_all
from hilum.store.sql import open_sqlite
from scenes.results import NOW
from scenes.system import ALGORITHM, VERSION, case_message, result_message, write_package

EHR, RIS = Destination("ehr", Peer.EHR), Destination("ris", Peer.RIS)
BOTH = (EHR, RIS)
THRICE = Persistence(3, timedelta(seconds=1))
T = TypeVar("T")

_NUMBERS = count()


class Desk:
    """Integration's use cases at a time that the test tells."""

    def __init__(self, transactions: SqlTransactions) -> None:
        self._transactions = transactions

    def do(self, work: Callable[[SqlState], T]) -> T:
        return asyncio.run(self._transactions.transact(work))  # type: ignore[arg-type]

    def case(self, version: int = 1, now: datetime = NOW, **changes: Any) -> None:
        message = case_message(version=version, **changes)
        message.ClearField("algorithms")

        def work(state: SqlState) -> None:
            if state.put_case(message):
                apply_case(state, message.case_id, BOTH, now)

        self.do(work)

    def result(self, message: Result, now: datetime = NOW) -> None:
        def work(state: SqlState) -> None:
            known = state.put_result(message, {})
            if known is not None:
                plan_result(state, known, BOTH, now)

        self.do(work)

    def policy(self, revision: int, state: str, version: str = VERSION) -> None:
        message = Policy(algorithm=ALGORITHM, algorithm_version=version, state=state, revision=revision)
        self.do(lambda tables: tables.put_policy(message))

    def claimed(
        self, destination: Destination, now: datetime = NOW, *, fresh_at: datetime | None = NOW, holder: str = ""
    ) -> list[Assignment]:
        """As ``holder``; by default each time as somebody else."""
        holder = holder or str(next(_NUMBERS))
        return list(self.do(lambda state: claim(state, destination, now, fresh_at, 16, holder)))

    def settled(self, assignment: Assignment, outcome: Outcome, now: datetime = NOW) -> None:
        self.do(lambda state: settle(state, [(assignment.record, outcome)], THRICE, now))

    def restart(self, now: datetime) -> None:
        asyncio.run(self._transactions.recover(now))

    def rendered(self, record: DeliveryRecord) -> None:
        self.do(lambda state: state.save(replaced(record, object_key="deliveries/x", sha256=b"x")))

    def documented(self, record: DeliveryRecord, data: bytes) -> bool:
        return asyncio.run(self._transactions.rendered(replaced(record, object_key="deliveries/x", sha256=data)))

    def record(self, delivery_id: str) -> DeliveryRecord:
        found = self.do(lambda state: state.record(delivery_id))
        assert found is not None
        return found

    def states(self, destination: Destination) -> dict[int, str]:
        """State by revision."""
        records = self.do(lambda state: state.of_case("case-1"))
        return {r.delivery.revision: r.state for r in records if r.delivery.destination == destination.name}


def replaced(record: DeliveryRecord, **changes: Any) -> DeliveryRecord:
    return DeliveryRecord(**{**record.__dict__, **changes})


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    packages = {(p.name, p.version): p for p in load_all(write_package(tmp_path / "models"))}
    store = open_sqlite(tmp_path / "integration.db", METADATA)
    yield Desk(SqlTransactions(store, packages, frozenset()))
    store.close()


def later(**span: float) -> datetime:
    return NOW + timedelta(**span)


def pinned(revision: int, **changes: Any) -> Result:
    message = result_message(**changes)
    message.policy_revision = revision
    return message


def test_a_claim_whose_answer_was_lost_is_given_again(desk: Desk) -> None:
    """Found by the seeded world: the claim committed, its dispatcher did not hear of it and asked again."""
    desk.case()
    desk.result(result_message())
    (first,) = desk.claimed(RIS, holder="one")
    (again,) = desk.claimed(RIS, holder="one")
    assert again.record == first.record
    desk.settled(again, Landed(()))
    assert desk.claimed(RIS, holder="one") == []


def test_a_priority_waits_for_another_of_its_case_that_is_on_its_way(desk: Desk) -> None:
    """Found by the seeded world: of two processes, one sent A while the other was sending S."""
    desk.case()
    desk.result(result_message())
    (first,) = desk.claimed(RIS, holder="one")
    desk.result(result_message("result-2", revision=2), later(seconds=1))
    then = later(seconds=3)
    assert desk.claimed(RIS, then, fresh_at=then, holder="two") == []
    assert desk.states(RIS) == {1: "planned", 2: "planned"}
    desk.settled(first, Landed(()), then)
    then = later(seconds=5)
    assert desk.claimed(RIS, then, fresh_at=then, holder="two") == []
    assert desk.states(RIS) == {1: "landed", 2: "suppressed:already_raised"}


def test_a_claim_is_given_once_however_old_it_is(desk: Desk) -> None:
    desk.case()
    desk.result(result_message())
    assert len(desk.claimed(RIS, holder="one")) == 1
    then = NOW + CLAIMED_FOR + timedelta(minutes=1)
    assert len(desk.claimed(RIS, then, fresh_at=then, holder="one")) == 1


def test_a_priority_that_was_refused_on_its_second_way_may_have_arrived_on_its_first(desk: Desk) -> None:
    desk.case()
    desk.result(result_message())
    (first,) = desk.claimed(RIS)
    desk.settled(first, Failed("ris_no_answer", in_doubt=True))
    then = later(minutes=1)
    (again,) = desk.claimed(RIS, then, fresh_at=then)
    desk.settled(again, Refused("ris_refused"), then)
    assert desk.record(again.record.id).raised


def test_a_document_is_written_down_by_the_holder_alone(desk: Desk) -> None:
    """Found by the seeded world: two processes rendered one delivery, each from another state of its case."""
    desk.case()
    desk.result(result_message())
    (mine,) = desk.claimed(RIS, holder="one")
    desk.restart(NOW)
    (theirs,) = desk.claimed(RIS, holder="two")
    assert desk.documented(theirs.record, b"theirs")
    assert not desk.documented(mine.record, b"mine")
    desk.settled(theirs, Landed(()))
    assert desk.states(RIS) == {1: "landed"}


def test_an_attempt_is_settled_by_its_holder_and_once(desk: Desk) -> None:
    """Found by the seeded world: a settlement whose answer was lost was written down again, over what came after."""
    desk.case()
    desk.result(result_message())
    (assignment,) = desk.claimed(RIS)
    desk.settled(assignment, Landed(()))
    desk.settled(assignment, Failed("ris_no_answer", in_doubt=True))
    assert desk.states(RIS) == {1: "landed"}


@pytest.mark.parametrize("fresh_at", [None, later(seconds=-31)])
def test_nothing_is_sent_before_the_topics_were_read_nor_long_after(desk: Desk, fresh_at: datetime | None) -> None:
    desk.case()
    desk.result(result_message())
    assert desk.claimed(RIS, fresh_at=fresh_at) == []
    assert len(desk.claimed(RIS)) == 1


def test_what_is_on_its_way_is_claimed_once(desk: Desk) -> None:
    desk.case()
    desk.result(result_message())
    assert len(desk.claimed(RIS)) == 1
    soon = NOW + CLAIMED_FOR - timedelta(seconds=1)
    assert desk.claimed(RIS, soon, fresh_at=soon) == []


def test_a_claim_whose_holder_is_gone_for_long_passes_on_and_is_in_doubt(desk: Desk) -> None:
    """Found by the seeded world: one of two processes died with a delivery on its way."""
    desk.case()
    desk.result(result_message())
    (first,) = desk.claimed(RIS)
    desk.rendered(first.record)
    then = NOW + CLAIMED_FOR
    (again,) = desk.claimed(RIS, then, fresh_at=then)
    assert again.record.in_doubt
    desk.settled(first, Failed("ris_no_answer"), then)
    assert desk.claimed(RIS, then, fresh_at=then) == []


@pytest.mark.parametrize("away", [timedelta(minutes=1), timedelta(hours=23), timedelta(days=40)])
def test_a_crash_leaves_nothing_claimed_however_long_the_house_stood_still(desk: Desk, away: timedelta) -> None:
    desk.case()
    desk.result(result_message())
    (assignment,) = desk.claimed(EHR, later(seconds=3), fresh_at=NOW)
    desk.rendered(assignment.record)
    then = NOW + away
    desk.restart(then)
    (again,) = desk.claimed(EHR, then, fresh_at=then)
    assert again.record.in_doubt


def test_a_rerun_takes_the_place_of_what_waits(desk: Desk) -> None:
    desk.case()
    desk.result(result_message())
    desk.result(result_message("result-2", revision=2))
    assert desk.states(EHR) == {1: "suppressed:superseded", 2: "planned"}


def test_a_rerun_takes_the_place_of_what_the_ehr_holds(desk: Desk) -> None:
    desk.case()
    desk.result(result_message())
    (first,) = desk.claimed(EHR, later(seconds=3), fresh_at=NOW)
    desk.settled(first, Held("patient_unknown"))
    desk.result(result_message("result-2", revision=2))
    assert desk.states(EHR) == {1: "suppressed:superseded", 2: "planned"}


def test_a_rerun_takes_the_place_of_what_a_conflict_holds(desk: Desk) -> None:
    desk.case(conflict="conflict:identity")
    desk.result(result_message())
    desk.result(result_message("result-2", revision=2))
    desk.case(version=2)
    assert desk.states(EHR) == {1: "suppressed:superseded", 2: "planned"}


def test_an_older_run_that_comes_late_is_not_sent(desk: Desk) -> None:
    desk.case()
    desk.result(result_message("result-2", revision=2))
    desk.result(result_message())
    assert desk.states(EHR) == {1: "suppressed:superseded", 2: "planned"}


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (Landed(()), "landed"),
        (Refused("fhir_refused"), "refused"),
        (Failed("fhir_busy"), "suppressed:superseded"),
        (Failed("fhir_timeout", in_doubt=True), "unconfirmed"),
    ],
)
def test_what_is_on_its_way_when_a_rerun_comes_ends_as_it_ended(desk: Desk, outcome: Outcome, state: str) -> None:
    desk.case()
    desk.result(result_message())
    (first,) = desk.claimed(EHR, later(seconds=3), fresh_at=NOW)
    desk.result(result_message("result-2", revision=2), later(seconds=3))
    desk.settled(first, outcome, later(seconds=4))
    desk.claimed(EHR, later(seconds=10), fresh_at=later(seconds=10))
    assert desk.states(EHR)[1] == state


def test_a_priority_that_may_have_arrived_is_not_raised_again_by_a_rerun(desk: Desk) -> None:
    desk.case()
    desk.result(result_message())
    (first,) = desk.claimed(RIS)
    desk.result(result_message("result-2", revision=2), later(seconds=1))
    desk.settled(first, Failed("ris_no_answer", in_doubt=True), later(seconds=2))
    now = later(seconds=60)
    assert desk.claimed(RIS, now, fresh_at=now) == []
    assert desk.states(RIS) == {1: "unconfirmed", 2: "suppressed:already_raised"}


def test_a_priority_in_doubt_that_is_held_counts_as_raised(desk: Desk) -> None:
    desk.case()
    desk.result(result_message())
    (first,) = desk.claimed(RIS)
    desk.settled(first, Failed("ris_no_answer", in_doubt=True))
    desk.case(version=2, conflict="conflict:identity")
    (held,) = [r for r in desk.do(lambda state: state.of_case("case-1")) if r.delivery.destination == "ris"]
    assert (held.state, held.raised) == ("held", True)


def test_a_conflict_does_not_touch_what_is_on_its_way(desk: Desk) -> None:
    desk.case()
    desk.result(result_message())
    (first,) = desk.claimed(RIS)
    desk.case(version=2, conflict="conflict:identity")
    assert desk.states(RIS) == {1: "planned"}
    desk.settled(first, Failed("ris_ar"), later(seconds=1))
    now = later(seconds=10)
    assert desk.claimed(RIS, now, fresh_at=now) == []
    assert desk.states(RIS) == {1: "held"}


@pytest.mark.parametrize(
    ("then", "now"), [("silent", "live"), ("live", "silent"), ("off", "live"), ("live", "off"), ("silent", "off")]
)
def test_the_stricter_of_the_task_s_policy_and_the_newest_counts(desk: Desk, then: str, now: str) -> None:
    desk.policy(3, then)
    desk.policy(4, now)
    desk.case()
    desk.result(pinned(3))
    assert desk.states(EHR) == {1: "suppressed:algorithm_silent"}


def test_a_policy_that_came_after_the_plan_counts_at_the_send(desk: Desk) -> None:
    desk.policy(3, "live")
    desk.case()
    desk.result(pinned(3))
    desk.policy(4, "off")
    assert desk.claimed(EHR, later(seconds=3)) == []
    assert desk.states(EHR) == {1: "suppressed:algorithm_silent"}


@pytest.mark.parametrize(("state", "sent"), [("live", 1), ("silent", 0)])
def test_a_result_waits_for_the_policy_of_its_task(desk: Desk, state: str, sent: int) -> None:
    desk.policy(3, "live" if state == "silent" else "silent")
    desk.case()
    desk.result(pinned(4))
    assert desk.claimed(EHR, later(seconds=3)) == []
    assert desk.states(EHR) == {1: "planned"}
    desk.policy(4, state)
    # The newest alone decides of live; a silent one before it was another task's.
    assert len(desk.claimed(EHR, later(seconds=5))) == sent


def test_a_document_that_nobody_saw_is_made_again_of_the_case_as_it_is_now(desk: Desk) -> None:
    desk.case()
    desk.result(result_message())
    (first,) = desk.claimed(RIS)
    desk.rendered(first.record)
    sent = replaced(first.record, object_key="deliveries/x", sha256=b"x")
    desk.settled(Assignment(sent, first.result, first.case), Failed("ris_unreachable", reached=False))
    now = later(seconds=5)
    (again,) = desk.claimed(RIS, now, fresh_at=now)
    assert again.record.object_key == "deliveries/x"
    desk.settled(again, Failed("ris_unreachable", reached=False), now)
    desk.case(version=2)
    now = later(seconds=15)
    (changed,) = desk.claimed(RIS, now, fresh_at=now)
    assert (changed.record.object_key, changed.record.case_version) == ("", 2)


@pytest.mark.parametrize("outcome", [Failed("ris_ar"), Failed("ris_no_answer", in_doubt=True)])
def test_a_document_that_the_peer_may_have_seen_stays_as_it_is(desk: Desk, outcome: Failed) -> None:
    desk.case()
    desk.result(result_message())
    (first,) = desk.claimed(RIS)
    sent = replaced(first.record, object_key="deliveries/x", sha256=b"x")
    desk.settled(Assignment(sent, first.result, first.case), outcome)
    desk.case(version=2)
    now = later(seconds=5)
    (again,) = desk.claimed(RIS, now, fresh_at=now)
    assert again.record.object_key == "deliveries/x"


def test_what_goes_with_a_priority_is_looked_at_when_the_priority_has_mostly_landed(desk: Desk) -> None:
    desk.case()
    desk.result(result_message())
    assert desk.claimed(EHR) == []
    (priority,) = desk.claimed(RIS)
    desk.settled(priority, Landed(()))
    assert desk.claimed(EHR, later(seconds=0.2)) == []
    assert len(desk.claimed(EHR, later(seconds=0.25))) == 1


def test_without_a_priority_nothing_waits_for_one(desk: Desk) -> None:
    desk.case(report_status="F")
    desk.result(result_message())
    assert desk.claimed(RIS) == []
    assert len(desk.claimed(EHR)) == 1


def test_a_case_without_deliveries_wakes_nobody(desk: Desk) -> None:
    """Dispatchers look only where something could be sent: most changes of a case come before its first result."""
    told = case_message()

    def changed(state: SqlState) -> bool:
        state.put_case(told)
        return apply_case(state, told.case_id, BOTH, NOW)

    assert desk.do(changed) is False
    desk.result(result_message())
    told.version += 1
    assert desk.do(changed) is True


def test_a_document_is_kept_while_its_delivery_is_on_its_way(desk: Desk) -> None:
    desk.case()
    desk.result(result_message())
    (first,) = desk.claimed(RIS)
    desk.do(lambda state: state.keep_document(first.record.id, b"one"))
    desk.do(lambda state: state.keep_document(first.record.id, b"as it is now"))
    desk.settled(first, Failed("ris_no_answer", in_doubt=True))
    assert desk.do(lambda state: state.document(first.record.id)) == b"as it is now"
    now = later(seconds=5)
    (again,) = desk.claimed(RIS, now, fresh_at=now)
    desk.settled(again, Landed(()), now)
    assert desk.do(lambda state: state.document(first.record.id)) is None
