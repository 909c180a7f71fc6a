"""What stands in a message beside its orders and reports is not read as one of them."""

import pytest

from hilum.hl7.judge import Location, Outcome, Rules, judge
from hilum.hl7.message import parse
from hilum.hl7.paths import PathTables

ORDER = "ORC|NW|P1|F1\rOBR|1|P1|F1|XCHEST"


def read(message: str, tables: PathTables) -> list[dict[str, object]]:
    code = message.split("|")[8]
    return [dict(values) for values in tables.by_message[code].all.read(parse(message.encode()))]


def of(code: str, *lines: str) -> str:
    return "\r".join([f"MSH|^~\\&|A|B|C|D|20240115110000||{code}|1|P|2.8", "PID|1||4711", *lines]) + "\r"


@pytest.mark.parametrize("begin", ["PID|1||4712", "PV1|1|I|||||||||||||||||V9", "AL1|1||X"])
def test_earlier_results_in_an_omg_are_no_orders(begin: str, tables: PathTables) -> None:
    """PRIOR_RESULT of OMG^O19 (2.5.1 4.4.4): a cancelled order of the past must not cancel one of today."""
    rows = read(of("OMG^O19", ORDER, begin, "ORC|CA|P0|F0", "OBR|1|P0|F0|XOLD", "OBX|1|TX|A||old"), tables)
    assert [(row["order_control"], row["patient_id"], row.get("visit_number")) for row in rows] == [
        ("NW", "4711", None)
    ]


def test_every_order_before_the_earlier_results_is_read(tables: PathTables) -> None:
    rows = read(of("OMG^O19", "PV1|1|O", ORDER, ORDER.replace("1", "2"), "PV1|1|I", "ORC|RE|P0", "OBR|1|P0"), tables)
    assert [row["placer_order_number"] for row in rows] == ["P1", "P2"]


OLD = "ORC|RE|P0\rOBR|1|P0\rOBX|1|TX|A||old"
SECOND = "ORC|NW|P2|F2\rOBR|2|P2|F2|XHAND"


def verdict(message: str, tables: PathTables) -> Outcome:
    return judge(message.encode(), lambda _header: Rules(tables)).outcome


@pytest.mark.parametrize("control", ["NW", "XO", "CA", "SN", "DC"])
@pytest.mark.parametrize(
    "results",
    [
        ("PID|1||4712", OLD),
        ("PV1|1|I|||||||||||||||||V9", "AL1|1||X", OLD, OLD),
        ("AL1|1||X", "OBR|1|P0", "OBX|1|TX|A||old"),
        ("PV1|1|I", OLD, "PV1|1|I", OLD),
    ],
)
def test_an_order_behind_earlier_results_is_read(results: tuple[str, ...], control: str, tables: PathTables) -> None:
    """ORDER repeats and PRIOR_RESULT lies inside it (2.5.1 4.4.4): it was acknowledged and lost."""
    message = of("OMG^O19", "PV1|1|O|||||||||||||||||V1", ORDER, *results, SECOND.replace("NW", control))
    rows = read(message, tables)
    told = [(row["order_control"], row["placer_order_number"], row["patient_id"], row["visit_number"]) for row in rows]
    assert told == [("NW", "P1", "4711", "V1"), (control, "P2", "4711", "V1")]
    assert verdict(message, tables).code == "AA"


def test_earlier_results_of_each_order_are_no_orders(tables: PathTables) -> None:
    rows = read(of("OMG^O19", ORDER, "PV1|1|I", OLD, SECOND, "PV1|1|I", OLD, OLD, SECOND.replace("2", "3")), tables)
    assert [row["placer_order_number"] for row in rows] == ["P1", "P2", "P3"]


def test_a_result_that_says_nothing_in_orc_1_is_no_order(tables: PathTables) -> None:
    message = of("OMG^O19", ORDER, "PV1|1|I", OLD, OLD.replace("RE", ""), SECOND)
    assert [row["placer_order_number"] for row in read(message, tables)] == ["P1", "P2"]


@pytest.mark.parametrize(
    ("lines", "occurrence"),
    [
        (("PID|1||4712", SECOND), 2),  # no OBX, so no result as the grammar has it
        (("PV1|1|I", OLD.replace("RE", "NW"), SECOND), 3),  # the results say NW, too
        (("PV1|1|I", OLD, "PV1|1|I", SECOND.replace("NW", "")), 3),
    ],
)
def test_what_may_be_an_order_or_a_result_is_refused(
    lines: tuple[str, ...], occurrence: int, tables: PathTables
) -> None:
    outcome = verdict(of("OMG^O19", ORDER, *lines), tables)
    assert (outcome.code, outcome.reason) == ("AE", "order_or_result_unclear")
    assert outcome.location == Location("ORC", occurrence, 1)


def test_orders_between_earlier_results_share_what_stands_before_them(tables: PathTables) -> None:
    """Memory stays linear in the lines, however often orders and results take turns."""
    message = parse(of("OMG^O19", *["NTE|1"] * 50, *[ORDER, "PV1|1|I", OLD] * 50).encode())
    structure = tables.by_message["OMG^O19"]
    groups = message.layout.groups(structure.groups, structure.earlier(message).lines)
    assert len(groups) == 50
    assert len({id(group.lines_of("PID")) for group in groups}) == 1


def test_observations_of_the_patient_are_none_of_a_report(tables: PathTables) -> None:
    """PATIENT_OBSERVATION (2.8 7.3.1): an OBX between PID and the first order is the patient's."""
    bare, full = (
        read(of("ORU^R01", "OBX|1|NM|8867-4||61", *report), tables)[0]
        for report in (["OBR|1|P1|F1|XCHEST"], ["OBR|1|P1|F1|XCHEST", "OBX|1|TX|A||clear"])
    )
    assert "observations" not in bare
    assert [row["value"] for row in full["observations"]] == ["clear"]  # type: ignore[attr-defined]


def test_a_report_without_an_orc_takes_no_number_from_the_one_before(tables: PathTables) -> None:
    """ORDER_OBSERVATION (2.5.1 7.3.1): else the final report of one order would end the case of another."""
    reports = [
        "ORC|RE|P1|F1||CM",
        "OBR|1|P1|F1|XCHEST",
        "NTE|1||note",
        "OBR|2||F2|XHAND",
        "ORC|RE|P3",
        "OBR|3||F3|XFOOT",
    ]
    rows = read(of("ORU^R01", *reports), tables)
    assert [row.get("placer_order_number") for row in rows] == ["P1", None, "P3"]
    assert [row["filler_order_number"] for row in rows] == ["F1", "F2", "F3"]
    assert [row.get("order_status") for row in rows] == ["CM", None, None]
