"""Acknowledgements in original mode: written in the form of each version, read back, never with PHI."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.errors import Rejected
from hilum.hl7.acknowledgement import AcknowledgementConfig, read_acknowledgement
from hilum.hl7.acknowledgement import acknowledge as acknowledge_header
from hilum.hl7.header import read_header
from hilum.hl7.judge import ACCEPTED, Location, Outcome, Rules, judge
from hilum.hl7.message import parse

AT = datetime(2024, 1, 15, 12, tzinfo=UTC)
CONFIG = AcknowledgementConfig()
MISSING = Outcome("AE", "101", "required_field_missing", "a required field is missing", Location("PID", 1, 3))


def acknowledge(raw: bytes, outcome: Outcome, at: datetime, config: AcknowledgementConfig) -> bytes:
    return acknowledge_header(read_header(raw), hashlib.sha256(raw).digest(), outcome, at, config)


def header(kind: str = "ADT^A08^ADT_A01", version: str = "2.5.1", charset: str = "") -> bytes:
    return f"MSH|^~\\&|RIS|HOSP|HILUM|NORTH|2024||{kind}|C\\T\\1|P|{version}||||||{charset}\rPID|1\r".encode()


def lines(raw: bytes) -> list[str]:
    return raw.decode().split("\r")


def test_it_echoes_the_control_id_and_swaps_sender_and_receiver() -> None:
    message = parse(acknowledge(header(), ACCEPTED, AT, CONFIG))
    assert [message.get(f"MSH-{number}") for number in (3, 4, 5, 6)] == ["HILUM", "NORTH", "RIS", "HOSP"]
    assert message.raw("MSA-2") == "C\\T\\1"
    assert message.get("MSA-1") == "AA"
    assert message.get("MSH-7") == "20240115120000+0000"
    assert len(message.get("MSH-10")) == 20
    assert not message.every("ERR")


@pytest.mark.parametrize(
    ("version", "kind"),
    [("2.3", "ACK"), ("2.3.1", "ACK"), ("2.4", "ACK^A08"), ("2.5", "ACK^A08^ACK"), ("2.8", "ACK^A08^ACK")],
)
def test_its_type_has_the_form_of_the_version(version: str, kind: str) -> None:
    message = parse(acknowledge(header(version=version), ACCEPTED, AT, CONFIG))
    assert message.raw("MSH-9") == kind
    assert message.get("MSH-12") == version


def test_errors_before_2_5_stand_in_err_1() -> None:
    answer = lines(acknowledge(header(version="2.4"), MISSING, AT, CONFIG))
    assert answer[1] == "MSA|AE|C\\T\\1|a required field is missing"
    assert answer[2] == "ERR|PID^1^3^101&Required field missing&HL70357"


def test_errors_from_2_5_name_location_condition_and_severity() -> None:
    answer = lines(acknowledge(header(), MISSING, AT, CONFIG))
    assert answer[1] == "MSA|AE|C\\T\\1"
    assert answer[2] == "ERR||PID^1^3|101^Required field missing^HL70357|E||||a required field is missing"


def test_a_component_is_located_within_its_repetition() -> None:
    event = Outcome("AR", "201", "event_unsupported", "no", Location("MSH", 1, 9, 2))
    assert lines(acknowledge(header(), event, AT, CONFIG))[2].startswith("ERR||MSH^1^9^1^2|201^")


def test_an_unsupported_version_is_answered_in_ours() -> None:
    refused = Outcome("AR", "203", "version_unsupported", "no", Location("MSH", 1, 12))
    assert parse(acknowledge(header(version="9.9"), refused, AT, CONFIG)).get("MSH-12") == "2.5.1"


def test_it_speaks_the_senders_character_set_and_delimiters() -> None:
    raw = "MSH@!%*#@Röntgen@HOSP@@@2024@@ADT!A08@1@P@2.5.1@@@@@@8859/1\r".encode("latin_1")
    answer = acknowledge(raw, MISSING, AT, CONFIG)
    assert answer.startswith(b"MSH@!%*#@HILUM@@R\xf6ntgen@HOSP@")
    message = parse(answer)
    assert message.get("MSH-5") == "Röntgen"
    assert message.get("MSH-18") == "8859/1"
    assert message.get("ERR-3") == "101"


def test_a_character_set_that_we_cannot_write_is_not_declared() -> None:
    answer = acknowledge(header(charset="EBCDIC"), MISSING, AT, CONFIG)
    assert parse(answer).get("MSH-18") == ""


@pytest.mark.parametrize(
    "raw", [b"", b"\x00\xff", b"PID|1", b"MSH", b"MSH|", b"MSH|^~\\&", b"FHS|^~\\&|A\rMSH|^~\\&|B"]
)
def test_what_is_no_message_still_gets_a_whole_answer(raw: bytes) -> None:
    answer = parse(acknowledge(raw, Outcome("AE", "100", "header_missing", "no MSH", Location("MSH")), AT, CONFIG))
    assert [answer.get(f"MSH-{number}") for number in (3, 9, 11, 12)] == ["HILUM", "ACK", "P", "2.5.1"]
    assert (answer.get("MSA-1"), answer.get("MSA-2"), answer.get("ERR-3")) == ("AE", "", "100")


def test_the_same_bytes_and_outcome_give_the_same_answer() -> None:
    assert acknowledge(header(), MISSING, AT, CONFIG) == acknowledge(header(), MISSING, AT, CONFIG)
    other = acknowledge(header(), ACCEPTED, AT, CONFIG)
    assert parse(other).get("MSH-10") != parse(acknowledge(header(), MISSING, AT, CONFIG)).get("MSH-10")


@given(st.binary(max_size=200), st.sampled_from([b"", b"MSH", b"MSH|^~\\&|", b"MSH|^~\\&|a|b|c|d|e|f|"]))
def test_any_bytes_get_an_answer_that_can_be_read(tail: bytes, head: bytes) -> None:
    answer = parse(acknowledge(head + tail, MISSING, AT, CONFIG))
    assert answer.get("MSH-9.1") == "ACK"
    assert answer.get("MSA-1") == "AE"
    assert answer.get("ERR-3") == "101" or answer.get("ERR-1.4.1") == "101"
    assert not answer.malformed()


def test_every_corpus_message_gets_an_answer_of_its_own(
    corpus: dict[str, bytes], answers: dict[str, tuple[str, str, str]], rules: Rules
) -> None:
    for name, raw in corpus.items():
        outcome = judge(raw, lambda header: rules).outcome
        message = parse(acknowledge(raw, outcome, AT, CONFIG))
        assert message.get("MSA-1") == answers[name][0]
        assert (message.get("ERR-3") or message.get("ERR-1.4.1") or "0") == answers[name][1]


def test_every_published_message_gets_a_well_formed_answer(shared_data: Path, rules: Rules) -> None:
    for path in sorted(shared_data.glob("hl7/*/*")):
        raw = path.read_bytes()
        verdict = judge(raw, lambda header: rules)
        answer = parse(acknowledge(raw, verdict.outcome, AT, CONFIG))
        assert answer.get("MSA-1") == verdict.outcome.code
        assert not answer.malformed()
        if verdict.message is not None:
            assert answer.raw("MSA-2") == verdict.message.raw("MSH-10")


def test_our_own_answers_read_back() -> None:
    read = read_acknowledgement(acknowledge(header(version="2.4"), MISSING, AT, CONFIG))
    assert (read.code, read.message_control_id, read.conditions) == ("AE", "C&1", ("101",))
    assert read.text == "a required field is missing"
    assert not read.accepted
    assert read_acknowledgement(acknowledge(header(), ACCEPTED, AT, CONFIG)).accepted


def test_an_order_response_is_an_acknowledgement_too() -> None:
    raw = b"MSH|^~\\&|RIS|H|HILUM|H|2024||ORR^O02|9|P|2.3.1\rMSA|AA|H1\rORC|UX|P1\r"
    assert read_acknowledgement(raw).message_type == "ORR"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"MSH|^~\\&|RIS|H|HILUM|H|2024||ORU^R01|9|P|2.3.1\rMSA|AA|H1\r", "acknowledgement_type"),
        (b"MSH|^~\\&|RIS|H|HILUM|H|2024||ACK|9|P|2.3.1\r", "acknowledgement_incomplete"),
        (b"MSH|^~\\&|RIS|H|HILUM|H|2024||ACK|9|P|2.3.1\rMSA|OK|H1\r", "acknowledgement_incomplete"),
        (b"nonsense", "header_missing"),
    ],
)
def test_what_is_no_acknowledgement_is_rejected(raw: bytes, code: str) -> None:
    with pytest.raises(Rejected, match=code):
        read_acknowledgement(raw)


def test_an_order_response_says_what_the_receiver_could_not_do() -> None:
    raw = b"MSH|^~\\&|RIS||HILUM||20260302||ORR^O02|1|P|2.5.1\rMSA|AA|77\rPID|1\rORC|UX|P1|F1\rORC|OK|P2|F2\r"
    assert read_acknowledgement(raw).order_controls == ("UX", "OK")
    assert read_acknowledgement(acknowledge(header(), ACCEPTED, AT, CONFIG)).order_controls == ()
