"""What the client returns. Times are text, RFC 3339 in UTC, as the servers give them; empty where there is none."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """``code`` is AA, AE or AR (HL7 table 0008); ``reason`` is coded and empty when AA."""

    code: str
    message_control_id: str
    event_id: str
    reason: str
    message: bytes = field(repr=False)

    @property
    def accepted(self) -> bool:
        return self.code == "AA"


@dataclass(frozen=True, slots=True)
class Moment:
    at: str
    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """``state``: planned, landed, suppressed:RULE, late, unconfirmed, refused or held."""

    delivery_id: str
    destination: str
    kind: str
    state: str
    reason: str
    attempts: int
    at: str
    proof: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Finding:
    """``state``: present, absent or indeterminate."""

    finding: str
    state: str
    probability: float
    threshold: float


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One study and algorithm; ``disposition``: resulted, in_progress, or the coded reason for no result."""

    case_id: str
    accession_number: str
    study_instance_uid: str
    patient_id: str
    algorithm: str
    version: str
    disposition: str
    reason: str
    explanation: str
    due_at: str
    overdue: bool
    findings: tuple[Finding, ...]
    timeline: tuple[Moment, ...]
    deliveries: tuple[Delivery, ...]


@dataclass(frozen=True, slots=True)
class WorklistEntry:
    """Priorities are codes of HL7 table 0485: as ordered, and after the findings."""

    case_id: str
    accession_number: str
    study_instance_uid: str
    patient_id: str
    modality: str
    procedure: str
    ordered_priority: str
    priority: str
    because: str
    opened_at: str
    report_status: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    dead_letter_id: str
    group: str
    topic: str
    reason: str
    text: str
    at: str
    state: str
    attempts: int


@dataclass(frozen=True, slots=True)
class DeadLetterDetail:
    """``payload``: the event's bytes, which may identify a patient; empty unless asked for."""

    dead_letter: DeadLetter
    type: str
    event_id: str
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True)
class AlgorithmIdentity:
    """expected = resulted + each of ``reasons`` + in_progress."""

    algorithm: str
    expected: int
    resulted: int
    reasons: Mapping[str, int]
    in_progress: int
    overdue: int


@dataclass(frozen=True, slots=True)
class Reconciliation:
    adds_up: bool
    checks: tuple[Check, ...]
    identities: tuple[AlgorithmIdentity, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """One installed version; ``state``: live, silent or off."""

    name: str
    version: str
    title: str
    use: str
    digest: str
    state: str
    revision: int
    reason: str
    at: str
    alarm: str
