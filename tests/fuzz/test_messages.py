"""HL7 messages under drawn structures and at size, and what the search found in them."""

from hypothesis import given
from hypothesis import strategies as st

from fuzz.drawing import drawn
from fuzz.fuzz_messages import FEEDS, check
from fuzz.limits import processor_seconds
from hilum.hl7.header import read_header
from hilum.hl7.message import parse
from hilum.hosting import RandomIds, SystemClock
from hilum.ingest.app import Intake
from hilum.ingest.ports import KeptMessage

SIZE = 256 * 1024
HANG_SECONDS = 20.0
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


def test_line_feeds_that_end_nothing_take_linear_time() -> None:
    """Found by reading: each searched to the end of the message; 256 KiB of them held the process for minutes."""
    with processor_seconds(HANG_SECONDS):
        message = parse(ORDER + b"PID|1" + b"\n" * SIZE + b"x")
    assert len(message.segments) == 2


def test_line_feeds_after_the_last_segment_still_end_it() -> None:
    assert [segment.line for segment in parse(ORDER + b"PID|1\n \n").segments][1:] == ["PID|1"]


class _Kept:
    async def keep(self, message: KeptMessage) -> None:
        assert message.payload


async def test_an_answer_echoes_what_was_sent_in_the_character_set_of_the_feed() -> None:
    """Found by the target: with MSH-18 empty, what is not ASCII came back as spaces, and no sender knew its message."""
    intake = Intake(FEEDS, _Kept(), SystemClock(), RandomIds())
    receipt = await intake.receive((HEADER % b"ADT^A01").replace(b"8859/1", b"").replace(b"C1", b"C\xe91"), "test")
    assert b"MSA|AE|C\xe91" in receipt.acknowledgement


def test_the_control_id_of_a_long_header_is_read_whatever_stands_beyond() -> None:
    """Found by the target: without CR in its first 4096 bytes, a header ended at its first line feed."""
    header = read_header(b"MSH|^~\\&|RIS|H\nH|||2026||ADT^A01|C1|P|2.5.1|" + b"x" * 5000 + b"\r")
    assert header.message_control_id == "C1"
