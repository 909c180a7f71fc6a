"""Splitting, character sets and path access (2.5 to 2.8)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.errors import HilumError, Rejected
from hilum.hl7.message import parse, serialise

HEADER = "MSH|^~\\&|RIS|HOSP|HILUM|HOSP|20240115||ORM^O01|1|P|2.3.1||||||{charset}"


def message_of(*segments: str, charset: str = "UNICODE UTF-8") -> bytes:
    return "\r".join([HEADER.format(charset=charset), *segments, ""]).encode()


PID = 'PID|1||A1^^^HOSP&1.2.3&ISO^MR~B2^^^GOV^SS||Doe^Ann|""|19800101'

values = st.text(st.characters(codec="utf-8", exclude_characters="|^~\\&\r\n", exclude_categories=["Cs"]), max_size=8)
fields = st.lists(st.lists(st.lists(values, min_size=1, max_size=3), min_size=1, max_size=2), max_size=6)
bodies = st.lists(st.tuples(st.sampled_from(["PID", "OBR", "ZZ1", "NTE"]), fields), max_size=6)


@given(bodies, st.booleans())
def test_serialising_a_parsed_message_gives_its_bytes_back(
    body: list[tuple[str, list[list[list[str]]]]], ended: bool
) -> None:
    lines = [
        "|".join([name, *("~".join("^".join(parts) for parts in repetitions) for repetitions in content)])
        for name, content in body
    ]
    raw = "\r".join([HEADER.format(charset="UNICODE UTF-8"), *lines]).encode() + (b"\r" if ended else b"")
    message = parse(raw)
    assert serialise(message) == raw
    assert [segment.line for segment in parse(serialise(message)).segments] == [s.line for s in message.segments]


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_are_rejected(raw: bytes) -> None:
    for text in (raw, b"MSH|^~\\&|" + raw, b"MSH" + raw):
        try:
            message = parse(text, "UNICODE UTF-8")
        except HilumError:
            continue
        message.get("PID-3.1")
        message.groups(("ORC", "OBR"))


def test_paths_reach_repetitions_components_and_subcomponents() -> None:
    message = parse(message_of(PID))
    assert message.get("PID-3") == "A1"
    assert message.get("PID-3[2]") == "B2"
    assert message.get("PID-3[1].4.2") == "1.2.3"
    assert message.get("PID-3[2].4.2") == ""
    assert message.get("PID-3[5=SS].1") == "B2"
    assert message.get("PID-3[5=XX].1") == ""
    assert message.all("PID-3.1") == ["A1", "B2"]
    assert message.raw("PID-3") == "A1^^^HOSP&1.2.3&ISO^MR~B2^^^GOV^SS"
    assert message.raw("PID-3.4") == "HOSP&1.2.3&ISO"
    assert message.get("PID-99.9.9") == message.get("ZZZ-1") == ""


def test_null_and_empty_are_different() -> None:
    message = parse(message_of(PID))
    assert message.get("PID-6") == '""'
    assert message.get("PID-8") == ""


def test_header_fields_count_from_the_separator() -> None:
    message = parse(message_of())
    assert message.get("MSH-1") == "|"
    assert message.get("MSH-2") == "^~\\&"
    assert message.get("MSH-3") == "RIS"
    assert message.raw("MSH-9") == "ORM^O01"


def test_segments_are_found_by_number_and_by_content() -> None:
    message = parse(message_of("OBX|1|TX|A^x||one", "OBX|2|TX|B^y||two~three"))
    assert message.get("OBX[2]-5") == "two"
    assert message.get("OBX[3.1=B]-5[2]") == "three"
    assert message.get("OBX[3.1=C]-5") == ""
    assert message.get("OBX[2]-5[*]") == "two\nthree"
    assert message.all("OBX-5") == ["one", "two", "three"]


def test_escapes_resolve_on_access_after_splitting() -> None:
    assert parse(message_of(r"NTE|1||a\F\b\S\c~d")).get("NTE-3") == "a|b^c"


def test_unknown_and_local_segments_are_kept() -> None:
    message = parse(message_of("ZQZ|a|b", "QQ9|c"))
    assert message.get("ZQZ-2") == "b"
    assert serialise(message).endswith(b"ZQZ|a|b\rQQ9|c\r")


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\n\r\n", "\n\n"])
def test_line_feeds_between_segments_are_tolerated(end: str) -> None:
    raw = message_of(PID, "PV1|1|O").replace(b"\r", end.encode())
    assert [segment.name for segment in parse(raw).segments] == ["MSH", "PID", "PV1"]


def test_a_line_feed_inside_a_field_stays_there_when_carriage_returns_end_segments() -> None:
    message = parse(message_of("NTE|1||first\nsecond|x", "PV1|1"))
    assert message.get("NTE-3") == "first\nsecond"
    assert message.get("NTE-4") == "x"


@pytest.mark.parametrize(
    ("charset", "codec"),
    [("UNICODE UTF-8", "utf_8"), ("8859/1", "latin_1"), ("8859/15", "iso8859_15"), ("8859/7~", "iso8859_7")],
)
def test_declared_character_sets_are_believed(charset: str, codec: str) -> None:
    text = "ΑΒΓ" if codec == "iso8859_7" else "Müller"
    raw = f"{HEADER.format(charset=charset)}\rPID|||1||{text}".encode(codec)
    assert parse(raw).get("PID-5") == text


@pytest.mark.parametrize(
    ("charset", "codec", "name"),
    [
        ("GB 18030-2000", "gb18030", "王^小东"),
        ("BIG-5", "big5", "許^功蓋"),
        ("KS X 1001", "euc_kr", "홍^길동"),
        ("~ISO IR87", "iso2022_jp", "山田^太郎"),
    ],
)
def test_text_is_decoded_before_it_is_split(charset: str, codec: str, name: str) -> None:
    raw = f"{HEADER.format(charset=charset)}\rPID|||1||{name}||19800101\r".encode(codec)
    message = parse(raw)
    assert (message.get("PID-5.1"), message.get("PID-5.2")) == tuple(name.split("^"))
    assert message.get("PID-7") == "19800101"
    assert serialise(message) == raw


def test_an_empty_character_set_is_the_default_of_the_feed() -> None:
    raw = f"{HEADER.format(charset='')}\rPID|||1||Müller".encode("latin_1")
    assert parse(raw, "8859/1").get("PID-5") == "Müller"
    with pytest.raises(Rejected, match="charset_undecodable"):
        parse(raw)


def test_a_byte_order_mark_declares_utf_8() -> None:
    raw = b"\xef\xbb\xbf" + f"{HEADER.format(charset='')}\rPID|||1||Müller".encode()
    assert parse(raw).get("PID-5") == "Müller"


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "header_missing"),
        (b"PID|1", "header_missing"),
        (b"MSH|", "header_missing"),
        (b"MSH|||", "delimiters_bad"),
        (message_of(charset="EBCDIC"), "charset_unknown"),
        (message_of("PID|||\xff", charset="ASCII"), "charset_undecodable"),
        (message_of("PID|||1||\x1b$B", charset="8859/1~8859/2"), "charset_switch"),
        (message_of(*["NTE"] * 10_000), "segments_too_many"),
    ],
)
def test_what_cannot_be_read_is_rejected_with_a_code(raw: bytes, code: str) -> None:
    with pytest.raises(Rejected, match=code):
        parse(raw)


def test_lines_that_are_no_segment_are_named() -> None:
    message = parse(message_of("pid|1", "", "ABCD|1", "NTE", "9AB|1"))
    assert [message.segments[position - 1].line for position in message.malformed()] == ["pid|1", "ABCD|1", "9AB|1"]


ORDER = ("ORC", "OBR", "IPC")


def test_groups_share_the_patient_and_keep_their_own_segments() -> None:
    raw = message_of(PID, "PV1|1|O", "ORC|NW|1", "TQ1|1", "OBR|1|1", "OBX|1", "ORC|CA|2", "OBR|2|2", "ZDS|1.2.3")
    first, second = parse(raw).groups(ORDER)
    assert [group.get("PID-3") for group in (first, second)] == ["A1", "A1"]
    assert (first.get("ORC-1"), second.get("ORC-1")) == ("NW", "CA")
    assert first.every("TQ1")
    assert not second.every("TQ1")
    assert not second.every("OBX")


def test_one_zds_belongs_to_every_group_and_several_to_their_own() -> None:
    one = parse(message_of("ORC|NW|1", "OBR|1", "ORC|NW|2", "OBR|2", "ZDS|1.2")).groups(ORDER)
    assert [group.get("ZDS-1") for group in one] == ["1.2", "1.2"]
    two = parse(message_of("ORC|NW|1", "OBR|1", "ZDS|1.1", "ORC|NW|2", "OBR|2", "ZDS|1.2")).groups(ORDER)
    assert [group.get("ZDS-1") for group in two] == ["1.1", "1.2"]


def test_several_obr_share_an_orc_and_several_ipc_an_obr() -> None:
    groups = parse(message_of("ORC|NW|1", "OBR|1", "IPC|A", "IPC|B", "OBR|2", "ORC|CA|2")).groups(ORDER)
    seen = [(group.get("ORC-2"), group.get("OBR-1"), group.get("IPC-1")) for group in groups]
    assert seen == [("1", "1", "A"), ("1", "1", "B"), ("1", "2", ""), ("2", "", "")]


def test_a_result_group_may_lack_its_orc_and_the_next_patient_takes_nothing_from_the_last() -> None:
    raw = message_of("PID|||P1", "PV1|1|I", "OBR|1|a", "OBX|1", "PID|||P2", "ORC|RE", "OBR|1|b", "OBR|2|c")
    groups = parse(raw).groups(("ORC", "OBR"))
    seen = [(group.get("PID-3"), group.get("PV1-2"), group.get("ORC-1"), group.get("OBR-2")) for group in groups]
    assert seen == [("P1", "I", "", "a"), ("P2", "", "RE", "b"), ("P2", "", "RE", "c")]


def test_merge_groups_pair_each_pid_with_its_mrg() -> None:
    raw = message_of("EVN|A40", "PID|||NEW1", "MRG|OLD1", "PID|||NEW2", "PD1|1", "MRG|OLD2")
    groups = parse(raw).groups(("PID",))
    assert [(group.get("PID-3"), group.get("MRG-1")) for group in groups] == [("NEW1", "OLD1"), ("NEW2", "OLD2")]


def test_messages_and_segments_never_print_their_content() -> None:
    message = parse(message_of(PID))
    assert "Doe" not in repr(message) + repr(message.segments[1])


@pytest.mark.parametrize(
    "path", ["", "PID", "PID-0", "PID-3.0", "pid-3", "PID-3[0]", "PID-3[x]", "PID-3[]", "PID-3.1.2.3"]
)
def test_a_bad_path_is_rejected(path: str) -> None:
    with pytest.raises(Rejected, match="path_bad"):
        parse(message_of()).get(path)
