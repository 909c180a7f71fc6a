"""The priority for the RIS: a finding that alters nothing, or an order sent back whole."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import hl7
import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

from hilum.errors import Rejected
from hilum.hl7.message import Message, parse
from hilum.integration.adapters.hl7_rendering import Hl7Site, message_control_id, render_priority
from hilum.integration.domain.case import CaseState
from hilum.integration.domain.plan import Strategy
from hilum.integration.domain.result import AlgorithmResult
from scenes.results import ORM_SEGMENTS, STUDY_UID, make_absent, make_case, make_finding, make_order, make_result

SITE = Hl7Site("RIS", "NORTH", "NORTH", ZoneInfo("Europe/Berlin"))
AT = datetime(2026, 3, 29, 9, 30, tzinfo=UTC)


def rendered(
    strategy: Strategy = Strategy.ORU, result: AlgorithmResult | None = None, case: CaseState | None = None
) -> bytes:
    return render_priority(result or make_result(), case or make_case(), SITE, strategy, "delivery-1", AT)


def message(
    strategy: Strategy = Strategy.ORU, result: AlgorithmResult | None = None, case: CaseState | None = None
) -> Message:
    return parse(rendered(strategy, result, case))


def ordered(*lines: str, encoding: str = "ascii", header: str = ORM_SEGMENTS[0]) -> CaseState:
    source = ("\r".join([header, *lines]) + "\r").encode(encoding)
    return make_case(orders=(make_order(source_message=source),))


def test_the_finding_takes_its_own_number_and_code_and_only_the_accession_of_the_exam() -> None:
    oru = message()
    assert oru.get("MSH-9.1") == "ORU"
    assert oru.get("OBR-2") == ""
    assert oru.get("OBR-3.1").startswith("AI")
    assert oru.get("OBR-3.2") == "HILUM"
    assert (oru.get("OBR-4.1"), oru.get("OBR-4.3")) == ("pneumothorax-phantom", "99HILUM")
    assert (oru.get("OBR-18"), oru.get("OBR-25")) == ("ACC-1001", "P")


def test_the_finding_is_coded_flagged_and_preliminary() -> None:
    oru = message()
    assert (oru.get("OBX-3.1"), oru.get("OBX-5.1"), oru.get("OBX-8")) == ("36118008", "52101004", "AA")
    assert set(oru.all("OBX-11")) == {"P"}
    assert oru.get("OBX-18.1").startswith("2.25.")
    assert oru.get("OBX[3.1=PRIORITY]-5.1") == "S"
    assert oru.get("OBX[3.1=113014]-5") == STUDY_UID
    assert oru.get("OBX[3.1=pneumothorax-probability]-5") == "0.9312"


def test_a_triage_notification_has_no_score() -> None:
    oru = message(result=make_result(make_finding(probability=None, threshold=None)))
    assert "NM" not in oru.all("OBX-2")


def test_the_patient_is_identified_with_the_assigner() -> None:
    oru = message()
    assert oru.raw("PID-3") == "PAT-001^^^&1.3.6.1.4.1.21367.13.20.1000&ISO^MR"
    assert oru.raw("PID-5") == "Testperson^Ada"


def test_absent_findings_raise_nothing() -> None:
    oru = message(result=make_result(make_finding(), make_absent(id="b")))
    assert len([v for v in oru.all("OBX-5.1") if v in ("52101004", "2667000")]) == 1
    with pytest.raises(Rejected, match="nothing_to_raise"):
        rendered(result=make_result(make_absent()))


def test_times_are_local_with_their_offset() -> None:
    oru = message()
    assert oru.get("MSH-7") == "20260329113000+0200"
    assert oru.get("OBR-7") == "20260329112000+0200"


def test_one_fact_has_one_control_id_and_the_same_bytes() -> None:
    assert rendered() == rendered()
    assert message().get("MSH-10") == message_control_id("delivery-1")
    assert len(message_control_id("delivery-1")) <= 20


@pytest.mark.parametrize("strategy", list(Strategy))
def test_other_libraries_read_it(strategy: Strategy) -> None:
    raw = rendered(strategy).decode()
    assert str(hl7.parse(raw).segment("MSH")[10]) == message_control_id("delivery-1")
    find_groups = strategy is not Strategy.OMI  # hl7apy's OMI_O23 groups expect IPC before what this order has
    parsed = parse_message(raw, validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=find_groups)
    assert parsed.msh.msh_10.value == message_control_id("delivery-1")


def test_the_finding_is_valid_by_hl7apy_s_grammar() -> None:
    parsed = parse_message(rendered().decode(), validation_level=VALIDATION_LEVEL.STRICT, find_groups=True)
    assert parsed.validate()


def test_an_orm_changes_only_the_control_and_the_priority() -> None:
    before, after = ORM_SEGMENTS[1:], rendered(Strategy.ORM).decode().split("\r")[1:-1]
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert changed == [
        (before[2], before[2].replace("ORC|NW|", "ORC|XO|").replace("+0200^^R", "+0200^^S")),
        (before[3], before[3].replace("+0200^^R", "+0200^^S")),
    ]


def test_an_orm_of_2_3_1_has_no_structure_in_its_type() -> None:
    header = ORM_SEGMENTS[0].replace("ORM^O01^ORM_O01", "ORM^O01").replace("2.5.1", "2.3.1")
    assert message(Strategy.ORM, case=ordered(*ORM_SEGMENTS[1:], header=header)).raw("MSH-9") == "ORM^O01"


def test_unknown_segments_fields_and_nulls_go_back_as_they_came() -> None:
    lines = [*ORM_SEGMENTS[1:3], 'ORC|NW|PL-77^PLACER|FI-88^FILLER|""|SC|\\T\\', ORM_SEGMENTS[4], "ZXY|a^b~c|d"]
    after = rendered(Strategy.ORM, case=ordered(*lines)).decode()
    assert 'ORC|XO|PL-77^PLACER|FI-88^FILLER|""|SC|\\T\\|^^^^^S' in after
    assert "\rZXY|a^b~c|d\r" in after


def test_only_the_case_s_order_of_several_goes_back() -> None:
    other = ["ORC|NW|PL-99^PLACER|FI-99^FILLER", "OBR|1|PL-99^PLACER|FI-99^FILLER|XRH^Hand^LOCAL"]
    case = ordered(*ORM_SEGMENTS[1:3], *other, *ORM_SEGMENTS[3:])
    after = message(Strategy.ORM, case=case)
    assert after.all("ORC-2.1") == ["PL-77"]
    assert after.get("ZDS-1.1") == STUDY_UID


def test_a_single_z_segment_after_another_order_goes_back_too() -> None:
    other = ["ORC|NW|PL-99^PLACER|FI-99^FILLER", "OBR|1|PL-99^PLACER|FI-99^FILLER|XRH^Hand^LOCAL"]
    case = ordered(*ORM_SEGMENTS[1:5], *other, ORM_SEGMENTS[5])
    after = message(Strategy.ORM, case=case)
    assert after.all("ORC-2.1") == ["PL-77"]
    assert after.get("ZDS-1.1") == STUDY_UID


def test_the_order_goes_back_in_its_own_character_set_and_delimiters() -> None:
    lines = [line.replace("Ada", "Zoë") for line in ORM_SEGMENTS[1:]]
    header = "MSH|^~\\&|RIS|NORTH|HILUM|NORTH|20260329||ORM^O01|M1|P|2.3.1||||||8859/1"
    after = rendered(Strategy.ORM, case=ordered(*lines, encoding="latin-1", header=header))
    assert "Zoë".encode("latin-1") in after
    assert parse(after).get("MSH-18") == "8859/1"
    odd = [line.replace("^", "$") for line in ORM_SEGMENTS[1:]]
    changed = parse(rendered(Strategy.ORM, case=ordered(*odd, header=header.replace("^", "$"))))
    assert changed.delimiters.component == "$"
    assert changed.get("ORC-7.6") == "S"


def test_an_omi_sends_its_priority_in_tq1_and_echoes_ipc() -> None:
    lines = [
        ORM_SEGMENTS[1],
        "ORC|NW|PL-77^PLACER|FI-88^FILLER||SC",
        "TQ1|1||||||20260329100000+0200||R",
        "OBR|1|PL-77^PLACER|FI-88^FILLER|XRCH^Chest X-ray^LOCAL",
        f"IPC|ACC-1001^RIS|RP-1|{STUDY_UID}^RIS|SPS-1|DX|P1^Chest^L|ST1|ROOM|AE1",
    ]
    header = ORM_SEGMENTS[0].replace("ORM^O01^ORM_O01", "OMI^O23^OMI_O23")
    after = rendered(Strategy.OMI, case=ordered(*lines, header=header)).decode().split("\r")[1:-1]
    assert after[0] == lines[0]
    assert after[1] == lines[1].replace("ORC|NW", "ORC|XO")
    assert after[2] == lines[2].replace("||R", "||S")
    assert after[3:] == lines[3:]


def test_an_omi_of_an_orm_gains_what_its_structure_needs() -> None:
    after = message(Strategy.OMI)
    assert after.raw("MSH-9") == "OMI^O23^OMI_O23"
    assert after.get("TQ1-9") == "S"
    assert (after.get("IPC-1"), after.get("IPC-3")) == ("ACC-1001", STUDY_UID)


def test_an_order_whose_message_is_unknown_is_not_sent_in_part() -> None:
    with pytest.raises(Rejected, match="order_without_source"):
        rendered(Strategy.ORM, case=make_case(orders=(make_order(source_message=b""),)))
