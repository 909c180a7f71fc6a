"""The reading list as our findings leave it: unread studies, the most urgent first."""

from dataclasses import dataclass
from datetime import datetime

from hilum.ledger.domain.entry import CaseFile
from hilum.ledger.domain.facts import DeliveryFact

_READ = {"F", "C", "X"}  # table 0123
# Table 0485; P, C and T have no order among the urgent ones and stand between.
_RANK = {"S": 0, "STAT": 0, "A": 1, "ASAP": 1, "T": 2, "P": 2, "C": 2, "R": 3, "": 3, "ROUTINE": 3}


@dataclass(frozen=True, slots=True)
class WorklistEntry:
    case_id: str
    accession_number: str
    study_instance_uid: str
    patient_id: str
    modality: str
    procedure: str
    ordered_priority: str
    priority: str
    because: str
    opened_at: datetime
    report_status: str


def worklist(files: list[CaseFile]) -> list[WorklistEntry]:
    """Of the cases that have images and no final report; a priority counts once the RIS has acknowledged it."""
    entries = [_entry(file) for file in files if is_unread(file)]
    return sorted(entries, key=lambda entry: (rank(entry.priority), entry.opened_at, entry.case_id))


def is_unread(file: CaseFile) -> bool:
    case = file.case
    return case.instance_count > 0 and not case.cancelled and case.report_status not in _READ


def rank(priority: str) -> int:
    """0 is read first; an unknown code ranks as routine."""
    code = priority.strip().upper()
    return _RANK.get(code, _RANK.get(code[:1], 3) if code[:1] == "T" else 3)


def _entry(file: CaseFile) -> WorklistEntry:
    case = file.case
    raised = _raised(file)
    return WorklistEntry(
        case_id=case.case_id,
        accession_number=case.accession_number,
        study_instance_uid=case.study_instance_uid,
        patient_id=case.patient_id,
        modality=case.modality,
        procedure=case.procedure,
        ordered_priority=case.ordered_priority,
        priority=raised.priority if raised else case.ordered_priority,
        because=_because(file, raised) if raised else "",
        opened_at=case.opened_at,
        report_status=case.report_status,
    )


def _raised(file: CaseFile) -> DeliveryFact | None:
    landed = [one for one in file.deliveries if one.kind == "priority" and one.state == "landed" and one.priority]
    higher = [one for one in landed if rank(one.priority) < rank(file.case.ordered_priority)]
    return min(higher, key=lambda one: (rank(one.priority), one.at), default=None)


def _because(file: CaseFile, raised: DeliveryFact) -> str:
    of_algorithm = [one for one in file.results if (one.algorithm, one.version) == (raised.algorithm, raised.version)]
    newest = max(of_algorithm, key=lambda one: one.at, default=None)
    present = [one for one in newest.findings if one.state == "present"] if newest else []
    return ", ".join(f"{one.finding} {one.probability:.2f}" for one in present) or raised.algorithm
