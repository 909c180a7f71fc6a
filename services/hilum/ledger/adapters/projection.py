"""From the topics to the tables: every event is kept as it was told, and nothing is decided here."""

from collections.abc import Callable, Iterable

import sqlalchemy as sa

from hilum.contracts import topics
from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.contracts.messages.v1.messages_pb2 import RawMessage
from hilum.contracts.orders.v1.orders_pb2 import Order
from hilum.contracts.patients.v1.patients_pb2 import PatientEvent
from hilum.contracts.reports.v1.reports_pb2 import Report
from hilum.errors import Rejected
from hilum.eventlog.port import Record
from hilum.hl7.message import Message, parse
from hilum.hl7.tables import ACKNOWLEDGING
from hilum.ledger.adapters import tables
from hilum.ledger.adapters.encoding import dump_keys, key_of, keys_of, micros, micros_of
from hilum.ledger.adapters.outcomes import (
    keep_case,
    keep_dead_letter,
    keep_delivery,
    keep_policy,
    keep_result,
    keep_task,
)
from hilum.ledger.adapters.rows import put, raise_alarm, read
from hilum.ledger.domain.facts import Key
from hilum.store.sql import SqlTransaction

_Handler = Callable[[SqlTransaction, Record], None]


class Projection:
    """The handlers of the ledger's consumer; ``own_applications`` are the MSH-3 under which we send ourselves."""

    def __init__(self, own_applications: frozenset[str]) -> None:
        self._own = own_applications

    @property
    def handlers(self) -> dict[str, _Handler]:
        return {
            topics.MESSAGES.name: self._message,
            topics.ORDERS.name: self._order,
            topics.REPORTS.name: self._report,
            topics.PATIENTS.name: self._patient,
            topics.INSTANCES.name: self._instance,
            topics.STUDIES.name: keep_case,
            **dict.fromkeys((topic.name for topic in topics.TASKS.values()), keep_task),
            topics.FINDINGS.name: keep_result,
            topics.DELIVERIES.name: keep_delivery,
            topics.POLICIES.name: keep_policy,
            topics.DEAD_LETTERS.name: keep_dead_letter,
        }

    def _message(self, transaction: SqlTransaction, record: Record) -> None:
        message = read(RawMessage, record)
        kind, no_effect = self._kind(message.payload)
        received = micros_of(message.received_at) or micros(record.event.time)
        same = transaction.connection.execute(
            sa.select(tables.MESSAGES.c.sha256).where(
                tables.MESSAGES.c.feed == message.feed,
                tables.MESSAGES.c.message_control_id == message.message_control_id,
                tables.MESSAGES.c.event_id != record.event.event_id,
            )
        ).scalars()
        digests = set(same)
        if message.message_control_id and digests and message.sha256 not in digests:
            detail = "a sender used one message control ID for two contents; both were processed"
            raise_alarm(transaction, "control_id_reused", record.event.event_id, detail, received)
        put(
            transaction,
            tables.MESSAGES,
            event_id=record.event.event_id,
            feed=message.feed,
            message_control_id=message.message_control_id,
            sha256=message.sha256,
            received_at=received,
            acknowledgement_code=message.acknowledgement_code,
            reason=message.reason,
            kind=kind,
            no_effect=no_effect,
        )

    def _kind(self, payload: bytes) -> tuple[str, str]:
        """MSH-9.1^MSH-9.2, and why a message of its kind rightly changes nothing here."""
        try:
            message = parse(payload)
        except Rejected:
            return "", ""
        code, trigger = message.get("MSH-9.1"), message.get("MSH-9.2")
        kind = f"{code}^{trigger}" if trigger else code
        if code in ACKNOWLEDGING:
            return kind, "acknowledgement"
        return kind, "own" if code == "ORU" and self._is_own(message) else ""

    def _is_own(self, message: Message) -> bool:
        """A result of ours that came back: sent under our name, or each group under a filler number of ours."""
        if message.get("MSH-3").strip() in self._own:
            return True
        assigners = {group.get("OBR-3.2") or group.get("ORC-3.2") for group in message.groups(("ORC", "OBR"))}
        return bool(assigners) and assigners <= self._own

    def _order(self, transaction: SqlTransaction, record: Record) -> None:
        order = read(Order, record)
        keys = keys_of(order)
        _effect(transaction, record, order.message_id)
        put(
            transaction,
            tables.ORDERS,
            event_id=record.event.event_id,
            message_id=order.message_id,
            ordinal=order.ordinal,
            at=micros(record.event.time),
            stamp=micros_of(order.message_time) or micros(record.event.time),
            message_type=order.message_type,
            order_control=order.order_control,
            order_status=order.order_status,
            priority=order.priority,
            study_instance_uid=order.study_instance_uid,
            keys=dump_keys(keys),
        )
        _keep_keys(transaction, record, keys)

    def _report(self, transaction: SqlTransaction, record: Record) -> None:
        report = read(Report, record)
        keys = keys_of(report)
        _effect(transaction, record, report.message_id)
        put(
            transaction,
            tables.REPORTS,
            event_id=record.event.event_id,
            at=micros(record.event.time),
            result_status=report.result_status,
            study_instance_uid=report.study_instance_uid,
            keys=dump_keys(keys),
        )
        _keep_keys(transaction, record, keys)

    def _patient(self, transaction: SqlTransaction, record: Record) -> None:
        _effect(transaction, record, read(PatientEvent, record).message_id)

    def _instance(self, transaction: SqlTransaction, record: Record) -> None:
        instance = read(Instance, record)
        accession = key_of("accession", instance.accession_number)
        put(
            transaction,
            tables.INSTANCES,
            event_id=record.event.event_id,
            study_instance_uid=instance.study_instance_uid,
            sop_instance_uid=instance.sop_instance_uid,
            object_key=instance.object_key,
            sha256=instance.sha256,
            size_bytes=instance.size_bytes,
            received_at=micros_of(instance.received_at) or micros(record.event.time),
            accession_number=accession.value if accession else "",
            accession_authority=accession.authority if accession else "",
            reason=instance.reason,
        )


def _effect(transaction: SqlTransaction, record: Record, message_id: str) -> None:
    put(
        transaction,
        tables.EFFECTS,
        event_id=record.event.event_id,
        message_id=message_id,
        topic=record.event.topic,
    )


def _keep_keys(transaction: SqlTransaction, record: Record, keys: Iterable[Key]) -> None:
    for key in keys:
        put(
            transaction,
            tables.KEYS,
            event_id=record.event.event_id,
            kind=key.kind,
            value=key.value,
            authority=key.authority,
        )
