"""What our own services told: cases, tasks, results, deliveries, policies, dead letters."""

import json
from typing import Any

import sqlalchemy as sa

from hilum.contracts.cases.v1.cases_pb2 import AlgorithmState, CaseState
from hilum.contracts.deadletters.v1.deadletters_pb2 import DeadLetter
from hilum.contracts.deliveries.v1.deliveries_pb2 import Delivery
from hilum.contracts.findings.v1.findings_pb2 import Result
from hilum.contracts.policies.v1.policies_pb2 import Policy
from hilum.contracts.tasks.v1.tasks_pb2 import Task
from hilum.eventlog.port import Record
from hilum.ledger.adapters import tables
from hilum.ledger.adapters.alarms import watch_delivery
from hilum.ledger.adapters.encoding import dump_keys, keys_of, micros, micros_of, patient_id
from hilum.ledger.adapters.rows import put, read
from hilum.ledger.domain.worklist import rank
from hilum.store.sql import SqlTransaction


def keep_case(transaction: SqlTransaction, record: Record) -> None:
    """The newest state of a case, and every state that its algorithms passed through."""
    case = read(CaseState, record)
    known = transaction.connection.execute(
        sa.select(tables.CASES.c.version).where(tables.CASES.c.case_id == case.case_id)
    ).scalar()
    told = micros(record.event.time)
    for place, state in enumerate(case.algorithms):
        row = _algorithm_row(case.case_id, state, place, told)
        put(transaction, tables.HISTORY, case_version=case.version, **row)
        if known is None or case.version > known:
            put(transaction, tables.ALGORITHMS, **row)
    if known is not None and case.version <= known:
        return
    named = {(state.algorithm, state.algorithm_version) for state in case.algorithms}
    held = transaction.connection.execute(
        sa.select(tables.ALGORITHMS.c.algorithm, tables.ALGORITHMS.c.version).where(
            tables.ALGORITHMS.c.case_id == case.case_id
        )
    ).all()
    for algorithm, version in held:
        if (algorithm, version) not in named:
            where = (tables.ALGORITHMS.c.case_id == case.case_id, tables.ALGORITHMS.c.algorithm == algorithm)
            transaction.connection.execute(
                tables.ALGORITHMS.delete().where(*where, tables.ALGORITHMS.c.version == version)
            )
    put(transaction, tables.CASES, **_case_row(case, told))


def _case_row(case: CaseState, told: int) -> dict[str, Any]:
    accession = case.accession_number.value or next(
        (order.accession_number.value for order in case.orders if order.accession_number.value), ""
    )
    procedure = next((order.procedure for order in case.orders if order.HasField("procedure")), None)
    modality = case.modality or next((order.modality for order in case.orders if order.modality), "")
    priorities = [order.priority for order in case.orders if order.priority]
    keys = {key for order in case.orders for key in keys_of(order)}
    return {
        "case_id": case.case_id,
        "version": case.version,
        "site": case.site,
        "study_instance_uid": case.study_instance_uid,
        "patient_id": patient_id(case.patient),
        "accession_number": accession,
        "modality": modality,
        "procedure": (procedure.display or procedure.code) if procedure is not None else "",
        "ordered_priority": min(priorities, key=rank, default=""),
        "instance_count": case.instance_count,
        "complete": case.completeness.complete,
        "evidence": case.completeness.evidence,
        "evidence_detail": case.completeness.detail,
        "completed_at": micros_of(case.completeness.decided_at),
        "report_status": case.report_status,
        "conflict": case.conflict,
        "cancelled": case.cancelled,
        "opened_at": micros_of(case.opened_at) or told,
        "changed_at": micros_of(case.changed_at) or told,
        "order_ids": json.dumps([[order.message_id, order.ordinal] for order in case.orders]),
        "order_keys": dump_keys(sorted(keys)),
    }


def _algorithm_row(case_id: str, state: AlgorithmState, place: int, told: int) -> dict[str, Any]:
    rules = [[one.rule, one.field, one.outcome, one.expected, one.seen] for one in state.rules]
    return {
        "case_id": case_id,
        "algorithm": state.algorithm,
        "version": state.algorithm_version,
        "place": place,
        "disposition": state.disposition,
        "rules": json.dumps(rules),
        "due_at": micros_of(state.due_at),
        "result_id": state.result_id,
        "revision": state.revision,
        "changed_at": micros_of(state.changed_at) or told,
    }


def keep_task(transaction: SqlTransaction, record: Record) -> None:
    task = read(Task, record)
    put(
        transaction,
        tables.TASKS,
        task_id=task.task_id,
        case_id=task.case_id,
        algorithm=task.algorithm,
        version=task.algorithm_version,
        urgency=task.urgency,
        revision=task.revision,
        inputs=len(task.inputs),
        at=micros_of(task.created_at) or micros(record.event.time),
    )


def keep_result(transaction: SqlTransaction, record: Record) -> None:
    result = read(Result, record)
    findings = [[one.finding, one.state, one.probability, one.threshold] for one in result.findings]
    put(
        transaction,
        tables.RESULTS,
        result_id=result.result_id,
        task_id=result.task_id,
        case_id=result.case_id,
        algorithm=result.algorithm,
        version=result.algorithm_version,
        outcome=result.outcome,
        reason=result.reason,
        engine=result.engine,
        findings=json.dumps(findings),
        at=micros_of(result.ended_at) or micros(record.event.time),
    )


def keep_delivery(transaction: SqlTransaction, record: Record) -> None:
    delivery = read(Delivery, record)
    told = micros_of(delivery.at) or micros(record.event.time)
    put(
        transaction,
        tables.DELIVERY_STATES,
        event_id=record.event.event_id,
        delivery_id=delivery.delivery_id,
        at=told,
        state=delivery.state,
        reason=delivery.reason,
    )
    known = transaction.connection.execute(
        sa.select(tables.DELIVERIES.c.at).where(tables.DELIVERIES.c.delivery_id == delivery.delivery_id)
    ).scalar()
    if known is not None and known > told:
        return
    row = {
        "delivery_id": delivery.delivery_id,
        "destination": delivery.destination,
        "kind": delivery.kind,
        "case_id": delivery.case_id,
        "algorithm": delivery.algorithm,
        "version": delivery.algorithm_version,
        "revision": delivery.revision,
        "state": delivery.state,
        "reason": delivery.reason,
        "attempts": delivery.attempts,
        "at": told,
        "proof": json.dumps({proof.name: proof.value for proof in delivery.proofs}),
        "sha256": delivery.sha256,
        "object_key": delivery.object_key,
        "priority": delivery.priority,
    }
    put(transaction, tables.DELIVERIES, **row)
    watch_delivery(transaction, row)


def keep_policy(transaction: SqlTransaction, record: Record) -> None:
    policy = read(Policy, record)
    told = micros_of(policy.at) or micros(record.event.time)
    known = transaction.connection.execute(
        sa.select(tables.POLICIES).where(tables.POLICIES.c.algorithm == policy.algorithm)
    ).first()
    if known is not None and known.revision >= policy.revision:
        return
    put(
        transaction,
        tables.POLICIES,
        algorithm=policy.algorithm,
        version=policy.algorithm_version,
        state=policy.state,
        revision=policy.revision,
        first_at=min(told, known.first_at) if known is not None else told,
    )


def keep_dead_letter(transaction: SqlTransaction, record: Record) -> None:
    letter = read(DeadLetter, record)
    told = micros_of(letter.at) or micros(record.event.time)
    known = transaction.connection.execute(
        sa.select(tables.DEAD_LETTERS.c.at).where(tables.DEAD_LETTERS.c.dead_letter_id == letter.dead_letter_id)
    ).scalar()
    if known is not None and known > told:
        return
    put(
        transaction,
        tables.DEAD_LETTERS,
        dead_letter_id=letter.dead_letter_id,
        group_name=letter.group,
        topic=letter.topic,
        type=letter.type,
        reason=letter.reason,
        text=letter.text,
        at=told,
        state=letter.state,
        attempts=letter.attempts,
        cause_event_id=letter.event_id,
        letter=record.event.value,
    )
