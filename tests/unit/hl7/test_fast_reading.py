"""Reading fast gives what reading slowly gives, for any delimiters, character set and order of segments."""

import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hilum.hl7.escapes import STANDARD, Delimiters
from hilum.hl7.layout import REMEMBERED
from hilum.hl7.message import parse
from hilum.hl7.paths import PathTables, load_tables
from peers.plain_hl7 import SlowMessage

_SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
_TABLES = load_tables()
_FEED = load_tables(  # every kind of path that a feed may write
    {
        "ORM_O01.accession_number": ["MSH-10", "OBX[3.1=113014]-5", "OBR[2]-18"],
        "ORM_O01.placer_order_number": ["ORC-2[2]", "ORC-2[4.1=A].2"],
        "patient_identifiers": ["PID-3[5=MR]"],
        "protocol_codes": ["OBX[*]-5", "OBR-4"],
        "ORU_R01.study_instance_uid": ["OBR-4.2.2", "ZDS-1"],
    }
)
_CHARSETS = {"UNICODE UTF-8": "utf_8", "8859/1": "iso8859_1", "8859/5": "iso8859_5", "ISO IR87": "iso2022_jp"}
_CONTENT = string.ascii_letters + string.digits + " .+-'\"/éßдЖ漢²\u2003\x85"
_OFTEN = ("PID", "PV1", "ORC", "OBR", "OBX")

delimiters = st.sampled_from(
    [
        STANDARD,
        STANDARD,
        Delimiters("|", "^", "~", "\\", "&", "#"),
        Delimiters("$", "!", "%", "*", "@"),
        Delimiters(":", ";", ",", "", ""),
        Delimiters("&", "|", "\\", "~", ""),
    ]
)
names = st.sampled_from([*_OFTEN, *_OFTEN, "IPC", "TQ1", "NTE", "ZDS", "ZX1", "MRG", "EVN"])


@st.composite
def fields(draw: st.DrawFn, marks: Delimiters) -> str:
    """Anything that may stand in a field: plain, composed, repeated, escaped, or nothing."""
    mark = marks.escape
    known = ["MR", "L", "A", "113014", "RE", "NW", "1.2.3", "1.02.3", '""', "X^Y"]
    bodies = ("F", "S", "T", "R", "E", "X41", "XE9", ".br", "H", "Zz")
    escapes = [f"{mark}{body}{mark}" for body in bodies] if mark else [""]
    between = [each for each in (marks.component, marks.component, marks.repetition, marks.subcomponent) if each]
    piece = st.one_of(st.text(_CONTENT, max_size=4), st.sampled_from(known), st.sampled_from(escapes), st.just(""))
    pieces = draw(st.lists(st.tuples(piece, st.sampled_from(between)), max_size=5))
    text = "".join(value + mark for value, mark in pieces)[:-1]
    return text.replace(marks.field, "").replace("^", marks.component)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message of ours in shape, with anything in it; lines may be cut short, blank or repeated."""
    marks, charset = draw(delimiters), draw(st.sampled_from(sorted(_CHARSETS)))
    head = [
        "MSH",
        marks.encoding_characters,
        "RIS",
        "H",
        "",
        "",
        "2024",
        "",
        "ORM",
        "1",
        "P",
        "2.5",
        *[""] * 5,
        charset,
    ]
    lines = [marks.field.join(head)]
    for name in draw(st.lists(names, max_size=9)):
        number = st.sampled_from([0, 1, 3, 5, 8, 20, 45])
        size = draw(number)
        filled = draw(st.lists(fields(marks), min_size=min(size, 4), max_size=min(size, 4)))
        places = draw(st.lists(st.integers(0, max(size - 1, 0)), min_size=len(filled), max_size=len(filled)))
        row = [""] * size
        for place, text in zip(places, filled, strict=True):
            row[place] = text
        lines.append(marks.field.join([name, *row]))
        lines += draw(st.sampled_from([[], [], [], [""], ["  "]]))
    ended = "\r".join(lines) + draw(st.sampled_from(["", "\r", "\r\r"]))
    return ended.encode(_CHARSETS[charset], "ignore")


def slow(raw: bytes, tables: PathTables, name: str) -> list[dict[str, object]]:
    message = parse(raw)
    return SlowMessage(message.text, message.delimiters, message.codec).rows(tables.structures[name])


@pytest.mark.parametrize("name", ["ORM_O01", "OMG_O19", "ORU_R01", "ADT_A39"])
@_SETTINGS
@given(raw=messages(), own=st.booleans())
def test_every_value_is_what_slow_reading_finds(raw: bytes, own: bool, name: str) -> None:
    tables = _FEED if own else _TABLES
    fast = [dict(values) for values in tables.structures[name].all.read(parse(raw))]
    assert fast == slow(raw, tables, name)


@settings(max_examples=200, deadline=None)
@given(
    lines=st.lists(st.sampled_from(["PID", "PV1|1", "ORC|NW|P", "ORC|RE|P", "ORC||P", "OBR|1|P", "OBX"]), max_size=12)
)
def test_orders_among_earlier_results_are_those_that_slow_reading_finds(lines: list[str]) -> None:
    numbered = [f"{line}{number}" if line[-2:] == "|P" else line for number, line in enumerate(lines)]
    raw = "\r".join(["MSH|^~\\&|A|B|||2024||OMG^O19|1|P|2.5.1", *numbered]).encode()
    fast = [dict(values) for values in _TABLES.structures["OMG_O19"].all.read(parse(raw))]
    assert fast == slow(raw, _TABLES, "OMG_O19")


@_SETTINGS
@given(raw=messages(), data=st.data())
def test_a_selection_reads_what_all_reads_of_its_names(raw: bytes, data: st.DataObject) -> None:
    structure = _TABLES.structures["ORM_O01"]
    message = parse(raw)
    whole = list(structure.all.read(message))
    known = sorted({name for values in whole for name, value in values.items() if isinstance(value, str)})
    names = data.draw(st.sets(st.sampled_from(known))) if known else set()
    some = [dict(values) for values in structure.select(names).read(message)]
    assert some == [{name: value for name, value in values.items() if name in names} for values in whole]


def test_an_authority_is_never_that_of_another_place() -> None:
    raw = b"MSH|^~\\&|A|B|||2024||ORM^O01|1|P|2.5\rPID||2^^^GOV|1\rORC|NW|P1\rOBR|1\r"
    (values,) = _TABLES.structures["ORM_O01"].select(["patient_id.authority"]).read(parse(raw))
    assert values == {}


def test_a_layout_is_remembered_without_mixing_messages() -> None:
    read = _TABLES.structures["ORM_O01"].all.read
    ((first,), (second,)) = (
        list(read(parse(f"MSH|^~\\&|A|B|||2024||ORM^O01|1|P|2.5\rPID|||{number}\rORC|NW|P{number}\r".encode())))
        for number in (1, 2)
    )
    assert (first["patient_id"], second["patient_id"]) == ("1", "2")


@pytest.mark.parametrize("count", [1, 127, 128, 129, 300])
def test_long_messages_read_as_short_ones(count: int) -> None:
    line = "OBX|1|TX|A^b||x~y||||||F\r"
    raw = ("MSH|^~\\&|A|B|||2024||ORU^R01|1|P|2.5\rPID|||1\rOBR|1|P1\r" + line * count).encode()
    (values,) = _TABLES.structures["ORU_R01"].all.read(parse(raw))
    assert len(values["observations"]) == count


@pytest.mark.parametrize(
    ("field", "places", "value"),
    [
        ("A^^^^MR", ["PID-3[5=MR]"], "A"),
        ("A^^^^MR&x", ["PID-3[5=MR]"], "A"),
        ("A^^^^SS", ["PID-3[5=MR]"], None),
        ("A~B^^^^MR", ["PID-3[5=MR]"], "B"),
        ("A~B", ["PID-3[2]"], "B"),
        ("A", ["PID-3[2]"], None),
        ("A", ["PID-3[*]"], "A"),
        ("MR^x", ["PID-3[1=MR].2"], "x"),
        ("^x^MR&y", ["PID-3[3.2=y].2"], "x"),
    ],
)
def test_a_repetition_is_chosen_and_the_next_rule_reads_the_field_afresh(
    field: str, places: list[str], value: str | None
) -> None:
    read = load_tables({"birth_date": places, "sex": ["PID-3"]}).structures["ADT_A01"].all.read
    (values,) = read(parse(f"MSH|^~\\&|A|B|||2024||ADT^A01|1|P|2.5\rPID|||{field}\r".encode()))
    first = field.partition("~")[0].partition("^")[0]
    assert (values.get("birth_date"), values.get("sex", "")) == (value, first)


def test_groups_share_what_stands_before_them() -> None:
    """Each group once copied it: 5,000 notes on the patient and 5,000 orders were 25 million entries."""
    layout = parse(b"MSH|^~\\&|A\rPID|1\r" + b"NTE|1\r" * 50 + b"ORC|NW\r" * 50).layout
    assert len({id(group.lines_of("NTE")) for group in layout.groups(("ORC", "OBR"))}) == 1


def test_a_part_that_is_not_asked_for_still_decides_the_place() -> None:
    raw = b"MSH|^~\\&|A|B|||2024||ORM^O01|1|P|2.5\rPID|||^^^X~1\rORC|NW|P1^HIS\rOBR|1|P2^RIS\r"
    structure = _TABLES.structures["ORM_O01"]
    (values,) = structure.select(["placer_order_number.authority", "patient_id"]).read(parse(raw))
    assert values == {"placer_order_number.authority": "HIS"}


def test_what_is_made_ready_for_sets_of_segments_is_bounded() -> None:
    """A sender that never repeats a set of segments must not fill the memory."""
    names = [f"Z{letter}1" for letter in "ABCDEFGHI"]
    selection = load_tables({"reason": [f"{name}-1" for name in names]}).structures["ORM_O01"].select(["reason"])
    for chosen in range(1, 1 << len(names)):
        lines = [f"{name}|{name}" for bit, name in enumerate(names) if chosen >> bit & 1]
        raw = "\r".join(["MSH|^~\\&|A|B|||2024||ORM^O01|1|P|2.5", "ORC|NW", *lines]).encode()
        (values,) = selection.read(parse(raw))
        assert values == {"reason": lines[0][:3]}
    assert selection._reader_of.cache_info().currsize <= REMEMBERED
