"""HL7 messages under drawn structures and at size, and what the search found in them."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fuzz.drawing import drawn
from fuzz.fuzz_messages import FEEDS, check, check_answer, facts
from fuzz.limits import processor_seconds
from hilum.hl7.header import read_header
from hilum.hl7.judge import judge
from hilum.hl7.message import parse
from hilum.hosting import RandomIds, SystemClock
from hilum.ingest.adapters.contracts import fact_message
from hilum.ingest.app import Intake
from hilum.ingest.ports import KeptMessage

SIZE = 256 * 1024
HANG_SECONDS = 30.0
STATED_BYTES = 64 << 20
HEADER = b"MSH|^~\\&|RIS|H|||20260329||%s|C1|P|2.5.1||||||8859/1\r"
ORDER = HEADER % b"ORM^O01"

names = st.sampled_from(
    ["PID", "PV1", "ORC", "OBR", "OBX", "NTE", "IPC", "ZDS", "MRG", "MSH", "EVN", "TQ1", "ZZZ", "pid", "P"]
)
pieces = st.sampled_from(
    [
        "",
        "1",
        "A",
        "^",
        "~",
        "&",
        "\\",
        '""',
        "\\F\\",
        "\\.br\\",
        "\\X0D\\",
        "1.2.3",
        "20260329",
        "é",
        "功",
        "\n",
        " ",
        "\t",
        "\x1c",
    ]
)
fields = st.lists(pieces, max_size=4).map("".join)
segments = st.builds(lambda name, rest: "|".join([name, *rest]), names, st.lists(fields, max_size=8))
kinds = st.sampled_from(["ORM^O01", "OMI^O23", "OMG^O19", "ORU^R01", "ADT^A01", "ADT^A40", "ACK^O01", "QRY^A19", ""])
charsets = st.sampled_from(
    ["", "ASCII", "8859/1", "UNICODE UTF-8", "BIG-5", "GB 18030-2000", "~ISO IR87", "ISO IR87", "nonsense"]
)
senders = st.sampled_from(["RIS", "LAB", "OLD", "é", "功"])


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    version = draw(st.sampled_from(["2.3", "2.3.1", "2.4", "2.5.1", "2.8", "9", ""]))
    identity = draw(st.sampled_from(["C1", "", "C^1", "C é", "C\t1", "C功", "C\\F\\1"]))
    header = ["MSH", "^~\\&", draw(senders), "H", "", "", "20260329", "", draw(kinds), identity, "P", version]
    header += ["", "", "", "", "", draw(charsets)]
    end = draw(st.sampled_from(["\r", "\n", "\r\n"]))
    lines = ["|".join(header), *draw(st.lists(segments, max_size=8))]
    codec = draw(st.sampled_from(["utf-8", "latin-1", "big5", "gb18030", "iso2022_jp"]))
    return (end.join(lines) + end).encode(codec, "replace")


@drawn
@given(messages())
def test_every_message_gets_an_answer_that_can_be_read(message: bytes) -> None:
    check(message)


@drawn
@given(st.binary(max_size=200))
def test_so_does_anything_else(data: bytes) -> None:
    check(data)
    check(ORDER + data)


_ORDERS = b"ORC|NW|1\rOBR|1|1\r"
_IDENTIFIERS = b"PID|||" + b"~".join(b"%d" % number for number in range(20_000)) + b"\r"
_REPORT, _PATIENT = HEADER % b"ORU^R01", b"PID|1||1\r"
HOSTILE = {
    "identifiers-times-orders": ORDER + _IDENTIFIERS + _ORDERS * 4_900,
    "identifiers-times-reports": _REPORT + _IDENTIFIERS + b"OBR|1|1|1|X\r" * 9_000,
    "orders-times-message": ORDER + _PATIENT + _ORDERS * 4_900,
    "steps-times-message": HEADER % b"OMI^O23" + _PATIENT + b"ORC|NW|1\rTQ1|1\rOBR|1|1\r" + b"IPC|1|2|1.2.3\r" * 9_000,
    "notes-times-orders": ORDER + _PATIENT + b"NTE|1\r" * 4_900 + _ORDERS * 2_500,
    "local-segments-times-orders": ORDER + _PATIENT + b"ZZZ|1\r" * 4_900 + _ORDERS * 2_500,
    "observations": _REPORT + _PATIENT + b"OBR|1|1|1|X\r" + b"OBX|1|TX|X||a\r" * 9_000,
    "reports": _REPORT + _PATIENT + b"ORC|NW|1\rOBR|1|1|1|X\rOBX|1|TX|X||a\r" * 3_300,
    "patients": _REPORT + b"PID|1||1\rOBR|1|1|1|X\r" * 4_900,
    "merges": HEADER % b"ADT^A40" + b"PID|1||1\rMRG|2\r" * 4_900,
    "one-field": ORDER + b"PID|1||1|" + b"A" * SIZE + b"\r" + _ORDERS,
    "fields": ORDER + b"PID" + b"|" * SIZE + b"\r" + _ORDERS,
    "components": ORDER + b"PID|1||" + b"^" * SIZE + b"\r" + _ORDERS * 2_000,
    "repetitions": ORDER + b"PID|1||" + b"~" * SIZE + b"\r" + _ORDERS * 2_000,
    "escapes": ORDER + b"PID|1||1||" + b"\\.sp99\\" * (SIZE // 7) + b"\r" + _ORDERS * 30,
    "reasons": ORDER + _PATIENT + b"ORC|NW|1\rOBR|1|1" + b"|" * 29 + b"x~" * (SIZE // 2) + b"\r" + _ORDERS * 2_000,
    "header": b"MSH|^~\\&|" + b"A|" * (SIZE // 2) + b"\r",
    "character-sets": ORDER.replace(b"8859/1", b"8859/1~" * (SIZE // 7)) + _ORDERS,
    "control-id": ORDER.replace(b"C1", b"C" * SIZE) + _PATIENT + _ORDERS,
    "lines-that-are-none": ORDER + b"x\r" * 9_900,
    "blank-lines": ORDER + b" \r" * 9_900,
    "line-feeds": ORDER + b"PID|1" + b"\n" * SIZE + b"x",
    "line-feeds-before-names": ORDER + b"\nABC" * (SIZE // 4) + b"\r",
    "acknowledgement": HEADER % b"ACK" + b"MSA|AA|1\r" + b"ERR|^^^101\r" * 9_000 + b"ORC|OK\r" * 900,
}


@pytest.mark.parametrize("message", HOSTILE.values(), ids=HOSTILE)
def test_a_message_of_any_shape_costs_and_states_what_its_size_allows(message: bytes) -> None:
    """Found by reading: a message of 126 KiB stated 9,000 orders, each with the whole message: more than 1 GB."""
    with processor_seconds(HANG_SECONDS):
        verdict = judge(message, FEEDS.rules)
        stated = 0
        if verdict.outcome.code == "AA":
            for fact in facts(message, verdict):
                stated += len(fact_message(fact).SerializeToString())
                assert stated <= STATED_BYTES
        check_answer(message, verdict)


def test_a_message_with_many_orders_of_usual_size_is_taken() -> None:
    order = b"ORC|NW|P%d|F%d||SC\rOBR|1|P%d|F%d|CHEST^Chest radiograph^L||||||||||||||A%d\r"
    message = ORDER + _PATIENT + b"".join(order % ((number,) * 5) for number in range(100))
    assert len(list(facts(message, judge(message, FEEDS.rules)))) == 100


def test_line_feeds_that_end_nothing_take_linear_time() -> None:
    """Found by reading: each searched to the end of the message; 256 KiB of them held the process for minutes."""
    with processor_seconds(HANG_SECONDS):
        message = parse(ORDER + b"PID|1" + b"\n" * SIZE + b"x")
    assert len(message.segments) == 2


def test_line_feeds_after_the_last_segment_still_end_it() -> None:
    assert [segment.line for segment in parse(ORDER + b"PID|1\n \n").segments][1:] == ["PID|1"]


class _Kept:
    async def keep(self, messages: Sequence[KeptMessage]) -> None:
        assert all(message.payload for message in messages)


async def test_an_answer_echoes_what_was_sent_in_the_character_set_of_the_feed() -> None:
    """Found by the target: with MSH-18 empty, what is not ASCII came back as spaces, and no sender knew its message."""
    intake = Intake(FEEDS, _Kept(), SystemClock(), RandomIds())
    receipt = await intake.receive((HEADER % b"ADT^A01").replace(b"8859/1", b"").replace(b"C1", b"C\xe91"), "test")
    assert b"MSA|AE|C\xe91" in receipt.acknowledgement


def test_the_control_id_of_a_long_header_is_read_whatever_stands_beyond() -> None:
    """Found by the target: without CR in its first 4096 bytes, a header ended at its first line feed."""
    header = read_header(b"MSH|^~\\&|RIS|H\nH|||2026||ADT^A01|C1|P|2.5.1|" + b"x" * 5000 + b"\r")
    assert header.message_control_id == "C1"
