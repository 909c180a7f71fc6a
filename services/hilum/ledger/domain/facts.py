"""What the topics said, as the ledger keeps it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """One number of an order: ``kind`` is placer, filler or accession; an empty authority contradicts none."""

    kind: str
    value: str
    authority: str = ""

    def agrees(self, other: "Key") -> bool:
        known = self.authority and other.authority
        return (self.kind, self.value) == (other.kind, other.value) and (not known or self.authority == other.authority)


@dataclass(frozen=True, slots=True)
class MessageFact:
    """A raw message, and what kind it is by its own MSH-9."""

    event_id: str
    feed: str
    message_control_id: str
    sha256: bytes
    received_at: datetime
    acknowledgement_code: str
    reason: str
    kind: str  # MSH-9.1^MSH-9.2; empty when unreadable
    no_effect: str  # acknowledgement, or own (a result of ours that came back); empty when it must have an effect
    effects: int = 0  # orders, reports and patient events that were made of it
    dead_letter: bool = False


@dataclass(frozen=True, slots=True)
class OrderFact:
    """One order group of one message."""

    event_id: str
    message_id: str
    ordinal: int
    at: datetime
    stamp: datetime  # the sender's own time; orders the messages of one order
    message_type: str
    order_control: str
    order_status: str
    priority: str
    study_instance_uid: str
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class ReportFact:
    event_id: str
    at: datetime
    result_status: str
    study_instance_uid: str
    keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class StudyFact:
    """The images of one study, as imaging told of them."""

    study_instance_uid: str
    first_at: datetime
    last_at: datetime
    count: int
    unusable: Mapping[str, int] = field(default_factory=dict)  # why -> how many
    accession_numbers: tuple[Key, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageFact:
    """One instance and where its bytes should be."""

    sop_instance_uid: str
    object_key: str
    sha256: bytes
    size_bytes: int


@dataclass(frozen=True, slots=True)
class RuleFact:
    rule: str
    field: str
    outcome: str  # passed, failed or unknown
    expected: str
    seen: str


@dataclass(frozen=True, slots=True)
class CaseFact:
    """The newest state of a case."""

    case_id: str
    version: int
    site: str
    study_instance_uid: str
    patient_id: str
    accession_number: str
    modality: str
    procedure: str
    ordered_priority: str
    instance_count: int
    complete: bool
    evidence: str
    evidence_detail: str
    completed_at: datetime | None
    report_status: str
    conflict: str
    cancelled: bool
    opened_at: datetime
    changed_at: datetime
    order_ids: tuple[tuple[str, int], ...]  # message_id and ordinal of the latest message of each order
    order_keys: tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class AlgorithmFact:
    """The state of one algorithm of one case, or (`history`) one of the states it passed through."""

    case_id: str
    algorithm: str
    version: str
    place: int  # among the algorithms of the case; the last of a name is the one in force
    disposition: str
    rules: tuple[RuleFact, ...]
    due_at: datetime | None
    result_id: str
    revision: int
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class TaskFact:
    task_id: str
    case_id: str
    algorithm: str
    version: str
    urgency: str
    revision: int
    inputs: int
    at: datetime


@dataclass(frozen=True, slots=True)
class FindingFact:
    finding: str
    state: str
    probability: float
    threshold: float


@dataclass(frozen=True, slots=True)
class ResultFact:
    result_id: str
    task_id: str
    case_id: str
    algorithm: str
    version: str
    outcome: str
    reason: str
    engine: str
    findings: tuple[FindingFact, ...]
    at: datetime


@dataclass(frozen=True, slots=True)
class DeliveryState:
    at: datetime
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class DeliveryFact:
    """The newest state of one delivery, and those before it."""

    delivery_id: str
    destination: str
    kind: str
    case_id: str
    algorithm: str
    version: str
    revision: int
    state: str
    reason: str
    attempts: int
    at: datetime
    proof: Mapping[str, str]
    sha256: bytes
    object_key: str
    priority: str
    history: tuple[DeliveryState, ...] = ()


@dataclass(frozen=True, slots=True)
class AlarmFact:
    alarm_id: str
    kind: str
    case_id: str
    algorithm: str
    detail: str
    raised_at: datetime
    cleared_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeadLetterFact:
    """``payload`` is the event's bytes: it may identify a patient."""

    dead_letter_id: str
    group: str
    topic: str
    type: str
    event_id: str
    reason: str
    text: str
    at: datetime
    state: str
    attempts: int
    payload: bytes = field(default=b"", repr=False)
