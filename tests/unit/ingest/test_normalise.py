"""From messages to facts."""

from datetime import UTC, datetime

import pytest

from hilum.hl7.judge import judge
from hilum.ingest.domain.facts import Code, Fact, Identifier, OrderFact, PatientFact, ReportFact
from hilum.ingest.domain.feeds import Feeds
from hilum.ingest.domain.normalise import Normaliser

AT = datetime(2024, 1, 15, 12, tzinfo=UTC)


def facts_of(raw: bytes, feeds: Feeds) -> list[Fact]:
    verdict = judge(raw, feeds.rules)
    assert verdict.outcome.code == "AA"
    assert verdict.message is not None
    assert verdict.structure is not None
    taken, feed = feeds.taken(verdict.header), feeds.key(verdict.header)
    return list(Normaliser(feeds).facts(raw, verdict.message, verdict.structure, taken, feed, "message-1", AT))


def test_an_order_states_its_identifiers_with_who_assigned_them(corpus: dict[str, bytes], feeds: Feeds) -> None:
    (order,) = facts_of(corpus["omi-o23-2.5.1.hl7"], feeds)
    assert isinstance(order, OrderFact)
    assert order.source.feed == "north|RIS-A|NORTH"
    assert order.source.message_time == datetime(2024, 1, 15, 10, tzinfo=UTC)
    assert order.accession_number == Identifier("A3003", "NORTH")
    assert order.placer_order_number == Identifier("P1003", "HIS")
    assert order.study_instance_uid == "1.2.276.0.7230010.3.1.2.4711.3"
    assert (order.order_control, order.order_status, order.priority, order.modality) == ("NW", "SC", "A", "DX")
    assert order.procedure == Code("XCHEST", "Chest", "99NORTH")
    assert order.protocol == Code("XCH2", "Chest PA", "99NORTH")
    assert order.reason == "Cough"
    assert order.source_message == corpus["omi-o23-2.5.1.hl7"]


def test_the_sites_patient_identifier_comes_first_and_all_are_kept(corpus: dict[str, bytes], feeds: Feeds) -> None:
    (order,) = facts_of(corpus["orm-o01-2.3.1.hl7"], feeds)
    assert isinstance(order, OrderFact)
    assert order.patient.identifiers == (Identifier("4711", "NORTH", "MR"), Identifier("X99", "STATE", "SS"))
    assert (order.patient.family_name, order.patient.given_name, order.patient.birth_date) == (
        "Example",
        "Adèle",
        "19700102",
    )


def test_each_group_is_a_fact_with_its_ordinal(corpus: dict[str, bytes], feeds: Feeds) -> None:
    facts = facts_of(corpus["orm-o01-two-orders-2.4.hl7"], feeds)
    assert [fact.source.ordinal for fact in facts] == [0, 1]


def test_a_report_carries_text_and_status(corpus: dict[str, bytes], feeds: Feeds) -> None:
    (report,) = facts_of(corpus["oru-r01-2.5.1.hl7"], feeds)
    assert isinstance(report, ReportFact)
    assert report.result_status == "F"
    assert report.accession_number == Identifier("A3001")
    assert report.observations[0].value == "No pneumothorax.\nLines in place, 50^2."
    assert [seen.code.code for seen in report.observations] == ["59776-5", "19005-8", "ACR"]


def test_a_merge_states_who_is_retired(corpus: dict[str, bytes], feeds: Feeds) -> None:
    first, second = facts_of(corpus["adt-a40-two-merges-2.5.1.hl7"], feeds)
    assert isinstance(first, PatientFact)
    assert isinstance(second, PatientFact)
    assert first.trigger_event == "A40"
    assert first.merged == (Identifier("4700", "NORTH", "MR"),)
    assert second.merged == (Identifier("4699", "NORTH", "MR"),)


def test_a_deleted_value_is_absent(corpus: dict[str, bytes], feeds: Feeds) -> None:
    (event,) = facts_of(corpus["adt-a08-null-2.5.1.hl7"], feeds)
    assert event.patient.birth_date == ""


ORU = "MSH|^~\\&|{application}|NORTH|HILUM|NORTH|{time}||ORU^R01|1|P|2.5\rPID|||77\rOBR|1||F1^{authority}|X^Y^L\r"


def oru(application: str = "RIS-B", authority: str = "RIS", time: str = "20240115") -> bytes:
    return ORU.format(application=application, authority=authority, time=time).encode()


@pytest.mark.parametrize(("application", "authority"), [("RIS-B", "SOUTH"), ("RIS-A", "NORTH")])
def test_who_assigned_an_identifier_is_the_feeds_word_where_the_message_is_silent(
    application: str, authority: str, feeds: Feeds
) -> None:
    (report,) = facts_of(oru(application), feeds)
    assert report.patient.identifiers == (Identifier("77", authority),)


@pytest.mark.parametrize(("application", "authority"), [("HILUM", "RIS"), ("ROUTER", "HILUM")])
def test_our_own_results_coming_back_are_no_reports(application: str, authority: str, feeds: Feeds) -> None:
    assert facts_of(oru(application, authority), feeds) == []


def test_a_message_without_a_readable_time_has_that_of_its_arrival(feeds: Feeds) -> None:
    (report,) = facts_of(oru(time="yesterday"), feeds)
    assert report.source.message_time == AT


def test_local_time_is_of_the_sites_zone(feeds: Feeds) -> None:
    (report,) = facts_of(oru(time="202407010900"), feeds)
    assert report.source.message_time == datetime(2024, 7, 1, 7, tzinfo=UTC)


def test_a_feeds_own_path_is_followed(corpus: dict[str, bytes], feeds: Feeds) -> None:
    (order,) = facts_of(corpus["orm-o01-2.3.1.hl7"].replace(b"|RIS-A|", b"|RIS-B|"), feeds)
    assert isinstance(order, OrderFact)
    assert order.accession_number == Identifier("F2001", "RIS")


def test_blanks_around_an_identifier_do_not_make_another_of_it(corpus: dict[str, bytes], feeds: Feeds) -> None:
    """Also where it is retired: a merge that names it must meet the one that was kept."""
    kept = corpus["orm-o01-2.3.1.hl7"].replace(b"|4711^^^NORTH&", b"|  4711 ^^^ NORTH&")
    assert kept != corpus["orm-o01-2.3.1.hl7"]
    (order,) = facts_of(kept, feeds)
    assert isinstance(order, OrderFact)
    assert order.patient.identifiers == (Identifier("4711", "NORTH", "MR"), Identifier("X99", "STATE", "SS"))
    raw = corpus["adt-a40-two-merges-2.5.1.hl7"].replace(b"MRG|4700^", b"MRG| 4700 ^")
    assert raw != corpus["adt-a40-two-merges-2.5.1.hl7"]
    merge = facts_of(raw, feeds)[0]
    assert isinstance(merge, PatientFact)
    assert [identifier.value for identifier in merge.merged] == ["4700"]
