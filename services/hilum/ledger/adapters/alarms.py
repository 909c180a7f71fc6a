"""`hilum.ledger.ports.Alarms` on the tables, inside one transaction; alarms of deliveries as their events tell."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from hilum.ids import derived_id
from hilum.ledger.adapters import reading, tables
from hilum.ledger.adapters.encoding import micros
from hilum.ledger.adapters.rows import put
from hilum.ledger.domain.entry import TOLERANCE
from hilum.ledger.domain.facts import AlgorithmFact, DeliveryFact
from hilum.store.sql import SqlTransaction

_KIND = "overdue"
_OPEN = ("waiting", "tasked")
_UNDELIVERED = "undelivered"
_UNSENT = ("planned", "held")
_FAILED = ("refused", "unconfirmed")


class SqlAlarms:
    def __init__(self, transaction: SqlTransaction) -> None:
        self._transaction = transaction

    def overdue(self, now: datetime) -> Sequence[AlgorithmFact]:
        columns = tables.ALGORITHMS.c
        standing = sa.exists().where(
            tables.ALARMS.c.kind == _KIND,
            tables.ALARMS.c.case_id == columns.case_id,
            tables.ALARMS.c.algorithm == columns.algorithm,
            tables.ALARMS.c.cleared_at.is_(None),
        )
        late = sa.or_(columns.due_at.is_(None), columns.due_at <= micros(now - TOLERANCE))
        rows = self._transaction.connection.execute(
            sa.select(tables.ALGORITHMS).where(columns.disposition.in_(_OPEN), late, sa.not_(standing))
        )
        return [reading.algorithm(row) for row in rows]

    def settled(self) -> Sequence[tuple[str, str]]:
        alarms, states = tables.ALARMS.c, tables.ALGORITHMS.c
        still = sa.exists().where(
            states.case_id == alarms.case_id,
            states.algorithm == alarms.algorithm,
            states.disposition.in_(_OPEN),
            sa.or_(states.due_at.is_(None), states.due_at <= alarms.raised_at),
        )
        rows = self._transaction.connection.execute(
            sa.select(alarms.case_id, alarms.algorithm).where(
                alarms.kind == _KIND, alarms.cleared_at.is_(None), sa.not_(still)
            )
        )
        return [(row.case_id, row.algorithm) for row in rows]

    def raise_overdue(self, state: AlgorithmFact, now: datetime) -> None:
        due = state.due_at.isoformat(timespec="seconds") if state.due_at is not None else "no time at all"
        put(
            self._transaction,
            tables.ALARMS,
            alarm_id=derived_id("alarm", _KIND, state.case_id, state.algorithm, str(micros(now))),
            kind=_KIND,
            case_id=state.case_id,
            algorithm=state.algorithm,
            detail=f"{state.disposition}, was due at {due}",
            raised_at=micros(now),
            cleared_at=None,
        )

    def stuck(self, unchanged_since: datetime) -> Sequence[DeliveryFact]:
        deliveries, alarms = tables.DELIVERIES.c, tables.ALARMS.c
        connection = self._transaction.connection
        standing = set(
            connection.execute(
                sa.select(alarms.alarm_id).where(alarms.kind == _UNDELIVERED, alarms.cleared_at.is_(None))
            ).scalars()
        )
        rows = connection.execute(
            sa.select(tables.DELIVERIES).where(deliveries.state.in_(_UNSENT), deliveries.at <= micros(unchanged_since))
        )
        return [reading.delivery(row, ()) for row in rows if _alarm_id(row.delivery_id) not in standing]

    def raise_stuck(self, delivery: DeliveryFact, now: datetime) -> None:
        raise_undelivered(
            self._transaction,
            delivery_id=delivery.delivery_id,
            case_id=delivery.case_id,
            algorithm=delivery.algorithm,
            detail=_told(delivery.destination, delivery.kind, delivery.state, delivery.reason),
            raised_at=micros(now),
        )

    def clear_overdue(self, case_id: str, algorithm: str, now: datetime) -> None:
        alarms = tables.ALARMS.c
        self._transaction.connection.execute(
            tables.ALARMS.update()
            .where(alarms.kind == _KIND, alarms.case_id == case_id, alarms.algorithm == algorithm)
            .where(alarms.cleared_at.is_(None))
            .values(cleared_at=micros(now))
        )


def watch_delivery(transaction: SqlTransaction, told: dict[str, Any]) -> None:
    """A delivery changed: what the peer has not taken needs a person at once; any other change ends the alarm."""
    if told["state"] in _FAILED:
        raise_undelivered(
            transaction,
            delivery_id=told["delivery_id"],
            case_id=told["case_id"],
            algorithm=told["algorithm"],
            detail=_told(told["destination"], told["kind"], told["state"], told["reason"]),
            raised_at=told["at"],
        )
        return
    alarms = tables.ALARMS.c
    transaction.connection.execute(
        tables.ALARMS.update()
        .where(alarms.alarm_id == _alarm_id(told["delivery_id"]), alarms.cleared_at.is_(None))
        .values(cleared_at=told["at"])
    )


def raise_undelivered(
    transaction: SqlTransaction, *, delivery_id: str, case_id: str, algorithm: str, detail: str, raised_at: int
) -> None:
    put(
        transaction,
        tables.ALARMS,
        alarm_id=_alarm_id(delivery_id),
        kind=_UNDELIVERED,
        case_id=case_id,
        algorithm=algorithm,
        detail=detail,
        raised_at=raised_at,
        cleared_at=None,
    )


def _alarm_id(delivery_id: str) -> str:
    return derived_id("alarm", _UNDELIVERED, delivery_id)


def _told(destination: str, kind: str, state: str, reason: str) -> str:
    return f"{kind} to {destination} is {state}" + (f": {reason}" if reason else "")
