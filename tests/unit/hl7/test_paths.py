"""The path table: each logical field where the standard's table has it (§ RAD TF-2 4.4), and a site's changes."""

from typing import Any

import pytest
import yaml
from hl7apy.core import Message as PeerMessage
from hl7apy.parser import parse_message

from hilum.errors import Rejected
from hilum.hl7.extraction import FieldRule, Value
from hilum.hl7.message import Message, parse
from hilum.hl7.paths import PathTables, Structure, compile_tables, load_tables
from hilum.hl7.segment import View


def structure_of(message: Message, tables: PathTables) -> Structure:
    return tables.by_message[f"{message.get('MSH-9.1')}^{message.get('MSH-9.2')}"]


def rows(raw: bytes, tables: PathTables) -> list[dict[str, Value]]:
    message = parse(raw, "8859/1")
    structure = structure_of(message, tables)
    return [dict(values) for values in structure.all.read(message)]


def test_an_orm_is_read_at_the_places_of_scheduled_workflow(corpus: dict[str, bytes], tables: PathTables) -> None:
    (row,) = rows(corpus["orm-o01-2.3.1.hl7"], tables)
    expected = {
        "patient_id": "4711",
        "patient_id.authority": "NORTH",
        "patient_id.authority_uid": "1.2.276.0.76.3.1.99",
        "patient_id.type": "MR",
        "patient_name.given": "Adèle",
        "order_control": "NW",
        "order_status": "SC",
        "placer_order_number": "P1001",
        "placer_order_number.authority": "HIS",
        "filler_order_number": "F2001",
        "accession_number": "A3001",
        "requested_procedure_id": "RP1",
        "scheduled_procedure_step_id": "SPS1",
        "study_instance_uid": "1.2.276.0.7230010.3.1.2.4711.1",
        "modality": "DX",
        "procedure_code": "XCHEST",
        "priority": "S",
        "scheduled_start": "20240115120000",
        "reason": "R05",
        "account_number": "ACC77",
        "visit_number": "V100",
    }
    assert {name: row.get(name) for name in expected} == expected
    assert row["protocol_codes"] == [{"value": "XCH2", "text": "Chest PA and lateral", "system": "99NORTH"}]
    assert row["patient_identifiers"] == [
        {"value": "4711", "authority": "NORTH", "authority_uid": "1.2.276.0.76.3.1.99", "type": "MR"},
        {"value": "X99", "authority": "STATE", "type": "SS"},
    ]


def test_an_omi_is_read_from_its_ipc(corpus: dict[str, bytes], tables: PathTables) -> None:
    (row,) = rows(corpus["omi-o23-2.5.1.hl7"], tables)
    assert row["accession_number"] == "A3003"
    assert row["accession_number.authority"] == "NORTH"
    assert row["study_instance_uid"] == "1.2.276.0.7230010.3.1.2.4711.3"
    assert row["scheduled_procedure_step_id"] == "SPS3"
    assert row["priority"] == "A"
    assert row["station_ae_titles"] == [{"value": "DX_ONE"}, {"value": "DX_TWO"}]
    assert [code["value"] for code in row["protocol_codes"] if isinstance(code, dict)] == ["XCH2", "XCH3"]


def test_an_omg_has_its_timing_in_tq1(corpus: dict[str, bytes], tables: PathTables) -> None:
    (row,) = rows(corpus["omg-o19-2.6.hl7"], tables)
    assert (row["priority"], row["scheduled_start"], row["accession_number"]) == ("S", "20240115120000", "A3005")


def test_several_steps_are_rows_of_their_own(corpus: dict[str, bytes], tables: PathTables) -> None:
    for name, steps in (("omi-o23-two-steps-2.8.hl7", "4"), ("orm-o01-two-orders-2.4.hl7", "2")):
        found = rows(corpus[name], tables)
        assert [row["scheduled_procedure_step_id"] for row in found] == [f"SPS{steps}A", f"SPS{steps}B"]
        assert len({row["study_instance_uid"] for row in found}) == 1


def test_a_report_carries_its_sections(corpus: dict[str, bytes], tables: PathTables) -> None:
    (row,) = rows(corpus["oru-r01-2.5.1.hl7"], tables)
    assert row["report_status"] == "F"
    assert row["principal_interpreter"] == "12"
    assert row["study_instance_uid"] == "1.2.276.0.7230010.3.1.2.4711.1"
    observations = row["observations"]
    assert not isinstance(observations, str)
    findings, impression, category = observations
    assert findings["value"] == "No pneumothorax.\nLines in place, 50^2."
    assert (impression["observation"], impression["value"]) == ("19005-8", "Normal.\nNo change.")
    assert (category["value_code"], category["value_code.system"], category["abnormal_flags"]) == ("2", "99NORTH", "A")


def test_each_report_of_a_message_has_its_own_patient(corpus: dict[str, bytes], tables: PathTables) -> None:
    found = rows(corpus["oru-r01-two-patients-2.4.hl7"], tables)
    assert [(row["patient_id"], row.get("visit_number")) for row in found] == [("4711", "V100"), ("4712", None)]


def test_a_merge_names_survivor_and_retired(corpus: dict[str, bytes], tables: PathTables) -> None:
    found = rows(corpus["adt-a40-two-merges-2.5.1.hl7"], tables)
    assert [(row["patient_id"], row["prior_patient_id"]) for row in found] == [("4711", "4700"), ("4712", "4699")]


def test_an_explicit_null_is_kept_apart_from_absence(corpus: dict[str, bytes], tables: PathTables) -> None:
    (row,) = rows(corpus["adt-a08-null-2.5.1.hl7"], tables)
    assert row["birth_date"] == '""'
    assert "death_indicator" not in row


def test_declared_delimiters_lead_to_the_same_fields(corpus: dict[str, bytes], tables: PathTables) -> None:
    (odd,) = rows(corpus["delimiters-2.5.1.hl7"], tables)
    (usual,) = rows(corpus["adt-a04-2.5.hl7"], tables)
    assert {
        name: value for name, value in usual.items() if not name.startswith(("visit", "patient_class", "assigned"))
    } == odd


def test_every_accepted_message_kind_has_a_structure(tables: PathTables) -> None:
    adt = [f"ADT^{event}" for event in ("A01", "A04", "A08", "A11", "A13", "A31", "A40")]
    assert sorted(tables.by_message) == sorted([*adt, "ORM^O01", "OMI^O23", "OMG^O19", "ORU^R01"])


def test_a_feed_moves_a_field_everywhere_or_in_one_structure(corpus: dict[str, bytes]) -> None:
    tables = load_tables({"accession_number": ["ORC-3"], "ORM_O01.modality": ["OBR-21", "OBR-24"]})
    (orm,) = rows(corpus["orm-o01-2.3.1.hl7"], tables)
    (omi,) = rows(corpus["omi-o23-2.5.1.hl7"], tables)
    assert (orm["accession_number"], orm["accession_number.authority"]) == ("F2001", "RIS")
    assert (omi["accession_number"], omi["modality"]) == ("F2003", "DX")
    assert orm["modality"] == "DX"


def test_every_fault_of_a_feeds_table_is_listed() -> None:
    with pytest.raises(Rejected) as caught:
        load_tables({"accession_number": ["OBR-0", "nonsense"], "colour": ["PID-3"], "ORM_O01.sex": []})
    assert caught.value.code == "path_table_bad"
    for fault in ("OBR-0", "nonsense", "colour", "ORM_O01.sex"):
        assert fault in caught.value.text


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("fragments: {a: {x: {type: ZZ, at: [PID-3]}}}", "'ZZ' is none of"),
        ("fragments: {a: {x: {at: [PID-3], each: PID-3}}}", "either `at` or `each`"),
        ("fragments: {a: {x: {at: [PID-3], colour: red}}}", "Extra inputs"),
        ("fragments: {a: {x: {each: OBX, fields: {y: [PID-3]}}}}", "must be single places in OBX"),
        ("fragments: {}", "no fragment 'a'"),
        ("fragments: {a: {z: [PID-3]}}", "no single field x"),
    ],
)
def test_a_faulty_table_is_refused_with_the_place(change: str, fault: str) -> None:
    structure = "structures: {S: {messages: [A^B], kind: order, groups: [], include: [a], required: [x]}}"
    with pytest.raises(Rejected) as caught:
        compile_tables(yaml.safe_load(f"schema: 1\n{change}\n{structure}"), {})
    assert fault in caught.value.text


def test_no_message_kind_belongs_to_two_structures() -> None:
    one = "{messages: [A^B], kind: order, groups: []}"
    with pytest.raises(Rejected, match="belongs to S already"):
        compile_tables(yaml.safe_load(f"schema: 1\nfragments: {{}}\nstructures: {{S: {one}, T: {one}}}"), {})


def peer_value(message: PeerMessage, rule: FieldRule, view: View) -> str:
    """The same place through hl7apy: first segment, first repetition, component, subcomponent."""
    for path in rule.places:
        if not view.every(path.segment):
            continue
        line = view.every(path.segment)[0].line
        found = [s for s in walk(message) if s.name == path.segment and s.to_er7() == line.rstrip("|")]
        fields = [field for field in found[0].children if field.name == f"{path.segment}_{path.field}"] if found else []
        text = fields[0].to_er7() if fields else ""
        component = text.split("^")[(path.component or 1) - 1] if text.count("^") >= (path.component or 1) - 1 else ""
        value = component.split("&")[(path.subcomponent or 1) - 1] if component else ""
        if value:
            return value
    return ""


def walk(element: Any) -> list[Any]:
    found = []
    for child in getattr(element, "children", []):
        if child.classname == "Segment":
            found.append(child)
        elif child.classname == "Group":
            found.extend(walk(child))
    return found


@pytest.mark.parametrize("name", ["omi-o23-2.5.1.hl7", "omg-o19-2.6.hl7", "oru-r01-2.5.1.hl7", "adt-a31-2.5.1.hl7"])
def test_hl7apy_finds_the_same_values(name: str, corpus: dict[str, bytes], tables: PathTables) -> None:
    message = parse(corpus[name], "8859/1")
    structure = structure_of(message, tables)
    (ours,) = structure.all.read(message)
    peer = parse_message(message.text, find_groups=False)
    rules = [
        rule
        for rule in structure.fields.values()
        if isinstance(rule, FieldRule) and rule.type in {"ST", "EI", "CX", "UI"}
    ]
    plain = [rule for rule in rules if all("[" not in path.text for path in rule.places)]
    assert len(plain) >= 4
    assert {rule.name: peer_value(peer, rule, message) for rule in plain} == {
        r.name: ours.get(r.name, "") for r in plain
    }
