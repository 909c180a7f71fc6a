"""What the ledger shows, as JSON documents; the shapes are those of hilum.api.worklist.v1."""

from datetime import UTC, datetime
from typing import Any

from hilum.ledger.app import Reconciliation
from hilum.ledger.domain.entry import Entry
from hilum.ledger.domain.facts import DeadLetterFact, DeliveryFact
from hilum.ledger.domain.worklist import WorklistEntry


def rfc3339(time: datetime | None) -> str:
    """UTC to the millisecond; empty for none."""
    if time is None:
        return ""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def entry(entry: Entry) -> dict[str, Any]:
    return {
        "case_id": entry.case_id,
        "accession_number": entry.accession_number,
        "study_instance_uid": entry.study_instance_uid,
        "patient_id": entry.patient_id,
        "algorithm": entry.algorithm,
        "version": entry.version,
        "disposition": entry.disposition,
        "reason": entry.reason,
        "timeline": [
            {"at": rfc3339(moment.at), "what": moment.what, "detail": moment.detail} for moment in entry.timeline
        ],
        "deliveries": [_delivery(one) for one in entry.deliveries],
        "due_at": rfc3339(entry.due_at),
        "overdue": entry.overdue,
        "findings": [
            {
                "finding": one.finding,
                "state": one.state,
                "probability": one.probability,
                "threshold": one.threshold,
            }
            for one in entry.findings
        ],
        "explanation": entry.explanation,
    }


def _delivery(delivery: DeliveryFact) -> dict[str, Any]:
    return {
        "delivery_id": delivery.delivery_id,
        "destination": delivery.destination,
        "kind": delivery.kind,
        "state": delivery.state,
        "reason": delivery.reason,
        "attempts": delivery.attempts,
        "at": rfc3339(delivery.at),
        "proof": dict(delivery.proof),
    }


def worklist_entry(entry: WorklistEntry) -> dict[str, Any]:
    return {
        "case_id": entry.case_id,
        "accession_number": entry.accession_number,
        "study_instance_uid": entry.study_instance_uid,
        "patient_id": entry.patient_id,
        "modality": entry.modality,
        "procedure": entry.procedure,
        "ordered_priority": entry.ordered_priority,
        "priority": entry.priority,
        "because": entry.because,
        "opened_at": rfc3339(entry.opened_at),
        "report_status": entry.report_status,
    }


def dead_letter(letter: DeadLetterFact) -> dict[str, Any]:
    """Without the payload: it may identify a patient."""
    return {
        "dead_letter_id": letter.dead_letter_id,
        "group": letter.group,
        "topic": letter.topic,
        "reason": letter.reason,
        "text": letter.text,
        "at": rfc3339(letter.at),
        "state": letter.state,
        "attempts": letter.attempts,
    }


def reconciliation(found: Reconciliation) -> dict[str, Any]:
    return {
        "adds_up": found.adds_up,
        "checks": [{"name": one.name, "holds": one.holds, "detail": one.detail} for one in found.checks],
        "identities": [
            {
                "algorithm": one.algorithm,
                "expected": one.expected,
                "resulted": one.resulted,
                "reasons": dict(one.reasons),
                "in_progress": one.in_progress,
                "overdue": one.overdue,
            }
            for one in found.identities
        ],
    }
