"""The case as integration knows it: patient, orders, study, and whether a radiologist was there first."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True)
class AssignedId:
    """An identifier that means something only together with whoever assigned it (HL7 v2 CX, EI).

    ``authority`` is the assigner's namespace or universal ID; ``type_code`` is of table 0203.
    """

    value: str
    authority: str = ""
    type_code: str = ""


@dataclass(frozen=True)
class Patient:
    """``birth_date`` is YYYYMMDD or shorter; ``sex`` is of table 0001."""

    identifiers: tuple[AssignedId, ...] = ()
    family_name: str = ""
    given_name: str = ""
    birth_date: str = ""
    sex: str = ""


@dataclass(frozen=True)
class Order:
    """The latest known state of one order.

    ``source_message`` is the message as last received, so that an XO can send back every field of it; ``ordinal`` is
    the order's place among the message's order groups. ``priority`` is of table 0485, empty where none was given.
    """

    placer_order_number: AssignedId | None = None
    filler_order_number: AssignedId | None = None
    accession_number: AssignedId | None = None
    requested_procedure_id: str = ""
    procedure_code: tuple[str, str, str] | None = None
    priority: str = ""
    message_type: str = ""
    source_message: bytes = b""
    ordinal: int = 0


@dataclass(frozen=True)
class CaseState:
    """One study and all that bears on whether a result about it may still be sent.

    ``version`` grows with every change; ``observed_at`` is when this projection was last known to be up to date.
    ``report_status`` is of table 0123, empty while there is no report; ``useful_until`` is by algorithm.
    """

    case_id: str
    version: int
    site: str
    study_instance_uid: str
    patient: Patient
    orders: tuple[Order, ...] = ()
    instance_count: int = 0
    modality: str = ""
    study_time: datetime | None = None
    images_complete_at: datetime | None = None
    report_status: str = ""
    being_read: bool = False
    cancelled: bool = False
    conflict: str = ""
    useful_until: Mapping[str, datetime] = field(default_factory=dict)
    observed_at: datetime | None = None

    @property
    def order(self) -> Order | None:
        """The order that results are filed under: the first, in workflow's order."""
        return self.orders[0] if self.orders else None

    @property
    def accession_number(self) -> AssignedId | None:
        numbers = [order.accession_number for order in self.orders if order.accession_number]
        return numbers[0] if numbers else None
