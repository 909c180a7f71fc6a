"""What others told us about a case, as it was told. Facts are kept, never edited; a decision reads them all.

Because a decision depends on the set of facts and not on the order in which they came, permuting
arrivals ends in the same case state.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

_CANCELLING_CONTROLS = {"CA", "OC", "CR", "DC", "OD", "DR"}
_CANCELLED_STATUSES = {"CA", "DC"}


@dataclass(frozen=True, slots=True, order=True)
class Identifier:
    """A value and its assigner; an empty authority is unknown and contradicts none."""

    value: str
    authority: str = ""

    def agrees(self, other: "Identifier") -> bool:
        known = self.authority and other.authority
        return self.value == other.value and (not known or self.authority == other.authority)


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a sender said something: its own message time, then the control ID to break ties."""

    time: datetime
    message_control_id: str
    ordinal: int = 0

    @property
    def place(self) -> tuple[object, ...]:
        """Sorts as senders count: MSH-7 often tells whole seconds alone, and control ID 10 follows 9."""
        parts = re.split(r"([0-9]+)", self.message_control_id)
        counted = [_number(part) if number % 2 else part for number, part in enumerate(parts)]
        return self.time, counted, self.ordinal


@dataclass(frozen=True, slots=True)
class OrderFact:
    """One order group of one message; or what holds of an order after several (`identity.current`)."""

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
    person: bytes = field(default=b"", repr=False, compare=False)  # the patient as the contract carries it
    # The order as the contract carries it, newest message first; determined by ``fact_id``.
    documents: tuple[bytes, ...] = field(default=(), repr=False, compare=False)

    @property
    def cancelled(self) -> bool:
        """Cancelled or discontinued (tables 0119 and 0038)."""
        return self.order_control in _CANCELLING_CONTROLS or self.order_status in _CANCELLED_STATUSES


# The messages of one order, oldest first.
Order = tuple[OrderFact, ...]


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
    person: bytes = field(default=b"", repr=False)  # the patient as the contract carries it


@dataclass(frozen=True, slots=True)
class ReportFact:
    """The status of a report that a radiologist's system sent (OBR-25, table 0123)."""

    fact_id: str
    stamp: Stamp
    result_status: str


@dataclass(frozen=True, slots=True)
class PatientFact:
    """Demographics from an ADT message."""

    fact_id: str
    stamp: Stamp
    patient: tuple[Identifier, ...]
    person: bytes = field(default=b"", repr=False)


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
    orders: tuple[Order, ...] = ()
    instances: tuple[InstanceFact, ...] = ()
    reports: tuple[ReportFact, ...] = ()
    patients: tuple[PatientFact, ...] = ()
    results: tuple[ResultFact, ...] = ()
    merges: tuple[tuple[Identifier, Identifier], ...] = ()  # (retired, surviving), HL7 A40
    superseded_by: str = ""  # the case that took this one's order over

    @property
    def last_image_at(self) -> datetime | None:
        return max((instance.received_at for instance in self.instances), default=None)

    @property
    def instance_count(self) -> int:
        """Different SOP instances: a second data set under a known UID is quarantined and adds none."""
        return len({instance.sop_instance_uid for instance in self.instances})


def by_stamp(fact: OrderFact | ReportFact | PatientFact) -> tuple[object, ...]:
    """A sort key, oldest first; total, so that no order of arrival shows through."""
    return (*fact.stamp.place, fact.fact_id)


def _number(digits: str) -> tuple[int, str]:
    """Compares as the number does, whatever its length."""
    significant = digits.lstrip("0")
    return len(significant), significant
