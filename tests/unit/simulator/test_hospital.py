"""What the simulated hospital counts, ranks and says."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from hilum.hl7.message import parse
from hilum.simulator.messages import adt, omi_o23, orm_o01, oru_r01
from hilum.simulator.orders import Order, example_order
from hilum.simulator.radiographs import radiograph
from hilum.simulator.reading_list import ReadingList
from hilum.simulator.receipts import Receipts
from hilum.simulator.script import Act, Script, Step

AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


@pytest.fixture
def order() -> Order:
    return example_order(3, AT)


def test_the_same_content_again_is_a_repeat() -> None:
    receipts = Receipts("ris")
    outcomes = [receipts.record("message", "C1", b"x").outcome for _ in range(3)]
    assert outcomes == ["effect", "repeat", "repeat"]


def test_other_content_under_the_same_identity_is_a_conflict() -> None:
    receipts = Receipts("pacs")
    receipts.record("instance", "1.2", b"x")
    assert receipts.record("instance", "1.2", b"y").outcome == "conflict"
    assert receipts.record("instance", "1.2", b"x").outcome == "repeat"


def test_receipts_are_kept_as_json_lines(tmp_path: Path) -> None:
    receipts = Receipts("ehr", tmp_path / "ehr.jsonl")
    receipts.record("resource", "Device?s|v", b"x", {"location": "Device/1"})
    [line] = (tmp_path / "ehr.jsonl").read_text().splitlines()
    receipt = json.loads(line)
    assert receipt["identity"] == "Device?s|v"
    assert receipt["facts"] == {"location": "Device/1"}


def test_a_script_ends_in_good_behaviour() -> None:
    script = Script(Step(Act.REFUSE, code="AR"))
    assert [script.next().act for _ in range(3)] == [Act.REFUSE, Act.SERVE, Act.SERVE]


def test_urgent_examinations_are_read_first_then_in_order_of_arrival() -> None:
    waiting = ReadingList()
    orders = [example_order(n, AT + timedelta(minutes=n)) for n in range(4)]
    for order in orders:
        waiting.add(order)
    assert waiting.raise_priority(orders[3].accession_number, "S", "Pneumothorax", AT)
    assert [entry.order for entry in waiting.in_order()] == [orders[3], *orders[:3]]
    assert [entry.order for entry in waiting.in_order_of_arrival()] == orders


def test_a_priority_from_outside_never_lowers_one(order: Order) -> None:
    waiting = ReadingList()
    waiting.add(order)
    assert waiting.raise_priority(order.accession_number, "S", "", AT)
    assert not waiting.raise_priority(order.accession_number, "R", "", AT)
    [entry] = waiting.in_order()
    assert entry.priority == "S"


def test_an_orm_carries_its_identifiers_where_the_2_3_1_profile_has_them(order: Order) -> None:
    message = parse(orm_o01(order, "C1", AT))
    assert message.get("OBR-18") == order.accession_number
    assert message.get("ZDS-1.1") == order.study_instance_uid
    assert message.get("ORC-7.6") == message.get("OBR-27.6") == "R"
    assert message.get("PID-5.1") == "O'Brien"


def test_an_omi_carries_its_identifiers_in_ipc(order: Order) -> None:
    message = parse(omi_o23(order, "C1", AT, control="XO", status="CM"))
    assert message.get("IPC-1.1") == order.accession_number
    assert message.get("IPC-3.1") == order.study_instance_uid
    assert message.get("TQ1-9.1") == "R"
    assert (message.get("ORC-1"), message.get("ORC-5")) == ("XO", "CM")


def test_a_merge_names_both_patients(order: Order) -> None:
    message = parse(adt(order, "A40", "C1", AT, retired_patient_id="OLD"))
    assert (message.get("PID-3.1"), message.get("MRG-1.1")) == (order.patient_id, "OLD")
    assert message.get("MSH-9.3") == "ADT_A39"


def test_a_report_survives_the_delimiters_in_its_text(order: Order) -> None:
    message = parse(oru_r01(order, "C1", AT, ["No focal lesion | clear", "A & B"]))
    assert message.all("OBX-5") == ["No focal lesion | clear", "A & B"]


@pytest.mark.parametrize(("bits", "kind"), [(8, np.uint8), (12, np.uint16)])
def test_a_radiograph_holds_the_pixels_it_was_made_of(order: Order, bits: int, kind: type[np.uint8]) -> None:
    pixels = np.arange(15, dtype=kind).reshape(3, 5)
    instance = radiograph(order, pixels, AT, bits_stored=bits)
    assert np.array_equal(instance.pixel_array, pixels)
    assert instance.AccessionNumber == order.accession_number


def test_two_instances_of_one_examination_differ_only_where_they_must(order: Order) -> None:
    pixels = np.zeros((2, 2), np.uint8)
    first, again, second = (radiograph(order, pixels, AT, bits_stored=8, instance_number=n) for n in (1, 1, 2))
    assert first.SOPInstanceUID == again.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID
    assert isinstance(second, Dataset)
