"""The case as integration knows it: patient, orders, study, and whether a radiologist was there first."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum


class ReportStatus(StrEnum):
    """How far the human report has come (HL7 v2 OBR-25, FHIR DiagnosticReport.status)."""

    NONE = "none"
    PRELIMINARY = "preliminary"
    FINAL = "final"


@dataclass(frozen=True)
class Authority:
    """An assigning authority (HL7 v2 HD): namespace, universal ID and its type."""

    namespace_id: str = ""
    universal_id: str = ""
    universal_id_type: str = ""

    @property
    def key(self) -> str:
        """The universal ID where there is one, else the namespace: what a site's table of systems is keyed by."""
        return self.universal_id or self.namespace_id


@dataclass(frozen=True)
class AssignedId:
    """An identifier that means something only together with whoever assigned it (HL7 v2 CX, EI)."""

    value: str
    authority: Authority = Authority()


@dataclass(frozen=True)
class Patient:
    """``name`` is family^given^middle^... (HL7 v2 XPN, DICOM PN); ``birth_date`` is YYYYMMDD or shorter."""

    identifiers: tuple[AssignedId, ...] = ()
    name: str = ""
    birth_date: str = ""
    sex: str = ""


@dataclass(frozen=True)
class Order:
    """The latest known state of one order.

    ``segments`` are the order's own segments as last received (MSH excluded), so that an XO can echo every field.
    ``priority`` is the code of TQ1-9 or ORC-7.6 (table 0485), empty where the order gave none.
    """

    placer_order_number: AssignedId | None = None
    filler_order_number: AssignedId | None = None
    accession_number: AssignedId | None = None
    requested_procedure_id: str = ""
    procedure_code: tuple[str, str, str] | None = None
    priority: str = ""
    structure: str = ""
    version_id: str = "2.5.1"
    character_set: str = ""
    segments: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceInstance:
    """One image that was analysed."""

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    modality: str = ""
    object_key: str = ""


@dataclass(frozen=True)
class CaseState:
    """One study and all that bears on whether a result about it may still be sent.

    ``version`` grows with every change; ``observed_at`` is when this projection last heard from workflow.
    """

    case_id: str
    version: int
    site: str
    study_instance_uid: str
    patient: Patient
    orders: tuple[Order, ...] = ()
    instances: tuple[SourceInstance, ...] = ()
    modality: str = ""
    study_description: str = ""
    study_datetime: datetime | None = None
    images_complete_at: datetime | None = None
    report: ReportStatus = ReportStatus.NONE
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
        return self.order.accession_number if self.order else None
