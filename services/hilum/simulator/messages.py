"""The messages of a RIS: orders, patient updates, reports.

HL7 v2.3.1 and v2.5.1; IHE RAD TF-2, transactions RAD-4, RAD-12 and RAD-13.
"""

from datetime import datetime

from hilum.hl7.compose import MessageBuilder, Repetition
from hilum.hl7.timestamps import write_timestamp
from hilum.simulator.orders import Order

_STRUCTURES = {"A11": "ADT_A09", "A31": "ADT_A05", "A40": "ADT_A39"}  # of ADT events; the others share ADT_A01


def orm_o01(order: Order, control_id: str, at: datetime, *, control: str = "NW", status: str = "SC") -> bytes:
    """ORM^O01 of version 2.3.1: the study UID in ZDS-1, the accession number in OBR-18.

    ``control`` is ORC-1 (NW, XO, CA, DC), ``status`` ORC-5 (table 0038).
    """
    timing = ("", "", "", write_timestamp(order.requested_at), "", order.priority)
    numbers: dict[int, Repetition] = {2: order.placer_order_number, 3: order.filler_order_number}
    return (
        _begin(("ORM", "O01"), control_id, at, "2.3.1")
        .add("PID", _pid(order))
        .add("PV1", _pv1(order))
        .add("ORC", {1: control, **numbers, 5: status, 7: timing, 9: write_timestamp(at)})
        .add(
            "OBR",
            {
                1: "1",
                **numbers,
                4: _procedure(order),
                18: order.accession_number,
                19: f"RP{order.accession_number}",
                20: f"SPS{order.accession_number}",
                24: order.modality,
                27: timing,
                31: ("", order.reason),
                44: _procedure(order),
            },
        )
        .add("ZDS", {1: (order.study_instance_uid, "100", "Application", "DICOM")})
        .to_bytes()
    )


def omi_o23(order: Order, control_id: str, at: datetime, *, control: str = "NW", status: str = "SC") -> bytes:
    """OMI^O23 of version 2.5.1: identifiers in IPC, the priority in TQ1-9."""
    numbers: dict[int, Repetition] = {2: (order.placer_order_number, "RIS"), 3: (order.filler_order_number, "RIS")}
    accession = order.accession_number
    return (
        _begin(("OMI", "O23", "OMI_O23"), control_id, at)
        .add("PID", _pid(order))
        .add("PV1", _pv1(order))
        .add("ORC", {1: control, **numbers, 5: status, 9: write_timestamp(at)})
        .add("TQ1", {1: "1", 7: write_timestamp(order.requested_at), 9: order.priority})
        .add("OBR", {1: "1", **numbers, 4: _procedure(order), 31: ("", order.reason), 44: _procedure(order)})
        .add(
            "IPC",
            {
                1: (accession, order.authority),
                2: (f"RP{accession}", order.authority),
                3: order.study_instance_uid,
                4: (f"SPS{accession}", order.authority),
                5: order.modality,
                6: _procedure(order),
            },
        )
        .to_bytes()
    )


def adt(order: Order, event: str, control_id: str, at: datetime, *, retired_patient_id: str = "") -> bytes:
    """ADT of version 2.5.1 about the patient of ``order``: A01, A04, A08, A11, A13, A31, or A40 with the retired ID."""
    message = _begin(("ADT", event, _STRUCTURES.get(event, "ADT_A01")), control_id, at)
    message.add("EVN", {1: event, 2: write_timestamp(at)}).add("PID", _pid(order))
    if event == "A40":
        return message.add("MRG", {1: (retired_patient_id, "", "", order.authority, "MR")}).to_bytes()
    return message.add("PV1", _pv1(order)).to_bytes()


def oru_r01(order: Order, control_id: str, at: datetime, lines: list[str], *, status: str = "F") -> bytes:
    """A radiologist's report as ORU^R01 of version 2.5.1; ``status`` is OBR-25 and OBX-11 (tables 0123, 0085)."""
    numbers: dict[int, Repetition] = {2: order.placer_order_number, 3: order.filler_order_number}
    report: list[Repetition] = [*lines]
    return (
        _begin(("ORU", "R01", "ORU_R01"), control_id, at)
        .add("PID", _pid(order))
        .add("PV1", _pv1(order))
        .add("ORC", {1: "SC", **numbers, 5: "CM"})
        .add(
            "OBR",
            {
                1: "1",
                **numbers,
                4: _procedure(order),
                7: write_timestamp(order.requested_at),
                18: order.accession_number,
                22: write_timestamp(at),
                24: "RAD",
                25: status,
            },
        )
        .add("OBX", {1: "1", 2: "TX", 3: ("18748-4", "Diagnostic imaging study", "LN"), 5: report, 11: status})
        .to_bytes()
    )


def _begin(kind: tuple[str, ...], control_id: str, at: datetime, version: str = "2.5.1") -> MessageBuilder:
    return MessageBuilder(
        kind, control_id, at, sender=("RIS", "HOSPITAL"), receiver=("HILUM", "HOSPITAL"), version=version
    )


def _pid(order: Order) -> dict[int, Repetition]:
    family, _, given = order.patient_name.partition("^")
    return {
        1: "1",
        3: (order.patient_id, "", "", order.authority, "MR"),
        5: (family, given),
        7: f"{order.birth_date:%Y%m%d}",
        8: order.sex,
    }


def _pv1(order: Order) -> dict[int, Repetition]:
    return {1: "1", 2: "E", 3: "ED", 19: f"V{order.accession_number}"}


def _procedure(order: Order) -> Repetition:
    return (order.procedure_code, order.procedure_name, "L")
