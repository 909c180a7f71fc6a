"""`hilum.ledger.ports.Alarms` on the tables, inside one transaction."""

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from hilum.ids import derived_id
from hilum.ledger.adapters import reading, tables
from hilum.ledger.adapters.encoding import micros
from hilum.ledger.adapters.rows import put
from hilum.ledger.domain.entry import TOLERANCE
from hilum.ledger.domain.facts import AlgorithmFact
from hilum.store.sql import SqlTransaction

_KIND = "overdue"
_OPEN = ("waiting", "tasked")


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

    def clear_overdue(self, case_id: str, algorithm: str, now: datetime) -> None:
        alarms = tables.ALARMS.c
        self._transaction.connection.execute(
            tables.ALARMS.update()
            .where(alarms.kind == _KIND, alarms.case_id == case_id, alarms.algorithm == algorithm)
            .where(alarms.cleared_at.is_(None))
            .values(cleared_at=micros(now))
        )
