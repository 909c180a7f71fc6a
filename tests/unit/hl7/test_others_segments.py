"""What stands in a message beside its orders and reports is not read as one of them."""

import pytest

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
