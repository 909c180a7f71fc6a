"""What follows from an attempt: bounded where the peer was there, patient where it was not, doubtful in between."""

from dataclasses import replace
from datetime import timedelta

from hilum.integration.domain import priority
from hilum.integration.domain.attempt import (
    DeliveryRecord,
    Failed,
    Held,
    Landed,
    Persistence,
    Proof,
    Refused,
    settled,
    stopped,
)
from hilum.integration.domain.plan import IDENTITY_CONFLICT, Delivery, Kind, Standing
from scenes.results import NOW

TWICE = Persistence(attempts=2, retry=timedelta(seconds=2))


def record() -> DeliveryRecord:
    delivery = Delivery("ris", "case-1", "a", "1.0.0", Kind.PRIORITY, 1, Standing.DUE)
    return DeliveryRecord("d", delivery, "result-1", "north", "1.2.3", "planned", NOW, NOW)


def test_landed_keeps_the_proof_and_forgets_the_reason() -> None:
    after = settled(replace(record(), reason="ris_no_answer"), Landed((Proof("x", "y"),)), TWICE, NOW)
    assert (after.state, after.reason, after.proofs, after.attempts) == ("landed", "", (Proof("x", "y"),), 1)


def test_refused_is_the_end() -> None:
    after = settled(record(), Refused("ris_ae"), TWICE, NOW)
    assert (after.state, after.reason, after.open) == ("refused", "ris_ae", False)


def test_failures_that_reached_the_peer_are_bounded() -> None:
    once = settled(record(), Failed("ris_ar"), TWICE, NOW)
    assert (once.state, once.attempts, once.next_at) == ("planned", 1, NOW + timedelta(seconds=2))
    assert settled(once, Failed("ris_ar"), TWICE, NOW).state == "refused"


def test_doubt_once_is_doubt_for_ever() -> None:
    doubtful = settled(record(), Failed("ris_no_answer", in_doubt=True), TWICE, NOW)
    after = settled(doubtful, Failed("ris_ar"), TWICE, NOW)
    assert (after.state, after.reason) == ("unconfirmed", "ris_ar")
    assert after.raised


def test_an_absent_peer_is_waited_for_longer_and_longer_but_not_for_ever_longer() -> None:
    now, waits = record(), []
    for _ in range(8):
        now = settled(now, Failed("ris_unreachable", reached=False), TWICE, NOW)
        waits.append((now.next_at - NOW).total_seconds())
    assert waits == [2, 4, 8, 16, 32, 60, 60, 60]
    assert (now.state, now.attempts, now.raised) == ("planned", 0, False)


def test_the_peer_s_own_wish_is_honoured_within_reason() -> None:
    for wish, waited in ((7, 7), (1800, 1800), (7200, 3600)):
        after = settled(record(), Failed("fhir_busy", after=timedelta(seconds=wish)), TWICE, NOW)
        assert after.next_at == NOW + timedelta(seconds=waited)


def test_held_by_the_peer_is_asked_again_later() -> None:
    after = settled(record(), Held("patient_unknown"), TWICE, NOW)
    assert (after.state, after.reason, after.next_at > NOW) == ("held", "patient_unknown", True)
    waits = []
    for _ in range(8):
        after = settled(after, Held("patient_unknown"), TWICE, NOW)
        waits.append((after.next_at - NOW).total_seconds())
    assert waits == [120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert settled(after, Failed("fhir_timeout", in_doubt=True), TWICE, NOW).state == "planned"


def test_the_guard_suppresses_what_was_not_sent() -> None:
    after = stopped(record(), Standing.SUPPRESSED, priority.REPORT_FINAL)
    assert after.state == "suppressed:report_final"
    assert not after.raised


def test_the_guard_calls_unconfirmed_what_may_have_been_sent() -> None:
    after = stopped(replace(record(), in_doubt=True), Standing.SUPPRESSED, priority.REPORT_FINAL)
    assert (after.state, after.reason) == ("unconfirmed", "report_final")


def test_a_conflict_holds() -> None:
    assert stopped(record(), Standing.HELD, IDENTITY_CONFLICT).state == "held"
