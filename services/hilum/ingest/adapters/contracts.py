"""From facts to the contracts."""

from collections.abc import Iterable

from hilum.contracts.orders.v1 import orders_pb2
from hilum.contracts.patients.v1 import patients_pb2
from hilum.contracts.reports.v1 import reports_pb2
from hilum.ingest.domain.facts import Code, Fact, Identifier, OrderFact, Patient, PatientFact, ReportFact, Source

FactMessage = orders_pb2.Order | reports_pb2.Report | patients_pb2.PatientEvent


def fact_message(fact: Fact) -> FactMessage:
    """The event that states ``fact``."""
    if isinstance(fact, OrderFact):
        return _order(fact)
    if isinstance(fact, ReportFact):
        return _report(fact)
    return _patient_event(fact)


def _order(fact: OrderFact) -> orders_pb2.Order:
    message = orders_pb2.Order(
        message_type=fact.message_type,
        order_control=fact.order_control,
        order_status=fact.order_status,
        placer_order_number=_identifier(fact.placer_order_number),
        filler_order_number=_identifier(fact.filler_order_number),
        accession_number=_identifier(fact.accession_number),
        requested_procedure_id=fact.requested_procedure_id,
        scheduled_procedure_step_id=fact.scheduled_procedure_step_id,
        study_instance_uid=fact.study_instance_uid,
        modality=fact.modality,
        procedure=_code(fact.procedure),
        protocol=_code(fact.protocol),
        priority=fact.priority,
        scheduled_start=fact.scheduled_start,
        reason=fact.reason,
        patient=_patient(fact.patient),
        source_message=fact.source_message,
    )
    _put_source(message, fact.source)
    return message


def _report(fact: ReportFact) -> reports_pb2.Report:
    message = reports_pb2.Report(
        placer_order_number=_identifier(fact.placer_order_number),
        filler_order_number=_identifier(fact.filler_order_number),
        accession_number=_identifier(fact.accession_number),
        study_instance_uid=fact.study_instance_uid,
        result_status=fact.result_status,
        patient=_patient(fact.patient),
        observations=[
            reports_pb2.Observation(
                code=observation.code.code,
                display=observation.code.display,
                system=observation.code.system,
                value_type=observation.value_type,
                value=observation.value,
                status=observation.status,
            )
            for observation in fact.observations
        ],
    )
    _put_source(message, fact.source)
    return message


def _patient_event(fact: PatientFact) -> patients_pb2.PatientEvent:
    message = patients_pb2.PatientEvent(
        trigger_event=fact.trigger_event,
        patient=_patient(fact.patient),
        merged=_identifiers(fact.merged),
        visit_number=fact.visit_number,
    )
    _put_source(message, fact.source)
    return message


def _put_source(message: FactMessage, source: Source) -> None:
    message.site = source.site
    message.feed = source.feed
    message.message_id = source.message_id
    message.message_control_id = source.message_control_id
    message.ordinal = source.ordinal
    message.message_time.FromDatetime(source.message_time)


def _patient(patient: Patient) -> patients_pb2.Patient:
    return patients_pb2.Patient(
        identifiers=_identifiers(patient.identifiers),
        family_name=patient.family_name,
        given_name=patient.given_name,
        birth_date=patient.birth_date,
        sex=patient.sex,
    )


def _identifiers(identifiers: Iterable[Identifier]) -> list[patients_pb2.Identifier]:
    return [
        patients_pb2.Identifier(value=item.value, authority=item.authority, type_code=item.type_code)
        for item in identifiers
    ]


def _identifier(item: Identifier | None) -> patients_pb2.Identifier | None:
    return None if item is None else _identifiers([item])[0]


def _code(code: Code | None) -> orders_pb2.Code | None:
    return None if code is None else orders_pb2.Code(code=code.code, display=code.display, system=code.system)
