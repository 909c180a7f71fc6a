"""`hilum.imaging.ports.Index`: rows that the consumer keeps up, and in memory what it has not seen yet."""

import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.errors import Overloaded, Unavailable
from hilum.eventlog.port import Record
from hilum.imaging.adapters.tables import HELD
from hilum.imaging.app import CONFLICT
from hilum.imaging.domain import Held
from hilum.store.sql import SqlStore, SqlTransaction

_AHEAD = 5_000
_IN_ONE_QUERY = 500
# Compiled once: the driver alone takes a tenth of the time.
_INSERT = str(sqlite.insert(HELD).on_conflict_do_nothing().compile(dialect=sqlite.dialect()))
_ONE = str(
    sa.select(HELD.c.sha256, HELD.c.quarantined)
    .where(HELD.c.sop_instance_uid == sa.bindparam("uid"))
    .compile(dialect=sqlite.dialect())
)

Rows = Mapping[str, Sequence[Held]]
LookUp = Callable[[Sequence[str]], Awaitable[Rows]]
"""What the table holds of these SOP Instance UIDs."""


class SqlIndex:
    """From any thread, if ``look_up`` is. `project` is called by the consumer, in the store's thread."""

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up
        self._lock = threading.Lock()
        # SOP Instance UID -> data sets whose events are in the log, and perhaps not yet in the table.
        self._ahead: dict[str, list[Held]] = {}

    async def held(self, sop_instance_uid: str) -> Sequence[Held]:
        # Memory first: what is forgotten there between the two looks is in the table by then.
        with self._lock:
            ahead = tuple(self._ahead.get(sop_instance_uid, ()))
        rows = await self._look_up([sop_instance_uid])
        return [*rows.get(sop_instance_uid, ()), *ahead]

    def note(self, sop_instance_uid: str, held: Held) -> None:
        with self._lock:
            self._ahead.setdefault(sop_instance_uid, []).append(held)

    async def make_room(self) -> None:
        """Forget what the table holds by now. Raises `Overloaded` (`index_behind`) when that does not suffice."""
        if len(self._ahead) < _AHEAD:
            return
        with self._lock:
            waiting = list(self._ahead)
        rows = await self._look_up(waiting)
        with self._lock:
            for uid, held in rows.items():
                left = [known for known in self._ahead.get(uid, ()) if known not in held]
                if left:
                    self._ahead[uid] = left
                else:
                    self._ahead.pop(uid, None)
        if len(self._ahead) >= _AHEAD:
            raise Overloaded("index_behind", "the index of what is held has fallen behind the log")

    @staticmethod
    def project(transaction: SqlTransaction, record: Record) -> None:
        """Apply one record of the topic `instances`."""
        instance = Instance.FromString(record.event.value)
        row = (instance.sop_instance_uid, instance.sha256, instance.reason == CONFLICT)
        transaction.connection.exec_driver_sql(_INSERT, row)


def through(store: SqlStore) -> LookUp:
    """In the store's own thread, one transaction a look: for an event loop."""

    async def look_up(uids: Sequence[str]) -> Rows:
        return await store.transact(lambda transaction: _select(transaction.connection, uids))

    return look_up


class Reads:
    """`LookUp` on a connection of its own, which blocks, but waits for no transaction of the store's: for threads."""

    def __init__(self, url: sa.URL) -> None:
        """``url`` as of the store's engine, whose tables exist."""
        self._lock = threading.Lock()
        self._engine = sa.create_engine(
            url,
            poolclass=sa.pool.StaticPool,
            isolation_level="AUTOCOMMIT",
            connect_args={"timeout": 30, "check_same_thread": False},
        )
        self._connection: sa.Connection | None = None

    @classmethod
    async def of(cls, store: SqlStore) -> "Reads":
        return cls(await store.transact(lambda transaction: transaction.connection.engine.url))

    async def look_up(self, uids: Sequence[str]) -> Rows:
        try:
            with self._lock:
                if self._connection is None:
                    self._connection = self._engine.connect()
                if len(uids) == 1:
                    rows = self._connection.exec_driver_sql(_ONE, (uids[0],)).all()
                    return {uids[0]: [Held(sha256, bool(quarantined)) for sha256, quarantined in rows]}
                return _select(self._connection, uids)
        except sa.exc.DBAPIError as error:
            raise Unavailable("store_unavailable", "the index was not read") from error

    def close(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._engine.dispose()


def _select(connection: sa.Connection, sop_instance_uids: Sequence[str]) -> dict[str, list[Held]]:
    found: dict[str, list[Held]] = {}
    for start in range(0, len(sop_instance_uids), _IN_ONE_QUERY):
        some = sop_instance_uids[start : start + _IN_ONE_QUERY]
        for row in connection.execute(sa.select(HELD).where(HELD.c.sop_instance_uid.in_(some))):
            found.setdefault(row.sop_instance_uid, []).append(Held(row.sha256, row.quarantined))
    return found
