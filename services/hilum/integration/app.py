"""The use cases: plan what a result calls for, claim what may go, settle what came of it.

The guard is asked twice: when a delivery is planned, and in the transaction that claims it for sending.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from hilum.integration.domain import priority
from hilum.integration.domain.attempt import (
    CLAIMED_FOR,
    HELD,
    HELD_BY_PEER,
    PLANNED,
    DeliveryRecord,
    Landed,
    Outcome,
    Persistence,
    Refused,
    abandoned,
    settled,
    stopped,
    suppressed,
)
from hilum.integration.domain.plan import IDENTITY_CONFLICT, Destination, Kind, Standing, judge, plan
from hilum.integration.domain.priority import Ratchet
from hilum.integration.domain.rule import Rule
from hilum.integration.ports import Assignment, KnownResult, State

SUPERSEDED = Rule("superseded", "A newer run of the same algorithm on this study takes its place.")
RESULT_LOST = Rule("result_lost", "The result, its case or the package that made it is not known any more.")
_LEASE = timedelta(seconds=30)
_AGAIN = timedelta(seconds=0.5)
_PRIORITY_FIRST = timedelta(seconds=2)
# What goes with a priority is looked at so much later: by then the priority has mostly landed, alone on the way.
_AFTER_PRIORITY = timedelta(seconds=0.25)


def apply_case(state: State, case_id: str, destinations: tuple[Destination, ...], now: datetime) -> bool:
    """A case changed: plan what waited for it, and look again at what the change may have freed or stopped.

    Returns whether the case has deliveries at all: without any, there is nothing that could be sent now.
    """
    for known in state.unplanned(case_id):
        plan_result(state, known, destinations, now)
    case = state.case(case_id)
    if case is None:
        return False
    records = state.of_case(case_id)
    for record in records:
        if record.claimed:
            continue  # its attempt is settled first; the guard looks again before another
        if record.state == HELD and record.reason == IDENTITY_CONFLICT.code and not case.conflict:
            _publish(state, replace(record, state=PLANNED, reason="", next_at=now), now)
        elif record.state == HELD and record.reason in HELD_BY_PEER:
            state.save(replace(record, next_at=now))
        elif record.state == PLANNED and case.conflict:
            _publish(state, stopped(record, Standing.HELD, IDENTITY_CONFLICT), now)
    return bool(records)


def plan_result(state: State, known: KnownResult, destinations: tuple[Destination, ...], now: datetime) -> None:
    """Write a row for each delivery that the result calls for; waits where its case is not known yet."""
    result = known.result
    case = state.case(result.case_id)
    if case is None:
        return
    case = replace(case, observed_at=now)  # how fresh the projection is matters at send, not here
    records = state.of_case(result.case_id)
    ratchets = {d.name: _ratchet(records, d.name, "") for d in destinations}
    reruns = [record for record in records if _same_algorithm(record, known)]
    for record in reruns:
        older = record.delivery.revision < result.revision
        if older and record.open and not record.claimed:
            _publish(state, stopped(record, Standing.SUPPRESSED, SUPERSEDED), now)
    late = any(record.delivery.revision > result.revision for record in reruns)
    planned = plan(result, case, destinations, ratchets, now)
    raises = any(delivery.kind is Kind.PRIORITY and delivery.standing is Standing.DUE for delivery in planned)
    for delivery in planned:
        record = DeliveryRecord(
            id=delivery.id,
            delivery=delivery,
            result_id=result.result_id,
            site=case.site,
            study_instance_uid=case.study_instance_uid,
            state={Standing.DUE: PLANNED, Standing.HELD: HELD}.get(delivery.standing, ""),
            reason=delivery.rule.code if delivery.rule else "",
            planned_at=now,
            next_at=now + _AFTER_PRIORITY if raises and delivery.kind is not Kind.PRIORITY else now,
            case_version=case.version,
            headers=known.headers,
        )
        if late:
            record = stopped(record, Standing.SUPPRESSED, SUPERSEDED)
        elif delivery.standing is Standing.SUPPRESSED and delivery.rule is not None:
            record = replace(record, state=suppressed(delivery.rule))
        if state.add(record):
            _publish(state, record, now)
    state.planned(result.result_id)


def withheld(now: datetime, fresh_at: datetime | None) -> bool:
    """Nothing is sent before policies and cases were read to their end, nor long after they last were."""
    return fresh_at is None or now - fresh_at > _LEASE


def claim(
    state: State, destination: Destination, now: datetime, fresh_at: datetime | None, limit: int, holder: str
) -> Sequence[Assignment]:
    """What may be sent to ``destination`` now, after the guard. Runs in one transaction.

    ``holder`` has nothing in hand when it asks: what it holds all the same, it was given and did not hear of.
    ``fresh_at`` is when the projection was last known to hold every case change and policy; priorities wait for it.
    """
    claimed: list[Assignment] = []
    if withheld(now, fresh_at):
        return claimed
    held = {found.id: found for found in state.held_by(destination.name, holder)}
    due = {found.id: found for found in state.due(destination.name, now, limit)}
    for found in (held | due).values():
        record = replace(found, holder="") if found.holder in ("", holder) else abandoned(found)
        known = state.result(record.result_id)
        case = state.case(record.delivery.case_id)
        if known is None or case is None:
            _publish(state, stopped(record, Standing.SUPPRESSED, RESULT_LOST), now)
            continue
        case = replace(case, observed_at=fresh_at)
        beside = state.of_case(case.case_id)
        if _waits_for_priority(beside, record, now):
            state.save(replace(record, next_at=now + _AFTER_PRIORITY))
            continue
        if known.result.policy_awaited or _another_is_on_its_way(beside, record):
            state.save(replace(record, next_at=now + _AGAIN))
            continue
        if _has_newer(beside, record):
            _publish(state, stopped(record, Standing.SUPPRESSED, SUPERSEDED), now)
            continue
        ratchet = _ratchet(beside, destination.name, record.id)
        standing, rule = judge(record.delivery.kind, known.result, case, destination, ratchet=ratchet, now=now)
        if rule is priority.PROJECTION_STALE:
            state.save(replace(record, next_at=now + _AGAIN))
            continue
        seen = replace(record, case_version=case.version)
        if record.case_version != case.version and not record.reached:
            # Nobody has seen it yet: an order sent back as it was would undo what came since.
            seen = replace(seen, sha256=b"", object_key="")
        if standing is not Standing.DUE:
            _publish(state, stopped(seen, standing, rule), now)
            continue
        if record.delivery.kind is Kind.PRIORITY:
            seen = replace(seen, priority=priority.proposed(known.result) or "")
        # Its holder's until it is settled, or too old; a restart takes it, too (`recover`).
        seen = replace(seen, next_at=now + CLAIMED_FOR, holder=holder)
        state.save(seen)
        claimed.append(Assignment(seen, known.result, case))
    return claimed


def settle(
    state: State,
    outcomes: Sequence[tuple[DeliveryRecord, Outcome]],
    persistence: Persistence,
    now: datetime,
) -> None:
    """Write down what became of each attempt, and state it where it changed. Runs in one transaction.

    An attempt whose claim has passed on is not written down: it was settled before, or is another's by now.
    """
    for record, outcome in outcomes:
        known = state.record(record.id)
        if known is None or known.holder != record.holder:
            continue
        after = replace(settled(record, outcome, persistence, now), holder="")
        if isinstance(outcome, Landed | Refused):
            state.forget_document(record.id)  # it is in the object store by now
        if (after.state, after.reason) == (record.state, record.reason):
            state.save(after)
        else:
            _publish(state, after, now)


def _publish(state: State, record: DeliveryRecord, now: datetime) -> None:
    counted = replace(record, changes=record.changes + 1)
    state.save(counted)
    state.publish(counted, now)


def _has_newer(beside: Sequence[DeliveryRecord], record: DeliveryRecord) -> bool:
    """Whether a rerun was planned while this one was on its way or held."""
    mine = record.delivery
    return any(
        (other.delivery.algorithm, other.delivery.version) == (mine.algorithm, mine.version)
        and other.delivery.revision > mine.revision
        for other in beside
    )


def _same_algorithm(record: DeliveryRecord, known: KnownResult) -> bool:
    algorithm = known.result.algorithm
    return (record.delivery.algorithm, record.delivery.version) == (algorithm.name, algorithm.version)


def _ratchet(records: Sequence[DeliveryRecord], destination: str, own: str) -> Ratchet:
    """What this destination has, or may have, been sent for the case, apart from the delivery itself."""
    sent = [
        (record.priority, record.delivery.algorithm, record.delivery.version)
        for record in records
        if record.delivery.destination == destination
        and record.delivery.kind is Kind.PRIORITY
        and record.raised
        and record.id != own
    ]
    return Ratchet(tuple(sent))


def _another_is_on_its_way(beside: Sequence[DeliveryRecord], record: DeliveryRecord) -> bool:
    """A priority waits for the other priorities of its case: what they come to decides whether it still raises."""
    mine = record.delivery
    return mine.kind is Kind.PRIORITY and any(
        other.claimed
        and other.id != record.id
        and (other.delivery.kind, other.delivery.destination) == (mine.kind, mine.destination)
        for other in beside
    )


def _waits_for_priority(beside: Sequence[DeliveryRecord], record: DeliveryRecord, now: datetime) -> bool:
    """The priority goes first: what else there is of a result waits for its first attempt, but not for long."""
    if record.delivery.kind is Kind.PRIORITY or now - record.planned_at > _PRIORITY_FIRST:
        return False
    return any(
        other.delivery.kind is Kind.PRIORITY
        and other.result_id == record.result_id
        and other.open
        and other.failures == 0
        for other in beside
    )
