"""Rows as facts."""

import json
from collections.abc import Sequence
from typing import Any

from hilum.ledger.adapters.encoding import at, at_or_none, load_findings, load_keys, load_rules
from hilum.ledger.domain.facts import (
    AlarmFact,
    AlgorithmFact,
    CaseFact,
    DeadLetterFact,
    DeliveryFact,
    DeliveryState,
    MessageFact,
    OrderFact,
    ReportFact,
    ResultFact,
    TaskFact,
)

Row = Any  # a row of the table that the function is named for


def message(row: Row) -> MessageFact:
    return MessageFact(
        event_id=row.event_id,
        feed=row.feed,
        message_control_id=row.message_control_id,
        sha256=row.sha256,
        received_at=at(row.received_at),
        acknowledgement_code=row.acknowledgement_code,
        reason=row.reason,
        kind=row.kind,
        no_effect=row.no_effect,
        effects=row.effects or 0,
        dead_letter=row.cause_event_id is not None,
    )


def order(row: Row) -> OrderFact:
    return OrderFact(
        event_id=row.event_id,
        message_id=row.message_id,
        ordinal=row.ordinal,
        at=at(row.at),
        stamp=at(row.stamp),
        message_type=row.message_type,
        order_control=row.order_control,
        order_status=row.order_status,
        priority=row.priority,
        study_instance_uid=row.study_instance_uid,
        keys=load_keys(row.keys),
    )


def report(row: Row) -> ReportFact:
    return ReportFact(row.event_id, at(row.at), row.result_status, row.study_instance_uid, load_keys(row.keys))


def case(row: Row) -> CaseFact:
    return CaseFact(
        case_id=row.case_id,
        version=row.version,
        site=row.site,
        study_instance_uid=row.study_instance_uid,
        patient_id=row.patient_id,
        accession_number=row.accession_number,
        modality=row.modality,
        procedure=row.procedure,
        ordered_priority=row.ordered_priority,
        instance_count=row.instance_count,
        complete=row.complete,
        evidence=row.evidence,
        evidence_detail=row.evidence_detail,
        completed_at=at_or_none(row.completed_at),
        report_status=row.report_status,
        conflict=row.conflict,
        cancelled=row.cancelled,
        opened_at=at(row.opened_at),
        changed_at=at(row.changed_at),
        order_ids=tuple((message_id, ordinal) for message_id, ordinal in json.loads(row.order_ids)),
        order_keys=load_keys(row.order_keys),
    )


def algorithm(row: Row) -> AlgorithmFact:
    return AlgorithmFact(
        case_id=row.case_id,
        algorithm=row.algorithm,
        version=row.version,
        place=row.place,
        disposition=row.disposition,
        rules=load_rules(row.rules),
        due_at=at_or_none(row.due_at),
        result_id=row.result_id,
        revision=row.revision,
        changed_at=at(row.changed_at),
    )


def task(row: Row) -> TaskFact:
    return TaskFact(
        row.task_id, row.case_id, row.algorithm, row.version, row.urgency, row.revision, row.inputs, at(row.at)
    )


def result(row: Row) -> ResultFact:
    return ResultFact(
        result_id=row.result_id,
        task_id=row.task_id,
        case_id=row.case_id,
        algorithm=row.algorithm,
        version=row.version,
        outcome=row.outcome,
        reason=row.reason,
        engine=row.engine,
        findings=load_findings(row.findings),
        at=at(row.at),
    )


def delivery(row: Row, history: Sequence[DeliveryState]) -> DeliveryFact:
    return DeliveryFact(
        delivery_id=row.delivery_id,
        destination=row.destination,
        kind=row.kind,
        case_id=row.case_id,
        algorithm=row.algorithm,
        version=row.version,
        revision=row.revision,
        state=row.state,
        reason=row.reason,
        attempts=row.attempts,
        at=at(row.at),
        proof=json.loads(row.proof),
        sha256=row.sha256,
        object_key=row.object_key,
        priority=row.priority,
        history=tuple(history),
    )


def alarm(row: Row) -> AlarmFact:
    return AlarmFact(
        row.alarm_id,
        row.kind,
        row.case_id,
        row.algorithm,
        row.detail,
        at(row.raised_at),
        at_or_none(row.cleared_at),
    )


def dead_letter(row: Row, payload: bytes = b"") -> DeadLetterFact:
    return DeadLetterFact(
        dead_letter_id=row.dead_letter_id,
        group=row.group_name,
        topic=row.topic,
        type=row.type,
        event_id=row.cause_event_id,
        reason=row.reason,
        text=row.text,
        at=at(row.at),
        state=row.state,
        attempts=row.attempts,
        payload=payload,
    )
