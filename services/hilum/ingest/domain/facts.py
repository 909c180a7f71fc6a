"""What a message states, once read: the facts that topics `orders`, `reports` and `patients` carry."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Identifier:
    """A value and who assigned it; ``authority`` is empty where the sender named nobody."""

    value: str
    authority: str = ""
    type_code: str = ""


@dataclass(frozen=True, slots=True)
class Code:
    code: str
    display: str = ""
    system: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    identifiers: tuple[Identifier, ...]
    family_name: str = ""
    given_name: str = ""
    birth_date: str = ""
    sex: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """The message that states a fact; ``ordinal`` is which of its groups, from 0."""

    site: str
    feed: str
    message_id: str
    message_control_id: str
    message_time: datetime
    ordinal: int


@dataclass(frozen=True, slots=True)
class OrderFact:
    """One order group; identifiers are None where absent."""

    source: Source
    message_type: str
    order_control: str
    order_status: str
    placer_order_number: Identifier | None
    filler_order_number: Identifier | None
    accession_number: Identifier | None
    requested_procedure_id: str
    scheduled_procedure_step_id: str
    study_instance_uid: str
    modality: str
    procedure: Code | None
    protocol: Code | None
    priority: str
    scheduled_start: str
    reason: str
    patient: Patient
    source_message: bytes


@dataclass(frozen=True, slots=True)
class ObservationFact:
    code: Code
    value_type: str
    value: str
    status: str


@dataclass(frozen=True, slots=True)
class ReportFact:
    """One OBR group of somebody else's report."""

    source: Source
    placer_order_number: Identifier | None
    filler_order_number: Identifier | None
    accession_number: Identifier | None
    study_instance_uid: str
    result_status: str
    patient: Patient
    observations: tuple[ObservationFact, ...]


@dataclass(frozen=True, slots=True)
class PatientFact:
    """What an ADT message states of one patient; ``merged`` are identifiers retired in its favour."""

    source: Source
    trigger_event: str
    patient: Patient
    merged: tuple[Identifier, ...]
    visit_number: str


Fact = OrderFact | ReportFact | PatientFact
