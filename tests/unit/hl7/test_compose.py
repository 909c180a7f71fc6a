"""Outbound messages: escaped, in the link's character set, and echoes that change nothing but what is named."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hl7apy.parser import parse_message
from hypothesis import given
from hypothesis import strategies as st

from hilum.errors import Rejected
from hilum.hl7.compose import MessageBuilder, amend, compose_field
from hilum.hl7.escapes import NULL, STANDARD
from hilum.hl7.message import parse

AT = datetime(2024, 1, 15, 12, tzinfo=UTC)


def builder(charset: str = "UNICODE UTF-8", **options: Any) -> MessageBuilder:
    return MessageBuilder(
        ("ORU", "R01", "ORU_R01"), "H1", AT, sender=("HILUM", "NORTH"), receiver=("RIS", ""), charset=charset, **options
    )


def test_values_are_escaped_and_read_back() -> None:
    raw = builder().add("OBX", {1: "1", 3: ("a^b", "x|y", "99&"), 5: ["line\none", "two~"]}).to_bytes()
    message = parse(raw)
    assert message.raw("OBX-3") == "a\\S\\b^x\\F\\y^99\\T\\"
    assert message.get("OBX-3.2") == "x|y"
    assert message.get("OBX-5[*]") == "line\none\ntwo~"


def test_subcomponents_repetitions_and_null() -> None:
    assert compose_field([("1", "", "", ("NORTH", "1.2", "ISO"), "MR"), ("2",)]) == "1^^^NORTH&1.2&ISO^MR~2"
    assert compose_field(NULL) == '""'
    assert compose_field(("a", "", "")) == "a"


def test_the_header_names_version_and_character_set() -> None:
    message = builder(version="2.3.1", processing_id="T").build()
    assert [message.get(f"MSH-{n}") for n in (3, 4, 5, 10, 11, 12, 18)] == [
        "HILUM", "NORTH", "RIS", "H1", "T", "2.3.1", "UNICODE UTF-8",
    ]  # fmt: skip


def test_a_character_without_a_place_in_the_links_set_is_refused() -> None:
    with pytest.raises(Rejected, match="charset_unencodable"):
        builder("8859/1").add("NTE", {3: "山"}).to_bytes()


def test_hl7apy_reads_what_is_composed() -> None:
    composed = (
        builder().add("PID", {3: [("1", "", "", "NORTH")], 5: ("Doe", "Ann")}).add("OBR", {4: ("AI", "x", "99H")})
    )
    peer = parse_message(composed.build().text, find_groups=False)
    assert peer.pid.pid_3.to_er7() == "1^^^NORTH"
    assert peer.obr.obr_4.to_er7() == "AI^x^99H"


ORDER = parse(
    b"MSH|^~\\&|RIS|H|HILUM|H|2024||ORM^O01|7|P|2.3.1\rPID|||1||Doe^Ann|||\rORC|NW|P1^HIS|F1|||||\rOBR|1|P1^HIS|||R\r"
    b"ZZZ|kept^&~\\Z9\\||\rORC|NW|P2\r"
)


def test_an_echo_changes_only_the_named_fields() -> None:
    lines = amend(ORDER.segments[1:], {"ORC-1": "XO", "ORC-7.6": "S", "OBR-27[1].6": "S"}, ORDER.delimiters)
    assert lines == [
        "PID|||1||Doe^Ann|||",
        "ORC|XO|P1^HIS|F1||||^^^^^S|",
        "OBR|1|P1^HIS|||R" + "|" * 22 + "^^^^^S",
        "ZZZ|kept^&~\\Z9\\||",
        "ORC|NW|P2",
    ]


@given(st.integers(2, 40), st.text(max_size=6))
def test_an_amended_field_reads_back_and_no_other_moves(number: int, value: str) -> None:
    before = ORDER.every("ORC")[0]
    (line,) = amend([before], {f"ORC-{number}": value}, STANDARD)
    message = parse(ORDER.segments[0].line.encode() + b"||||||UNICODE UTF-8\r" + line.encode())
    assert message.get(f"ORC-{number}") == value
    for other in range(1, 41):
        if other != number:
            assert message.every("ORC")[0].raw(other) == before.raw(other)


def test_an_echoed_order_keeps_every_byte_of_its_segments() -> None:
    raw = builder().echo(ORDER.segments[1:], {"ORC-1": "XO"}).to_bytes()
    assert raw.split(b"\r")[1:] == ORDER.text.encode().replace(b"ORC|NW", b"ORC|XO", 1).split(b"\r")[1:]


def test_a_header_field_can_be_amended() -> None:
    (line,) = amend(ORDER.segments[:1], {"MSH-10": "H9"}, ORDER.delimiters)
    assert line == "MSH|^~\\&|RIS|H|HILUM|H|2024||ORM^O01|H9|P|2.3.1"


@pytest.mark.parametrize(
    ("path", "code"), [("TQ1-9", "amend_absent"), ("ORC[2]-1", "path_bad"), ("PID-3[*].1", "path_bad")]
)
def test_a_change_that_has_no_place_is_refused(path: str, code: str) -> None:
    with pytest.raises(Rejected, match=code):
        amend(ORDER.segments, {path: "S"}, ORDER.delimiters)
