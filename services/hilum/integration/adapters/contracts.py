"""Between the contracts and the domain: cases and results in, deliveries out."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from hilum.contracts.cases.v1 import cases_pb2
from hilum.contracts.deliveries.v1 import deliveries_pb2
from hilum.contracts.findings.v1 import findings_pb2
from hilum.contracts.orders.v1 import orders_pb2
from hilum.contracts.patients.v1 import patients_pb2
from hilum.errors import Fault, Rejected
from hilum.integration.domain.attempt import DeliveryRecord
from hilum.integration.domain.case import AssignedId, CaseState, Order, Patient
from hilum.integration.domain.result import (
    Algorithm,
    AlgorithmResult,
    Box,
    Concept,
    Finding,
    Localisation,
    Output,
    SourceImage,
    State,
    Use,
)
from hilum.packages import ModelPackage

Packages = Mapping[tuple[str, str], ModelPackage]


@dataclass(frozen=True, slots=True)
class PolicySeen:
    """What the site file and the policies say of a result; as in `AlgorithmResult`."""

    silent: bool
    awaited: bool


def case_of(message: cases_pb2.CaseState) -> CaseState:
    """The case of an event; how fresh it is, is for the caller to say."""
    useful = {a.algorithm: _time(a.useful_until) for a in message.algorithms if a.HasField("useful_until")}
    accession = _identifier(message.accession_number)
    orders = tuple(_order(order) for order in message.orders)
    orders = tuple(replace(order, accession_number=order.accession_number or accession) for order in orders)
    if not orders and accession is not None:
        orders = (Order(accession_number=accession),)
    return CaseState(
        case_id=message.case_id,
        version=message.version,
        site=message.site,
        study_instance_uid=message.study_instance_uid,
        patient=_patient(message.patient),
        orders=orders,
        instance_count=message.instance_count,
        modality=message.modality,
        study_time=_time(message.study_time) if message.HasField("study_time") else None,
        images_complete_at=_time(message.completeness.decided_at) if message.completeness.complete else None,
        report_status=message.report_status,
        cancelled=message.cancelled,
        conflict=message.conflict,
        useful_until=useful,
    )


def result_of(message: findings_pb2.Result, packages: Packages, policy: PolicySeen) -> AlgorithmResult:
    """The result of an event, with what its package declares.

    Raises Fault ``package_unknown`` where the package of this version is not installed, or was changed since;
    Rejected ``result_invalid`` for a finding that it does not declare.
    """
    package = packages.get((message.algorithm, message.algorithm_version))
    if package is None or (message.package_digest and message.package_digest != package.digest):
        raise Fault("package_unknown", "the package that made this result is not the one installed here")
    return AlgorithmResult(
        result_id=message.result_id,
        case_id=message.case_id,
        revision=message.revision,
        algorithm=_algorithm(package),
        findings=tuple(_finding(finding, package) for finding in message.findings),
        started_at=_time(message.started_at),
        completed_at=_time(message.ended_at),
        silent=policy.silent,
        policy_awaited=policy.awaited,
        inputs=tuple(
            SourceImage(i.sop_instance_uid, i.sop_class_uid, i.series_instance_uid, i.object_key)
            for i in message.inputs
        ),
    )


def message_of(record: DeliveryRecord, now: datetime) -> deliveries_pb2.Delivery:
    """What is published of a delivery."""
    delivery = record.delivery
    message = deliveries_pb2.Delivery(
        delivery_id=record.id,
        destination=delivery.destination,
        kind=delivery.kind.value,
        case_id=delivery.case_id,
        site=record.site,
        study_instance_uid=record.study_instance_uid,
        algorithm=delivery.algorithm,
        algorithm_version=delivery.version,
        revision=delivery.revision,
        state=record.state,
        reason=record.reason,
        proofs=[deliveries_pb2.Proof(name=proof.name, value=proof.value) for proof in record.proofs],
        attempts=record.attempts,
        sha256=record.sha256,
        object_key=record.object_key,
        case_version=record.case_version,
        result_id=record.result_id,
        priority=record.priority,
    )
    message.at.FromDatetime(now)
    return message


def _algorithm(package: ModelPackage) -> Algorithm:
    return Algorithm(
        name=package.name,
        version=package.version,
        digest=package.digest,
        title=package.title,
        use=Use(package.use.value),
        outputs=frozenset(Output(output.value) for output in package.outputs),
        notice=package.notice,
        manufacturer=package.device.manufacturer,
        model_name=package.device.model_name,
        device_uid=package.device.uid,
    )


def _finding(message: findings_pb2.Finding, package: ModelPackage) -> Finding:
    try:
        declared = package.finding(message.finding)
        state = State(message.state)
    except (KeyError, ValueError):
        raise Rejected("result_invalid", "a finding or its state is not one that the package declares") from None
    place = None
    if message.sop_instance_uid:
        box = message.box if message.HasField("box") else None
        place = Localisation(
            message.sop_instance_uid,
            Box(box.row0, box.column0, box.row1, box.column1) if box else None,
            message.map_object_key,
        )
    return Finding(
        id=message.finding,
        concept=Concept(declared.code.system, declared.code.code, declared.code.display),
        state=state,
        probability=message.probability,
        threshold=message.threshold,
        priority=declared.priority.value if declared.priority is not None else None,
        localisation=place,
    )


def _order(message: orders_pb2.Order) -> Order:
    procedure = message.procedure
    coded = (procedure.code, procedure.display, procedure.system) if procedure.code or procedure.display else None
    return Order(
        placer_order_number=_identifier(message.placer_order_number),
        filler_order_number=_identifier(message.filler_order_number),
        accession_number=_identifier(message.accession_number),
        requested_procedure_id=message.requested_procedure_id,
        procedure_code=coded,
        priority=message.priority,
        message_type=message.message_type,
        source_message=message.source_message,
        ordinal=message.ordinal,
    )


def _patient(message: patients_pb2.Patient) -> Patient:
    identifiers = [_identifier(i) for i in message.identifiers]
    return Patient(
        identifiers=tuple(i for i in identifiers if i is not None),
        family_name=message.family_name,
        given_name=message.given_name,
        birth_date=message.birth_date,
        sex=message.sex,
    )


def _identifier(message: patients_pb2.Identifier) -> AssignedId | None:
    return AssignedId(message.value, message.authority, message.type_code) if message.value else None


def _time(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
