"""Orders that others published, with only their identifiers set so that they match an examination here."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from hilum.errors import HilumError, Rejected
from hilum.hl7.compose import FieldValue, amend
from hilum.hl7.message import Message, parse
from hilum.hl7.timestamps import write_timestamp
from hilum.simulator.orders import Order

Compose = Callable[..., bytes]

_CHARSET = "8859/1"  # of those that declare none


def read_published_orders(files: list[Path]) -> list[Message]:
    """Each file as a template. Raises `Rejected` (`published_order`) for one that holds no imaging order."""
    found = []
    for file in files:
        try:
            message = parse(file.read_bytes(), _CHARSET)
        except (OSError, HilumError) as error:
            raise Rejected("published_order", f"{file.name} cannot be read") from error
        if not (message.every("ORC") and message.every("OBR") and message.every("PID")):
            raise Rejected("published_order", f"{file.name} holds no order: PID, ORC and OBR are needed")
        found.append(message)
    return found


def composer(template: Message) -> Compose:
    """A function like `hilum.simulator.messages.orm_o01` that keeps every other field of ``template``."""

    def compose(order: Order, control_id: str, at: datetime, *, control: str = "NW", status: str = "SC") -> bytes:
        changes: dict[str, FieldValue] = {
            "MSH-7": write_timestamp(at),
            "MSH-10": control_id,
            "MSH-15": "",  # original mode: the simulated RIS waits for one answer
            "MSH-16": "",
            "MSH-18": "UNICODE UTF-8",
            "PID-3": (order.patient_id, "", "", order.authority, "MR"),
            "PID-5": tuple(order.patient_name.split("^")),
            "PID-7": f"{order.birth_date:%Y%m%d}",
            "PID-8": order.sex,
            "ORC-1": control,
            "ORC-2": order.placer_order_number,
            "ORC-3": order.filler_order_number,
            "ORC-5": status,
            "ORC-7.6": order.priority,
            "ORC-9": write_timestamp(at),
            "OBR-2": order.placer_order_number,
            "OBR-3": order.filler_order_number,
            "OBR-4": (order.procedure_code, order.procedure_name, "L"),
        }
        if template.every("TQ1"):
            changes["TQ1-9"] = order.priority
        if template.every("IPC"):
            changes |= {"IPC-1": order.accession_number, "IPC-3": order.study_instance_uid, "IPC-5": order.modality}
        else:
            changes |= {"OBR-18": order.accession_number, "OBR-24": order.modality}
        if template.every("ZDS"):
            changes["ZDS-1.1"] = order.study_instance_uid
        return ("\r".join(amend(template.segments, changes, template.delimiters)) + "\r").encode("utf-8")

    return compose
