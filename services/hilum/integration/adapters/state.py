"""`hilum.integration.ports.State` on its tables, and the transactions that the use cases run."""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa

from hilum.contracts import topics
from hilum.contracts.cases.v1 import cases_pb2
from hilum.contracts.findings.v1 import findings_pb2
from hilum.contracts.policies.v1 import policies_pb2
from hilum.errors import Fault, Rejected
from hilum.eventlog.port import event_of
from hilum.ids import event_id
from hilum.integration.adapters.contracts import Packages, PolicySeen, case_of, message_of, result_of
from hilum.integration.adapters.tables import CASES, DELIVERIES, DOCUMENTS, POLICIES, RESULTS
from hilum.integration.domain.attempt import HELD, HELD_BY_PEER, PLANNED, DeliveryRecord, Proof
from hilum.integration.domain.case import CaseState
from hilum.integration.domain.plan import Delivery, Kind, Standing
from hilum.integration.domain.result import AlgorithmResult
from hilum.integration.ports import KnownResult, State, T
from hilum.store.patience import PatientStore
from hilum.store.sql import SqlStore, SqlTransaction

_WAITING = (DELIVERIES.c.state == PLANNED) | (
    # Or held by a peer that may be asked again.
    (DELIVERIES.c.state == HELD) & DELIVERIES.c.reason.in_(sorted(HELD_BY_PEER))
)
_AT = DELIVERIES.c.destination == sa.bindparam("at")
# Statements of every round are built once: building one costs more than running it.
_DUE = (
    sa.select(DELIVERIES)
    .where(_AT, _WAITING, DELIVERIES.c.next_us <= sa.bindparam("now_us"))
    .order_by(DELIVERIES.c.urgency, DELIVERIES.c.planned_us)
    .limit(sa.bindparam("at_most"))
)
_HELD_BY = sa.select(DELIVERIES).where(_AT, _WAITING, DELIVERIES.c.holder == sa.bindparam("holder"))
_NEXT = sa.select(sa.func.min(DELIVERIES.c.next_us)).where(_AT, _WAITING)
_OF_CASE = sa.select(DELIVERIES).where(DELIVERIES.c.case_id == sa.bindparam("case_id"))
_CASE = sa.select(CASES.c.state).where(CASES.c.case_id == sa.bindparam("case_id"))
_KNOWN = sa.select(DELIVERIES.c.delivery_id).where(DELIVERIES.c.delivery_id == sa.bindparam("delivery_id"))
_CASE_VERSION = sa.select(CASES.c.version).where(CASES.c.case_id == sa.bindparam("of_case"))
_ADD_CASE = CASES.insert()
_RENEW_CASE = CASES.update().where(CASES.c.case_id == sa.bindparam("of_case"))
_RESULT = sa.select(RESULTS.c.result, RESULTS.c.headers).where(RESULTS.c.result_id == sa.bindparam("of"))
_UNPLANNED = sa.select(RESULTS.c.result, RESULTS.c.headers).where(
    RESULTS.c.case_id == sa.bindparam("of"), ~RESULTS.c.planned
)
_ADD_RESULT = RESULTS.insert()
_RESULT_PLANNED = RESULTS.update().where(RESULTS.c.result_id == sa.bindparam("of")).values(planned=True)
_RECORD = sa.select(DELIVERIES).where(DELIVERIES.c.delivery_id == sa.bindparam("of"))
_REVISIONS = (
    sa.select(POLICIES.c.revision, POLICIES.c.version, POLICIES.c.state)
    .where(POLICIES.c.algorithm == sa.bindparam("of"))
    .order_by(POLICIES.c.revision)
)
_ADD = DELIVERIES.insert()
_DOCUMENT = sa.select(DOCUMENTS.c.document).where(DOCUMENTS.c.delivery_id == sa.bindparam("of"))
_KEEP_DOCUMENT = DOCUMENTS.insert()
_FORGET_DOCUMENT = DOCUMENTS.delete().where(DOCUMENTS.c.delivery_id == sa.bindparam("of"))
_SAVE = DELIVERIES.update().where(DELIVERIES.c.delivery_id == sa.bindparam("of"))


class SqlState:
    """The state within one transaction. ``silenced`` are the algorithms that the site file keeps from sending."""

    def __init__(self, transaction: SqlTransaction, packages: Packages, silenced: frozenset[str]) -> None:
        self._transaction = transaction
        self._connection = transaction.connection
        self._packages = packages
        self._silenced = silenced

    def put_case(self, message: cases_pb2.CaseState) -> bool:
        """Keep a case state that is newer than the known one."""
        known = self._connection.execute(_CASE_VERSION, {"of_case": message.case_id}).scalar_one_or_none()
        if known is not None and known >= message.version:
            return False
        values = {"version": message.version, "state": message.SerializeToString(deterministic=True)}
        if known is None:
            self._connection.execute(_ADD_CASE, {"case_id": message.case_id, **values})
        else:
            self._connection.execute(_RENEW_CASE, {"of_case": message.case_id, **values})
        return True

    def put_policy(self, message: policies_pb2.Policy) -> None:
        """Keep every revision: a result is bound by the one that its task was made under, and by the newest."""
        where = (POLICIES.c.algorithm == message.algorithm) & (POLICIES.c.revision == message.revision)
        if self._connection.execute(sa.select(POLICIES.c.revision).where(where)).first() is not None:
            return
        self._connection.execute(
            POLICIES.insert().values(
                algorithm=message.algorithm,
                revision=message.revision,
                version=message.algorithm_version,
                state=message.state,
            )
        )

    def put_result(self, message: findings_pb2.Result, headers: dict[str, str]) -> KnownResult | None:
        """Keep a result; None where it is known. Raises as `result_of`."""
        if self._connection.execute(_RESULT, {"of": message.result_id}).first() is not None:
            return None
        result = KnownResult(self._domain(message), headers)
        row = {
            "result_id": message.result_id,
            "case_id": message.case_id,
            "planned": False,
            "headers": json.dumps(headers, separators=(",", ":")),
            "result": message.SerializeToString(deterministic=True),
        }
        self._connection.execute(_ADD_RESULT, row)
        return result

    def case(self, case_id: str) -> CaseState | None:
        found = self._connection.execute(_CASE, {"case_id": case_id}).scalar()
        return case_of(cases_pb2.CaseState.FromString(found)) if found is not None else None

    def result(self, result_id: str) -> KnownResult | None:
        rows = self._results(_RESULT, result_id)
        return rows[0] if rows else None

    def unplanned(self, case_id: str) -> Sequence[KnownResult]:
        return self._results(_UNPLANNED, case_id)

    def planned(self, result_id: str) -> None:
        self._connection.execute(_RESULT_PLANNED, {"of": result_id})

    def add(self, record: DeliveryRecord) -> bool:
        if self._connection.execute(_KNOWN, {"delivery_id": record.id}).first() is not None:
            return False
        self._connection.execute(_ADD, {"delivery_id": record.id, **_values(record)})
        return True

    def save(self, record: DeliveryRecord) -> None:
        self._connection.execute(_SAVE, {"of": record.id, **_values(record)})

    def record(self, delivery_id: str) -> DeliveryRecord | None:
        row = self._connection.execute(_RECORD, {"of": delivery_id}).first()
        return _record(row) if row is not None else None

    def of_case(self, case_id: str) -> Sequence[DeliveryRecord]:
        rows = self._connection.execute(_OF_CASE, {"case_id": case_id})
        return [_record(row) for row in rows]

    def due(self, destination: str, now: datetime, limit: int) -> Sequence[DeliveryRecord]:
        rows = self._connection.execute(_DUE, {"at": destination, "now_us": _us(now), "at_most": limit})
        return [_record(row) for row in rows]

    def held_by(self, destination: str, holder: str) -> Sequence[DeliveryRecord]:
        return [_record(row) for row in self._connection.execute(_HELD_BY, {"at": destination, "holder": holder})]

    def next_at(self, destination: str) -> datetime | None:
        found = self._connection.execute(_NEXT, {"at": destination}).scalar()
        return _moment(found) if found is not None else None

    def recover(self, now: datetime) -> None:
        """What was claimed when the process ended may be claimed again; it may have been sent."""
        claimed = _WAITING & (DELIVERIES.c.holder != "")
        sent = claimed & (DELIVERIES.c.object_key != "")
        self._connection.execute(DELIVERIES.update().where(sent).values(in_doubt=True))
        self._connection.execute(DELIVERIES.update().where(claimed).values(next_us=_us(now), holder=""))

    def document(self, delivery_id: str) -> bytes | None:
        found: bytes | None = self._connection.execute(_DOCUMENT, {"of": delivery_id}).scalar()
        return found

    def keep_document(self, delivery_id: str, data: bytes) -> None:
        self.forget_document(delivery_id)
        self._connection.execute(_KEEP_DOCUMENT, {"delivery_id": delivery_id, "document": data})

    def forget_document(self, delivery_id: str) -> None:
        self._connection.execute(_FORGET_DOCUMENT, {"of": delivery_id})

    def publish(self, record: DeliveryRecord, now: datetime) -> None:
        event = event_of(
            topics.DELIVERIES,
            record.delivery.case_id,
            message_of(record, now),
            event_id(record.id, record.state, record.changes),
            now,
        )
        # The trace of the result that the delivery came from, whatever made it change.
        self._transaction.publish(event._replace(headers=record.headers))

    def _results(self, which: sa.Select[Any], of: str) -> list[KnownResult]:
        rows = self._connection.execute(which, {"of": of}).all()
        known = []
        for row in rows:
            # A package that was changed since leaves nothing that could still be rendered as it was meant.
            with suppress(Fault, Rejected):
                result = self._domain(findings_pb2.Result.FromString(row.result))
                known.append(KnownResult(result, json.loads(row.headers)))
        return known

    def _domain(self, message: findings_pb2.Result) -> AlgorithmResult:
        return result_of(message, self._packages, self._policy(message))

    def _policy(self, message: findings_pb2.Result) -> PolicySeen:
        """The strictest of the site file, the policy of the task, and the newest of its version.

        Revisions rise over all versions of a name, so that a higher one means that the task's own was read before.
        """
        if message.algorithm in self._silenced:
            return PolicySeen(silent=True, awaited=False)
        rows = self._connection.execute(_REVISIONS, {"of": message.algorithm}).all()
        if message.policy_revision > max((row.revision for row in rows), default=0):
            return PolicySeen(silent=False, awaited=True)
        newest = [row.state for row in rows if row.version == message.algorithm_version][-1:]
        pinned = [row.state for row in rows if row.revision == message.policy_revision]
        return PolicySeen(silent=any(state != "live" for state in newest + pinned), awaited=False)


def _values(record: DeliveryRecord) -> dict[str, Any]:
    delivery = record.delivery
    return {
        "destination": delivery.destination,
        "case_id": delivery.case_id,
        "algorithm": delivery.algorithm,
        "version": delivery.version,
        "kind": delivery.kind.value,
        "revision": delivery.revision,
        "result_id": record.result_id,
        "site": record.site,
        "study_instance_uid": record.study_instance_uid,
        "state": record.state,
        "reason": record.reason,
        "urgency": delivery.urgency,
        "planned_us": _us(record.planned_at),
        "next_us": _us(record.next_at),
        "holder": record.holder,
        "attempts": record.attempts,
        "failures": record.failures,
        "in_doubt": record.in_doubt,
        "changes": record.changes,
        "case_version": record.case_version,
        "priority": record.priority,
        "sha256": record.sha256,
        "object_key": record.object_key,
        "proofs": json.dumps([[proof.name, proof.value] for proof in record.proofs]),
        "headers": json.dumps(dict(record.headers), separators=(",", ":")),
    }


def _record(row: sa.Row[Any]) -> DeliveryRecord:
    delivery = Delivery(
        row.destination, row.case_id, row.algorithm, row.version, Kind(row.kind), row.revision, Standing.DUE
    )
    return DeliveryRecord(
        id=row.delivery_id,
        delivery=delivery,
        result_id=row.result_id,
        site=row.site,
        study_instance_uid=row.study_instance_uid,
        state=row.state,
        reason=row.reason,
        planned_at=_moment(row.planned_us),
        next_at=_moment(row.next_us),
        holder=row.holder,
        attempts=row.attempts,
        failures=row.failures,
        in_doubt=row.in_doubt,
        changes=row.changes,
        case_version=row.case_version,
        priority=row.priority,
        sha256=row.sha256,
        object_key=row.object_key,
        proofs=tuple(Proof(name, value) for name, value in json.loads(row.proofs)),
        headers=json.loads(row.headers),
    )


def _us(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)


class SqlTransactions:
    """`hilum.integration.ports.Transactions` on the service's store."""

    def __init__(self, store: SqlStore | PatientStore, packages: Packages, silenced: frozenset[str]) -> None:
        self._store = store
        self._packages = packages
        self._silenced = silenced

    def state(self, transaction: SqlTransaction) -> SqlState:
        return SqlState(transaction, self._packages, self._silenced)

    async def transact(self, work: Callable[[State], T]) -> T:
        return await self._store.transact(lambda transaction: work(self.state(transaction)))

    async def recover(self, now: datetime) -> None:
        await self._store.transact(lambda transaction: self.state(transaction).recover(now))

    async def rendered(self, record: DeliveryRecord) -> bool:
        """`hilum.integration.ports.Recorder`."""
        mine = (DELIVERIES.c.delivery_id == record.id) & (DELIVERIES.c.holder == record.holder)
        written = DELIVERIES.update().where(mine).values(sha256=record.sha256, object_key=record.object_key)
        return await self._store.transact(lambda transaction: transaction.connection.execute(written).rowcount == 1)
