"""`hilum.inference.ports.TaskQueue` on its table, and the transactions that the use cases run."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from hilum.contracts import topics
from hilum.contracts.tasks.v1 import tasks_pb2
from hilum.eventlog.port import event_of
from hilum.ids import event_id
from hilum.inference.adapters.contracts import Codes, message_of, result_of, task_of
from hilum.inference.adapters.tables import TASKS
from hilum.inference.app import Outcome
from hilum.inference.ports import HELD_FOR, QueuedTask, TaskQueue
from hilum.store.patience import PatientStore
from hilum.store.sql import SqlStore, SqlTransaction

_T = TypeVar("_T")
_NEVER_US = 2**62
# Built once: to build a statement costs several times what it costs to run it.
_NEW = insert(TASKS).on_conflict_do_nothing(index_elements=["task_id"])
_IN_HAND = TASKS.c.state == "in_hand"
_FIRST = (
    sa.select(TASKS)
    .where(TASKS.c.state == "waiting")
    .order_by(TASKS.c.urgency, TASKS.c.due_us, TASKS.c.sequence)
    .limit(1)
)
_LEFT = sa.select(TASKS).where(_IN_HAND, TASKS.c.held_until_us <= sa.bindparam("now_us")).limit(1)
_HELD = sa.select(TASKS).where(_IN_HAND, TASKS.c.holder == sa.bindparam("by")).limit(1)
_TAKEN = (
    TASKS.update()
    .where(TASKS.c.sequence == sa.bindparam("number"))
    .values(state="in_hand", holder=sa.bindparam("by"), held_until_us=sa.bindparam("until_us"))
)
_FINISHED = (
    TASKS.update()
    .where(TASKS.c.task_id == sa.bindparam("id"), TASKS.c.state == "in_hand")
    .values(state="done", done_us=sa.bindparam("at_us"), headers="{}", task=b"")
)


class SqlTaskQueue:
    """The queue within one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, queued: QueuedTask) -> bool:
        task = queued.task
        row = {
            "task_id": task.task_id,
            "state": "waiting",
            "urgency": int(task.urgency),
            "due_us": _us(task.due_at) if task.due_at else _NEVER_US,
            "deaths": queued.deaths,
            "headers": json.dumps(dict(queued.headers), separators=(",", ":")),
            "task": message_of(task).SerializeToString(deterministic=True),
        }
        return self._connection.execute(_NEW, row).rowcount == 1

    def claim(self, holder: str, now: datetime, held_for: timedelta = HELD_FOR) -> QueuedTask | None:
        row = (
            self._connection.execute(_HELD, {"by": holder}).first()
            or self._connection.execute(_LEFT, {"now_us": _us(now)}).first()
            or self._connection.execute(_FIRST).first()
        )
        if row is None:
            return None
        self._connection.execute(_TAKEN, {"number": row.sequence, "by": holder, "until_us": _us(now + held_for)})
        task = task_of(tasks_pb2.Task.FromString(row.task))
        return QueuedTask(task, json.loads(row.headers), row.deaths)

    def give_back(self, task_id: str, holder: str, *, died: bool) -> None:
        self._connection.execute(
            TASKS.update()
            .where(TASKS.c.task_id == task_id, TASKS.c.state == "in_hand", TASKS.c.holder == holder)
            .values(state="waiting", holder="", deaths=TASKS.c.deaths + int(died))
        )

    def finish(self, task_id: str, now: datetime) -> bool:
        return self._connection.execute(_FINISHED, {"id": task_id, "at_us": _us(now)}).rowcount == 1

    def recover(self) -> None:
        self._connection.execute(TASKS.update().where(TASKS.c.state == "in_hand").values(state="waiting", holder=""))

    def forget(self, done_before: datetime) -> None:
        self._connection.execute(TASKS.delete().where(TASKS.c.state == "done", TASKS.c.done_us < _us(done_before)))


class SqlTransactions:
    """`hilum.inference.app.Transactions` on the service's store."""

    def __init__(self, store: SqlStore | PatientStore, codes: Codes) -> None:
        self._store = store
        self._codes = codes

    async def on_queue(self, work: Callable[[TaskQueue], _T]) -> _T:
        return await self._store.transact(lambda transaction: work(SqlTaskQueue(transaction.connection)))

    async def conclude(self, outcome: Outcome) -> None:
        task = outcome.task
        event = event_of(
            topics.FINDINGS,
            task.case_id,
            result_of(outcome, self._codes),
            event_id(task.task_id, "result"),
            outcome.ended_at,
        )

        def work(transaction: SqlTransaction) -> None:
            if SqlTaskQueue(transaction.connection).finish(task.task_id, outcome.ended_at):
                transaction.publish(event)

        await self._store.transact(work)


def _us(moment: datetime) -> int:
    return int(moment.timestamp() * 1_000_000)
