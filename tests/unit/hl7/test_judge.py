"""What each message is answered (2.9.2, tables 0008 and 0357)."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.hl7.header import Header, read_header
from hilum.hl7.judge import Location, Rules, judge
from hilum.hl7.paths import PathTables, load_tables
from hilum.hl7.tables import VERSIONS

ORDER = "MSH|^~\\&|RIS|HOSP|HILUM|HOSP|2024||{kind}|1|{processing}|{version}\rPID|||1\rORC|NW|P1\rOBR|1|P1\r"


def order(kind: str = "ORM^O01", processing: str = "P", version: str = "2.3.1") -> bytes:
    return ORDER.format(kind=kind, processing=processing, version=version).encode()


def test_every_file_of_the_corpus_is_answered_as_it_says(
    corpus: dict[str, bytes], answers: dict[str, tuple[str, str, str]], rules: Rules
) -> None:
    outcomes = {name: judge(raw, lambda header: rules).outcome for name, raw in corpus.items()}
    assert {name: (out.code, out.condition, out.reason) for name, out in outcomes.items()} == answers


@pytest.mark.parametrize("version", VERSIONS)
def test_versions_from_2_3_to_2_8_are_taken(version: str, rules: Rules) -> None:
    assert judge(order(version=version), lambda header: rules).outcome.code == "AA"


@pytest.mark.parametrize("version", ["2.2", "2.9", "3", "x"])
def test_other_versions_are_refused(version: str, rules: Rules) -> None:
    outcome = judge(order(version=version), lambda header: rules).outcome
    assert (outcome.code, outcome.condition, outcome.location) == ("AR", "203", Location("MSH", 1, 12))


def test_the_processing_id_must_be_that_of_the_environment(tables: PathTables) -> None:
    training = Rules(tables, processing_id="T")
    assert judge(order(processing="T"), lambda header: training).outcome.code == "AA"
    assert judge(order(processing="P"), lambda header: training).outcome.condition == "202"


def test_an_unknown_event_of_a_known_type_is_told_from_an_unknown_type(rules: Rules) -> None:
    assert judge(order("ORM^O99"), lambda header: rules).outcome.condition == "201"
    assert judge(order("SIU^S12"), lambda header: rules).outcome.condition == "200"


def test_the_faulty_group_is_named(rules: Rules) -> None:
    raw = order() + b"ORC||P2\rOBR|2|P2\r"
    outcome = judge(raw, lambda header: rules).outcome
    assert (outcome.condition, outcome.location) == ("101", Location("ORC", 2, 1))


def test_a_local_use_of_zds_in_a_report_is_no_fault(rules: Rules) -> None:
    raw = b"MSH|^~\\&|LAB|HOSP|||2024||ORU^R01|1|P|2.5\rPID|||1\rOBR|1|||CBC\rZDS|1|1|free text\r"
    verdict = judge(raw, lambda header: rules)
    assert verdict.outcome.code == "AA"


def test_rules_are_chosen_by_the_sender(tables: PathTables) -> None:
    seen: list[Header] = []

    def choose(header: Header) -> Rules:
        seen.append(header)
        return Rules(tables, default_charset="8859/1")

    judge(b"MSH|^~\\&|RIS^1.2^ISO| HOSP|HILUM|HOSP|2024||ORM^O01|C7|P|2.3.1\r", choose)
    assert [header[:3] for header in seen] == [("RIS", "HOSP", "C7")]


def test_a_required_field_may_stand_at_any_of_its_places() -> None:
    moved = Rules(load_tables({"order_control": ["OBR-24"]}))
    assert judge(order(), lambda header: moved).outcome.condition == "101"
    assert judge(order().replace(b"OBR|1|P1", b"OBR|1|P1" + b"|" * 22 + b"NW"), lambda h: moved).outcome.code == "AA"


@given(st.binary(max_size=300), st.sampled_from([b"", b"MSH|^~\\&|", b"MSH|", b"MSH|^~\\&|||||||ORM^O01|1|P|2.3\r"]))
def test_no_bytes_make_it_raise(tail: bytes, head: bytes) -> None:
    rules = Rules(_TABLES)
    verdict = judge(head + tail, lambda header: rules)
    assert verdict.outcome.code in {"AA", "AE", "AR"}
    assert (verdict.outcome.code == "AA") == (verdict.outcome.reason == "")
    assert read_header(head + tail) == verdict.header


_TABLES = load_tables()


def test_texts_of_refusals_never_hold_content(corpus: dict[str, bytes], rules: Rules) -> None:
    for raw in corpus.values():
        text = judge(raw, lambda header: rules).outcome.text
        assert not re.search(r"4711|Example|Ada|A30\d\d|A0\d\d", text)


def test_every_published_message_gets_a_verdict(shared_data: Path, rules: Rules) -> None:
    codes = [
        judge(path.read_bytes(), lambda header: rules).outcome.code for path in sorted(shared_data.glob("hl7/*/*"))
    ]
    assert len(codes) > 500
    assert set(codes) == {"AA", "AE", "AR"}
