"""What others told us about a case, as it was told. Facts are kept, never edited; a decision reads them all.

Because a decision depends on the set of facts and not on the order in which they came, permuting
arrivals ends in the same case state.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """A value and its assigner; an empty authority is unknown and contradicts none."""

    value: str
    authority: str = ""

    def agrees(self, other: "Identifier") -> bool:
        known = self.authority and other.authority
        return self.value == other.value and (not known or self.authority == other.authority)


@dataclass(frozen=True, slots=True, order=True)
class Stamp:
    """When a sender said something: its own message time, then the control ID to break ties."""

    time: datetime
    message_control_id: str
    ordinal: int = 0


@dataclass(frozen=True, slots=True)
class OrderFact:
    """One order group of one message."""

    fact_id: str
    stamp: Stamp
    order_control: str  # table 0119
    order_status: str  # table 0038
    placer_order_number: Identifier | None
    filler_order_number: Identifier | None
    accession_number: Identifier | None
    study_instance_uid: str
    modality: str
    procedure_code: str
    priority: str  # table 0485
    patient: tuple[Identifier, ...]
    document: bytes = field(default=b"", repr=False)  # the order as the contract carries it

    @property
    def cancelled(self) -> bool:
        """Cancelled or discontinued (tables 0119 and 0038)."""
        return self.order_control in {"CA", "OC", "CR", "DC", "OD", "DR"} or self.order_status in {"CA", "DC"}


@dataclass(frozen=True, slots=True)
class InstanceFact:
    """One stored SOP instance."""

    sop_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    object_key: str
    sha256: bytes
    received_at: datetime
    accession_number: Identifier | None
    patient: tuple[Identifier, ...]
    study_time: datetime | None
    tags: Mapping[str, str]
    reason: str = ""  # why it cannot be an input; empty when it can
    document: bytes = field(default=b"", repr=False)  # the patient as the contract carries it


@dataclass(frozen=True, slots=True)
class ReportFact:
    """The status of a report that a radiologist's system sent (OBR-25, table 0123)."""

    fact_id: str
    stamp: Stamp
    result_status: str


@dataclass(frozen=True, slots=True)
class PatientFact:
    """Demographics from an ADT message."""

    stamp: Stamp
    patient: tuple[Identifier, ...]
    document: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class ResultFact:
    """How a task of ours ended."""

    result_id: str
    task_id: str
    algorithm: str
    algorithm_version: str
    outcome: str  # resulted, failed or deferred
    reason: str


@dataclass(frozen=True, slots=True)
class CaseFacts:
    """Everything known of one case."""

    case_id: str
    site: str
    study_instance_uid: str
    opened_at: datetime
    orders: tuple[OrderFact, ...] = ()
    instances: tuple[InstanceFact, ...] = ()
    reports: tuple[ReportFact, ...] = ()
    patients: tuple[PatientFact, ...] = ()
    results: tuple[ResultFact, ...] = ()
    merges: tuple[tuple[Identifier, Identifier], ...] = ()  # (retired, surviving), HL7 A40
    superseded_by: str = ""  # the case that took this one's order over

    @property
    def last_image_at(self) -> datetime | None:
        return max((instance.received_at for instance in self.instances), default=None)
