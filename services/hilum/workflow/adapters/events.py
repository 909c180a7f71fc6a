"""From the contracts to facts, and back from decisions to the contracts."""

from datetime import UTC, datetime
from datetime import date as calendar
from datetime import time as clock

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from hilum.contracts.cases.v1 import cases_pb2
from hilum.contracts.findings.v1.findings_pb2 import Result
from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.contracts.orders.v1.orders_pb2 import Code, Order
from hilum.contracts.patients.v1 import patients_pb2
from hilum.contracts.reports.v1.reports_pb2 import Report
from hilum.contracts.tasks.v1 import tasks_pb2
from hilum.ids import derived_id
from hilum.site import Site
from hilum.workflow.domain.case import AlgorithmState, Case, Task
from hilum.workflow.domain.completeness import Completeness
from hilum.workflow.domain.eligibility import Outcome, RuleOutcome
from hilum.workflow.domain.facts import (
    CaseFacts,
    Identifier,
    InstanceFact,
    OrderFact,
    PatientFact,
    ReportFact,
    ResultFact,
    Stamp,
)
from hilum.workflow.ports import ReportKeys

_NEVER = datetime(1, 1, 1, tzinfo=UTC)
# What an order's newest message must not take over from an earlier one.
_OF_ONE_MESSAGE = {
    "feed",
    "message_id",
    "message_control_id",
    "message_time",
    "ordinal",
    "message_type",
    "order_control",
    "order_status",
    "source_message",
}


def order_fact(order: Order) -> OrderFact:
    return OrderFact(
        fact_id=derived_id("order", order.message_id, str(order.ordinal)),
        stamp=_stamp(order),
        order_control=order.order_control,
        order_status=order.order_status,
        placer_order_number=_identifier(order.placer_order_number),
        filler_order_number=_identifier(order.filler_order_number),
        accession_number=_identifier(order.accession_number),
        study_instance_uid=order.study_instance_uid,
        modality=order.modality,
        procedure_code=order.procedure.code,
        priority=order.priority,
        patient=patient_identifiers(order.patient),
        person=order.patient.SerializeToString(deterministic=True),
        documents=(order.SerializeToString(deterministic=True),),
    )


def instance_fact(instance: Instance, site: Site) -> InstanceFact:
    return InstanceFact(
        sop_instance_uid=instance.sop_instance_uid,
        series_instance_uid=instance.series_instance_uid,
        sop_class_uid=instance.sop_class_uid,
        object_key=instance.object_key,
        sha256=instance.sha256,
        received_at=_time(instance.received_at) or _NEVER,
        accession_number=_identifier(instance.accession_number),
        patient=patient_identifiers(instance.patient),
        study_time=_study_time(instance.study_date, instance.study_time, site),
        tags=dict(instance.tags),
        reason=instance.reason,
        person=instance.patient.SerializeToString(deterministic=True),
    )


def report_fact(report: Report) -> ReportFact:
    return ReportFact(
        fact_id=derived_id("report", report.message_id, str(report.ordinal)),
        stamp=_stamp(report),
        result_status=report.result_status,
    )


def report_keys(report: Report) -> ReportKeys:
    return ReportKeys(
        report.study_instance_uid,
        _identifier(report.accession_number),
        _identifier(report.filler_order_number),
        _identifier(report.placer_order_number),
    )


def patient_fact(event: patients_pb2.PatientEvent) -> PatientFact:
    return PatientFact(
        fact_id=derived_id("patient", event.message_id, str(event.ordinal)),
        stamp=_stamp(event),
        patient=patient_identifiers(event.patient),
        person=event.patient.SerializeToString(deterministic=True),
    )


def result_fact(result: Result) -> ResultFact:
    return ResultFact(
        result_id=result.result_id,
        task_id=result.task_id,
        algorithm=result.algorithm,
        algorithm_version=result.algorithm_version,
        outcome=result.outcome,
        reason=result.reason,
    )


def patient_identifiers(patient: patients_pb2.Patient) -> tuple[Identifier, ...]:
    return tuple(sorted({Identifier(item.value, item.authority) for item in patient.identifiers if item.value}))


def merged_identifiers(event: patients_pb2.PatientEvent) -> tuple[Identifier, ...]:
    return tuple(Identifier(item.value, item.authority) for item in event.merged if item.value)


def case_state(case: Case, facts: CaseFacts, now: datetime) -> cases_pb2.CaseState:
    """The decision as topic `studies` carries it."""
    state = cases_pb2.CaseState(
        case_id=facts.case_id,
        version=case.version,
        site=facts.site,
        study_instance_uid=case.study_instance_uid,
        modality=case.modality,
        instance_count=case.instance_count,
        report_status=case.report_status,
        conflict=case.conflict,
        cancelled=case.cancelled,
        completeness=cases_pb2.Completeness(
            complete=case.completeness.complete,
            evidence=case.completeness.evidence,
            detail=case.completeness.detail,
        ),
    )
    state.orders.extend(_whole_order(order) for order in case.orders)
    state.patient.ParseFromString(case.patient)
    if case.accession_number is not None:
        state.accession_number.value = case.accession_number.value
        state.accession_number.authority = case.accession_number.authority
    state.study_time.FromDatetime(case.study_time)
    state.changed_at.FromDatetime(now)
    state.opened_at.FromDatetime(facts.opened_at)
    _put(state.completeness.decided_at, case.completed_at)
    state.algorithms.extend(_algorithm_state(algorithm) for algorithm in case.algorithms)
    return state


def case_of(state: cases_pb2.CaseState) -> Case:
    """What was decided last, read back from the contract."""
    return Case(
        case_id=state.case_id,
        version=state.version,
        study_instance_uid=state.study_instance_uid,
        patient=state.patient.SerializeToString(deterministic=True),
        accession_number=_identifier(state.accession_number),
        modality=state.modality,
        conflict=state.conflict,
        cancelled=state.cancelled,
        completeness=Completeness(
            state.completeness.complete, state.completeness.evidence, state.completeness.detail, short=False
        ),
        completed_at=_time(state.completeness.decided_at) if state.completeness.HasField("decided_at") else None,
        report_status=state.report_status,
        orders=tuple(order_fact(order) for order in state.orders),
        algorithms=tuple(_algorithm(algorithm) for algorithm in state.algorithms),
        instance_count=state.instance_count,
        study_time=_time(state.study_time) or _NEVER,
        looks_again_at=None,
    )


def task(case_id: str, facts: CaseFacts, planned: Task, now: datetime) -> tasks_pb2.Task:
    message = tasks_pb2.Task(
        task_id=planned.task_id,
        case_id=case_id,
        site=facts.site,
        study_instance_uid=facts.study_instance_uid,
        algorithm=planned.algorithm.name,
        algorithm_version=planned.algorithm.version,
        package_digest=planned.algorithm.package_digest,
        policy_revision=planned.algorithm.policy_revision,
        content_hash=planned.content_hash,
        revision=planned.revision,
        urgency=planned.urgency,
        inputs=[
            tasks_pb2.Input(
                sop_instance_uid=image.sop_instance_uid,
                sop_class_uid=image.sop_class_uid,
                series_instance_uid=image.series_instance_uid,
                object_key=image.object_key,
                sha256=image.sha256,
            )
            for image in planned.inputs
        ],
    )
    message.created_at.FromDatetime(now)
    message.due_at.FromDatetime(planned.due_at)
    message.useful_until.FromDatetime(planned.useful_until)
    return message


def _whole_order(fact: OrderFact) -> Order:
    """The order's newest message, and from earlier ones the fields that it leaves out (as `orders.current` does)."""
    newest, *earlier = (Order.FromString(document) for document in fact.documents)
    present = {field.name for field, value in newest.ListFields() if _says_something(value)}
    for message in earlier:
        for field, value in message.ListFields():
            if field.name in present or field.name in _OF_ONE_MESSAGE or not _says_something(value):
                continue
            present.add(field.name)
            if isinstance(value, Message):
                getattr(newest, field.name).CopyFrom(value)
            else:
                setattr(newest, field.name, value)
    return newest


def _says_something(value: object) -> bool:
    """An identifier without a value, a code without a code and a patient without identifiers say nothing."""
    match value:
        case patients_pb2.Identifier():
            return bool(value.value)
        case Code():
            return bool(value.code)
        case patients_pb2.Patient():
            return any(identifier.value for identifier in value.identifiers)
        case _:
            return True


def _algorithm_state(state: AlgorithmState) -> cases_pb2.AlgorithmState:
    message = cases_pb2.AlgorithmState(
        algorithm=state.algorithm,
        algorithm_version=state.version,
        disposition=state.disposition,
        rules=[
            cases_pb2.RuleOutcome(
                rule=rule.rule, field=rule.field, outcome=rule.outcome, expected=rule.expected, seen=rule.seen
            )
            for rule in state.rules
        ],
        task_id=state.task_id,
        content_hash=state.content_hash,
        result_id=state.result_id,
        revision=state.revision,
    )
    _put(message.due_at, state.due_at)
    _put(message.useful_until, state.useful_until)
    _put(message.changed_at, state.changed_at)
    return message


def _algorithm(message: cases_pb2.AlgorithmState) -> AlgorithmState:
    return AlgorithmState(
        algorithm=message.algorithm,
        version=message.algorithm_version,
        disposition=message.disposition,
        rules=tuple(
            RuleOutcome(rule.rule, rule.field, Outcome(rule.outcome), rule.expected, rule.seen)
            for rule in message.rules
        ),
        task_id=message.task_id,
        content_hash=message.content_hash,
        due_at=_time(message.due_at) if message.HasField("due_at") else None,
        useful_until=_time(message.useful_until) if message.HasField("useful_until") else None,
        result_id=message.result_id,
        revision=message.revision,
        changed_at=_time(message.changed_at) if message.HasField("changed_at") else None,
    )


def _stamp(message: Order | Report | patients_pb2.PatientEvent) -> Stamp:
    return Stamp(_time(message.message_time) or _NEVER, message.message_control_id, message.ordinal)


def _identifier(message: patients_pb2.Identifier) -> Identifier | None:
    return Identifier(message.value, message.authority) if message.value else None


def _time(message: Timestamp) -> datetime | None:
    return message.ToDatetime(UTC) if message.seconds or message.nanos else None


def _put(message: Timestamp, at: datetime | None) -> None:
    if at is not None:
        message.FromDatetime(at)


def _study_time(date: str, time: str, site: Site) -> datetime | None:
    """DICOM DA and TM (PS3.5 6.2) in the site's zone; None when there is no whole, believable date."""
    if not (len(date) == 8 and date.isascii() and date.isdigit() and "1900" <= date[:4] < "2200"):
        return None
    try:
        day = calendar.fromisoformat(date)
    except ValueError:
        return None
    digits = time.partition(".")[0].ljust(6, "0")
    try:
        at = clock.fromisoformat(digits) if len(digits) == 6 and digits.isascii() and digits.isdigit() else clock.min
    except ValueError:
        at = clock.min
    return datetime.combine(day, at, site.zone).astimezone(UTC)
