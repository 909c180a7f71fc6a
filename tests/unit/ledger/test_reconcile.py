"""Reconciliation holds for what adds up, and names each planted discrepancy."""

import hashlib
import json
from datetime import timedelta

import pytest

from hilum.contracts import topics
from hilum.contracts.findings.v1.findings_pb2 import Result
from hilum.errors import Rejected
from hilum.ledger.domain.part10 import data_set, sop_instance_uid
from hilum.ledger.domain.receipts import Receipt, bundle_names, parse_receipts
from hilum.ledger.domain.reconcile import is_proved


async def test_a_whole_system_adds_up(story) -> None:
    await story.resulted_case("A1", "1.2.3", 1)
    await story.resulted_case("A2", "1.2.4", 2)
    await story.heard()

    found = await story.reconcile()

    assert [check for check in found.checks if not check.holds] == []
    (identity,) = found.identities
    assert (identity.expected, identity.resulted, identity.in_progress) == (2, 2, 0)


async def test_each_coded_reason_is_counted(story) -> None:
    await story.resulted_case()
    order = await story.order("A2")
    await story.case("never_arrived", case_id="case-2", study="", orders=(order,), instance_count=0)
    other = await story.order("A3")
    due = timedelta(hours=1)
    await story.case("waiting", case_id="case-3", study="", orders=(other,), instance_count=0, due_after=due)
    await story.heard()

    (identity,) = (await story.reconcile()).identities

    assert identity.holds
    assert identity.expected == 3
    assert dict(identity.reasons) == {"never_arrived": 1}
    assert identity.in_progress == 1


async def test_an_order_that_no_case_took_up_is_missed(story) -> None:
    await story.resulted_case()
    await story.order("A2")
    await story.heard()

    assert await story.broken() == {"orders_in_cases", "identity:pneumothorax-phantom"}


async def test_a_study_that_no_case_took_up_is_missed(story) -> None:
    await story.resulted_case()
    await story.image("1.2.9", accession="")
    await story.heard()

    assert await story.broken() == {"studies_in_cases", "identity:pneumothorax-phantom"}


async def test_a_case_without_an_entry_for_an_algorithm_breaks_the_sum(story) -> None:
    await story.resulted_case()
    await story.heard()
    await story.store.transact(lambda tx: tx.connection.exec_driver_sql("DELETE FROM case_algorithms"))

    assert "identity:pneumothorax-phantom" in await story.broken()


async def test_a_case_that_nothing_accounts_for_is_named(story) -> None:
    await story.resulted_case()
    await story.case("resulted", case_id="case-9", study="1.2.9", result_id="result-1")
    await story.heard()

    assert await story.broken() == {"cases_explained", "identity:pneumothorax-phantom"}


async def test_one_study_in_two_cases_is_named(story) -> None:
    await story.resulted_case()
    await story.case("resulted", case_id="case-9", study="1.2.3", result_id="result-1")
    await story.heard()

    assert await story.broken() == {"one_case_each", "identity:pneumothorax-phantom"}


async def test_a_superseded_case_whose_order_was_taken_over_is_no_second_case(story) -> None:
    await story.resulted_case()
    order = story.order_of("event-2", "A1", "CM", "1.2.3")
    await story.case("superseded", case_id="case-0", study="", orders=(order,), instance_count=0)
    await story.heard()

    assert await story.broken() == set()


async def test_a_superseded_case_whose_order_nobody_took_over_is_named(story) -> None:
    await story.resulted_case()
    order = await story.order("A2")
    await story.case("superseded", case_id="case-0", study="", orders=(order,), instance_count=0)
    await story.heard()

    assert "cases_explained" in await story.broken()


async def test_an_algorithm_is_not_expected_of_what_was_over_before_it_came(story) -> None:
    order = await story.order("A0")
    await story.case("never_arrived", case_id="case-0", study="", orders=(order,), instance_count=0)
    await story.heard()
    await story.store.transact(lambda tx: tx.connection.exec_driver_sql("DELETE FROM case_algorithms"))
    await story.policy()
    await story.heard()
    await story.store.transact(
        lambda tx: tx.connection.exec_driver_sql("UPDATE policies SET first_at = first_at + 3600000000")
    )

    (identity,) = (await story.reconcile()).identities

    assert identity.expected == 0
    assert identity.holds


@pytest.mark.parametrize("late", [True, False])
async def test_overdue_work_needs_an_alarm(story, late: bool) -> None:
    order = await story.order("A1")
    await story.case("tasked", orders=(order,), due_after=timedelta(minutes=1))
    await story.image()
    await story.heard()
    story.now += timedelta(minutes=2) if late else timedelta(seconds=2)

    assert ("identity:pneumothorax-phantom" in await story.broken()) is late
    assert await story.watch() == int(late)
    assert await story.watch() == 0
    assert "identity:pneumothorax-phantom" not in await story.broken()


async def test_an_alarm_clears_when_the_result_comes(story) -> None:
    order = await story.order("A1")
    await story.case("tasked", orders=(order,), due_after=timedelta(seconds=1))
    await story.heard()
    story.now += timedelta(minutes=1)
    assert await story.watch() == 1
    await story.case("resulted", version=2, orders=(order,), result_id="result-1")
    await story.heard()
    await story.watch()

    assert await story.view(lambda view: view.open_alarms()) == set()
    (entry,) = await story.entries()
    assert [moment.what for moment in entry.timeline if "alarm" in moment.what] == [
        "alarm overdue",
        "alarm overdue cleared",
    ]


async def test_an_accepted_message_without_a_trace_is_lost(story) -> None:
    await story.resulted_case()
    await story.message("LOST")
    await story.heard()

    assert await story.broken() == {"messages_accounted"}


@pytest.mark.parametrize(
    ("kind", "sender", "code"),
    [(b"ACK", b"RIS", "AA"), (b"ORU^R01", b"HILUM", "AA"), (b"ORM^O01", b"RIS", "AE")],
    ids=["an acknowledgement", "a result of ours that came back", "refused"],
)
async def test_a_message_that_rightly_has_no_effect_is_accounted_for(story, kind, sender, code) -> None:
    await story.resulted_case()
    await story.message("M9", kind, sender, code)
    await story.heard()

    assert await story.broken() == set()


async def test_a_repeat_of_an_accounted_message_is_accounted_for(story) -> None:
    await story.resulted_case()
    await story.message("M-A1-CM")
    await story.heard()

    assert await story.broken() == set()


async def test_a_dead_letter_accounts_for_its_message(story) -> None:
    await story.resulted_case()
    await story.dead_letter(await story.message("M9"))
    await story.heard()

    assert await story.broken() == set()


async def test_a_refused_message_that_is_no_dead_letter_is_missed(story) -> None:
    await story.resulted_case()
    await story.message("M9", code="AE", kept=False)
    await story.heard()

    assert await story.broken() == {"refusals_kept"}


async def test_one_control_id_with_two_contents_raises_an_alarm(story) -> None:
    await story.message("M1")
    await story.message("M1", b"ORM^O02")
    await story.heard()

    kinds = await story.store.transact(lambda tx: tx.connection.exec_driver_sql("SELECT kind FROM alarms").all())
    assert [kind for (kind,) in kinds] == ["control_id_reused"]


async def test_an_image_that_left_the_store_is_missed(story) -> None:
    await story.resulted_case()
    story.objects.delete("instances/1.2.3/1.2.3.1.dcm")
    await story.heard()

    assert await story.broken() == {"images_stored"}


async def test_an_image_that_changed_in_the_store_is_named(story) -> None:
    await story.resulted_case()
    file = story.objects.get("instances/1.2.3/1.2.3.1.dcm")
    story.objects.put("instances/1.2.3/1.2.3.1.dcm", file[:-1] + b"Y")
    await story.heard()

    assert await story.broken() == {"images_stored"}


async def test_an_object_that_no_event_names_is_found(story) -> None:
    await story.resulted_case()
    story.objects.put("instances/1.2.3/9.9.dcm", b"stray")
    await story.heard()

    assert await story.broken() == {"objects_known"}


@pytest.mark.parametrize(
    "proof",
    [
        {},
        {"message_control_id": "H1"},
        {"message_control_id": "H1", "acknowledgement_code": "AE"},
        {"sop_instance_uid": "1.2", "dimse_status": "A700"},
        {"fhir_reference": "DiagnosticReport/1", "http_status": "500"},
    ],
)
async def test_landed_without_proof_is_named(story, proof) -> None:
    await story.resulted_case()
    await story.delivery("landed", delivery_id="delivery-9", proof=proof)
    await story.heard()

    assert await story.broken() == {"landed_has_proof"}


@pytest.mark.parametrize(
    "proof",
    [
        {"sop_instance_uid": "1.2", "dimse_status": "0000"},
        {"sop_instance_uid": "1.2", "dimse_status": "B000"},
        {"fhir_reference": "DiagnosticReport/1", "http_status": "201"},
    ],
)
async def test_what_the_peer_said_is_proof(story, proof) -> None:
    await story.resulted_case()
    await story.delivery("landed", delivery_id="delivery-9", proof=proof)
    await story.heard()

    assert await story.broken() == set()


async def test_a_result_of_no_task_is_named(story) -> None:
    await story.resulted_case()
    await story.tell(topics.FINDINGS, "case-1", Result(result_id="r9", task_id="t9", case_id="case-1"))
    await story.heard()

    assert await story.broken() == {"tasks_answered"}


async def test_a_resulted_study_without_its_result_is_named(story) -> None:
    await story.resulted_case()
    await story.heard()
    await story.store.transact(lambda tx: tx.connection.exec_driver_sql("DELETE FROM results"))

    assert await story.broken() == {"tasks_answered", "cases_founded"}


async def test_a_ledger_that_has_not_read_to_the_end_says_so(story) -> None:
    await story.resulted_case()
    await story.heard()
    await story.message("M9")

    assert await story.broken() == {"ledger_caught_up"}


SENT = b"MSH|^~\\&|HILUM|SITE|RIS|HOSPITAL|20260302||ORU^R01|H1|P|2.5.1\rOBX|1\r"


def receipt(identity: str = "H1", content: bytes = SENT, kind: str = "message", outcome: str = "effect") -> Receipt:
    return Receipt("ris", kind, identity, hashlib.sha256(content).hexdigest(), outcome)


async def test_a_receipt_for_each_landed_delivery_adds_up(story) -> None:
    await story.resulted_case()
    await story.heard()

    assert await story.broken([receipt(), receipt(outcome="repeat")]) == set()


@pytest.mark.parametrize(
    ("receipts", "broken"),
    [
        ([], {"receipts_match_landed"}),
        ([receipt(content=b"another")], {"receipts_match_bytes"}),
        ([receipt(), receipt("H2")], {"nothing_else_arrived"}),
        ([receipt(), receipt(content=b"x", outcome="conflict")], {"one_content_an_identity"}),
    ],
    ids=["nothing arrived", "other bytes", "a stranger", "two contents"],
)
async def test_receipts_that_do_not_match_are_named(story, receipts, broken) -> None:
    await story.resulted_case()
    await story.heard()

    assert await story.broken(receipts) == broken


async def test_what_arrived_before_the_peer_answered_is_ours_all_the_same(story) -> None:
    await story.resulted_case()
    message = SENT.replace(b"|H1|", b"|H9|")
    await story.delivery("unconfirmed", delivery_id="delivery-9", sent=message)
    await story.heard()

    assert await story.broken([receipt(), receipt("H9", message)]) == set()


def test_a_dicom_file_names_itself() -> None:
    meta = b"\x02\x00\x01\x00OB\0\0\x02\0\0\0\0\1" + b"\x02\x00\x03\x00UI\x04\x001.2\0"
    head = b"\0" * 128 + b"DICM" + b"\x02\x00\x00\x00UL\x04\x00" + len(meta).to_bytes(4, "little")

    assert sop_instance_uid(head + meta + b"data") == "1.2"
    assert data_set(head + meta + b"data") == b"data"
    assert data_set(b"no file at all") is None
    assert sop_instance_uid(head) == ""


async def test_fhir_resources_are_known_by_their_identifiers(story) -> None:
    await story.resulted_case()
    resource = {"resourceType": "Observation", "identifier": [{"system": "urn:x", "value": "7"}]}
    tagged = {"resourceType": "Provenance", "meta": {"tag": [{"system": "urn:y", "code": "8"}]}}
    bundle = json.dumps({"resourceType": "Bundle", "entry": [{"resource": resource}, {"resource": tagged}]}).encode()
    proof = {"fhir_reference": "Observation/1", "http_status": "201"}
    await story.delivery(
        "landed", delivery_id="d-ehr", kind="diagnostic_report", destination="ehr", proof=proof, sent=bundle
    )
    await story.heard()

    taken = [receipt("Observation?urn:x|7", b"", "resource"), receipt("Provenance?urn:y|8", b"", "resource")]
    assert await story.broken([receipt(), *taken]) == set()
    assert await story.broken([receipt(), taken[0]]) == {"receipts_match_landed"}  # a bundle lands whole


def test_what_is_no_bundle_names_no_resource() -> None:
    assert bundle_names(b"MSH|^~\\&|") == []
    assert bundle_names(b"[]") == []


@pytest.mark.parametrize(
    "line", ["{", "[]", '{"peer": "ris"}', '{"peer":1,"kind":"","identity":"","sha256":"","outcome":""}']
)
def test_a_line_that_is_no_receipt_is_refused_by_its_number(line: str) -> None:
    with pytest.raises(Rejected, match="line 2"):
        parse_receipts(["", line])


@pytest.mark.parametrize(
    ("proof", "proved"),
    [
        ({"fhir_reference": "DiagnosticReport/1", "http_status": "200"}, True),
        ({"fhir_reference": "DiagnosticReport/1", "read_back": "identifier"}, True),  # asked after a lost answer
        ({"fhir_reference": "DiagnosticReport/1"}, False),
        ({"fhir_reference": "DiagnosticReport/1", "http_status": "500"}, False),
        ({"message_control_id": "H1", "acknowledgement_code": "AA"}, True),
        ({"message_control_id": "H1", "acknowledgement_code": "AE"}, False),
    ],
)
def test_landed_stands_on_the_peers_own_words(proof: dict[str, str], proved: bool) -> None:
    assert is_proved(proof) is proved
