"""State in SQL through SQLAlchemy: one database a service, one transaction a decision.

`SqlStore.transact` runs a synchronous function in the store's own thread and one transaction; the
function reads, decides, writes state and publishes events (the outbox). It does no other I/O, so
nothing can interleave within a decision.
"""

import asyncio
import contextvars
import json
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa

from hilum.clock import at_microseconds, microseconds
from hilum.errors import Fault, Unavailable
from hilum.eventlog.consumer import GiveUp, Handler, OnError, Stop
from hilum.eventlog.port import Event, Record, TopicPartition
from hilum.store.integrity import CORRUPT, corrupt
from hilum.telemetry import headers_of_current_context

_T = TypeVar("_T")
# SQLite's answers that say nothing about the statement: the file or the disk is not available now.
_AWAY = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
}
_METADATA = sa.MetaData()
_POSITIONS = sa.Table(
    "inbox_positions",
    _METADATA,
    sa.Column("group_name", sa.Text, primary_key=True),
    sa.Column("topic", sa.Text, primary_key=True),
    sa.Column("partition", sa.Integer, primary_key=True),
    sa.Column("next_offset", sa.BigInteger, nullable=False),
)
_SEEN = sa.Table(
    "inbox_seen",
    _METADATA,
    sa.Column("group_name", sa.Text, primary_key=True),
    sa.Column("event_id", sa.Text, primary_key=True),
)
_OUTBOX = sa.Table(
    "outbox",
    _METADATA,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("event_id", sa.Text, nullable=False),
    sa.Column("time_us", sa.BigInteger, nullable=False),
    sa.Column("headers", sa.Text, nullable=False),
    sa.Column("value", sa.LargeBinary, nullable=False),
    sqlite_autoincrement=True,
)
# Statements that every batch runs are built once: building one costs more than running it.
_ADD_TO_OUTBOX = _OUTBOX.insert()
_OLDEST_IN_OUTBOX = (
    sa.select(_OUTBOX)
    .where(_OUTBOX.c.sequence > sa.bindparam("after"))
    .order_by(_OUTBOX.c.sequence)
    .limit(sa.bindparam("at_most"))
)
_REMOVE_FROM_OUTBOX = _OUTBOX.delete().where(_OUTBOX.c.sequence <= sa.bindparam("through"))
_PLACES_OF_GROUP = sa.select(_POSITIONS).where(_POSITIONS.c.group_name == sa.bindparam("group"))
_ADD_PLACE = _POSITIONS.insert()
_ADVANCE_PLACE = (
    _POSITIONS.update()
    .where(
        _POSITIONS.c.group_name == sa.bindparam("group"),
        _POSITIONS.c.topic == sa.bindparam("of_topic"),
        _POSITIONS.c.partition == sa.bindparam("of_partition"),
        _POSITIONS.c.next_offset == sa.bindparam("before"),
    )
    .values(next_offset=sa.bindparam("after"))
)
_SEEN_OF = sa.select(_SEEN.c.event_id).where(
    _SEEN.c.group_name == sa.bindparam("group"), _SEEN.c.event_id.in_(sa.bindparam("event_ids", expanding=True))
)
_ADD_SEEN = _SEEN.insert()


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event that waits in the outbox."""

    sequence: int
    event: Event


class SqlTransaction:
    """One open transaction: ``connection`` for the service's own tables, `publish` for the outbox."""

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self.published: list[Outgoing] = []
        self.told: list[Callable[[], None]] = []

    def when_committed(self, tell: Callable[[], None]) -> None:
        """Call ``tell`` in the event loop once this transaction has committed, and not where it does not."""
        self.told.append(tell)

    def publish(self, event: Event) -> None:
        """Append ``event`` to its topic once this transaction has committed; the current trace goes with it."""
        headers = headers_of_current_context() | dict(event.headers)
        row = {
            "topic": event.topic,
            "key": event.key,
            "type": event.type,
            "event_id": event.event_id,
            "time_us": microseconds(event.time),
            "headers": json.dumps(headers, separators=(",", ":")),
            "value": event.value,
        }
        key = self.connection.execute(_ADD_TO_OUTBOX, row).inserted_primary_key
        assert key is not None
        self.published.append(Outgoing(key.sequence, event._replace(headers=headers)))

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """What is done and published within is undone when it raises; the rest of the transaction stands."""
        published, told = len(self.published), len(self.told)
        self.connection.exec_driver_sql("SAVEPOINT within")  # as text: half the cost of the library's own
        try:
            yield
        except Exception as error:
            if not of_database(error):  # then the transaction as a whole is not applied
                try:
                    self.connection.exec_driver_sql("ROLLBACK TO SAVEPOINT within")
                    self.connection.exec_driver_sql("RELEASE SAVEPOINT within")
                except sa.exc.DBAPIError:  # the database has ended the transaction by itself: nothing of it stands
                    ended = sqlite3.OperationalError("the transaction is no more")
                    raise sa.exc.OperationalError("SAVEPOINT within", None, ended) from error
                del self.published[published:], self.told[told:]
            raise
        self.connection.exec_driver_sql("RELEASE SAVEPOINT within")


class SqlStore:
    """The state of one service. Also the `Inbox` of its consumers and the outbox of its relay."""

    def __init__(self, engine: sa.Engine, tables: sa.MetaData) -> None:
        self._engine = engine
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        self.outbox_news = asyncio.Event()
        self._committed: deque[Outgoing] = deque()  # what this process published, as the outbox holds it
        self._relayed = 0
        self._forgotten = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        try:
            _METADATA.create_all(engine)
            tables.create_all(engine)
        except sa.exc.DBAPIError as error:
            self.close()
            if _is_corrupt(error):
                raise self._corrupt(error) from error
            raise Unavailable("store_unavailable", "the state database cannot be opened for writing") from error

    def close(self) -> None:
        """Finish what is in hand and close the database."""
        self._thread.shutdown(wait=True)
        if self._relayed > self._forgotten:
            with suppress(sa.exc.DBAPIError):  # then the next start relays it once more
                self._transact(_nothing)
        self._engine.dispose()

    async def transact(self, work: Callable[[SqlTransaction], _T]) -> _T:
        """Run ``work`` in one transaction; it commits when ``work`` returns and rolls back when it raises.

        A caller that is cancelled stops waiting: the transaction may commit all the same. Raises
        `Unavailable` (`store_unavailable`) when the database is away, `Fault` (`state_corrupt`) when it is damaged.
        """
        context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        try:
            running = self._loop.run_in_executor(self._thread, context.run, self._transact, work)
        except RuntimeError as error:
            raise Unavailable("store_closed", "the state database is closed") from error
        try:
            return await running
        except sa.exc.DBAPIError as error:
            # A full disk may end the transaction within it: what then fails, a savepoint's rollback say, only follows.
            first = [one for one in _history(error) if isinstance(one, sa.exc.DBAPIError)]
            if any(map(_is_away, first)):
                raise Unavailable("store_unavailable", "the state database did not take the transaction") from error
            if any(map(_is_corrupt, first)):
                raise self._corrupt(error) from error
            raise

    def _corrupt(self, error: sa.exc.DBAPIError) -> Fault:
        return corrupt(Path(self._engine.url.database or ""), str(error.orig))

    def _transact(self, work: Callable[[SqlTransaction], _T]) -> _T:
        relayed = self._relayed
        try:
            with self._engine.begin() as connection:
                transaction = SqlTransaction(connection)
                result = work(transaction)
                # Forgotten with the next that is written anyway: a transaction of its own costs a sync.
                forgets = relayed > self._forgotten and (transaction.published or work is _nothing)
                if forgets:
                    connection.execute(_REMOVE_FROM_OUTBOX, {"through": relayed})
        except sa.exc.DBAPIError:
            self._tell(self._news, [])  # a commit that failed may have been one all the same
            raise
        if forgets:
            self._forgotten = relayed
        if transaction.published:
            # Told from here, so that a caller that was cancelled meanwhile leaves no event behind.
            self._tell(self._news, transaction.published)
        for tell in transaction.told:
            self._tell(tell)
        return result

    def _tell(self, tell: Callable[..., None], *what: object) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended: the next start looks by itself
                self._loop.call_soon_threadsafe(tell, *what)

    def _news(self, published: Sequence[Outgoing]) -> None:
        self._committed.extend(published)
        self.outbox_news.set()

    # The inbox (`hilum.eventlog.consumer.Inbox`).

    async def position(self, group: str, place: TopicPartition) -> int:
        return await self.transact(lambda transaction: _position(transaction.connection, group, place))

    async def consume(
        self,
        group: str,
        records: Sequence[Record],
        handle: Handler[SqlTransaction],
        on_error: OnError,
        after: Callable[[SqlTransaction], None] | None = None,
    ) -> Stop | None:
        def work(transaction: SqlTransaction) -> Stop | None:
            stop = _consume(transaction, group, records, handle, on_error)
            if after is not None:
                after(transaction)
            return stop

        return await self.transact(work)

    # The outbox (`hilum.store.relay`).

    async def outgoing(self, limit: int) -> Sequence[Outgoing]:
        """The oldest events that were not relayed: from memory where it holds them without a gap, else as stored.

        A gap is what a run before this one left, another process published, or a commit whose answer was lost.
        """
        while self._committed and self._committed[0].sequence <= self._relayed:
            self._committed.popleft()
        if self._committed and self._committed[0].sequence == self._relayed + 1:
            found = list(islice(self._committed, limit))
            return [one for number, one in enumerate(found, self._relayed + 1) if one.sequence == number]
        return await self.transact(lambda transaction: _outgoing(transaction.connection, self._relayed, limit))

    async def relayed(self, through: int) -> None:
        """The outbox's events up to and including sequence ``through`` are in the log: they can be forgotten."""
        self._relayed = max(self._relayed, through)

    async def forget(self) -> None:
        """Forget now what was relayed, where nothing else was written since."""
        if self._relayed > self._forgotten:
            await self.transact(_nothing)


def _nothing(_transaction: SqlTransaction) -> None:
    """The work of a transaction that only forgets what was relayed."""


def open_sqlite(path: Path, tables: sa.MetaData) -> SqlStore:
    """The store in one SQLite file: WAL, synchronous=FULL, write lock taken at the start of a transaction."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable("store_unavailable", f"the state folder: {error.strerror}") from error
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        poolclass=sa.pool.StaticPool,
        connect_args={"timeout": 30, "isolation_level": None, "check_same_thread": False},
    )

    @sa.event.listens_for(engine, "connect")
    def _pragmas(connection: "sa.engine.interfaces.DBAPIConnection", _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return SqlStore(engine, tables)


def _is_away(error: sa.exc.DBAPIError) -> bool:
    """True when the same statement may succeed later; False when it is wrong."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return isinstance(error, sa.exc.OperationalError) if code is None else code & 0xFF in _AWAY


def of_database(error: BaseException) -> bool:
    """Whether the database itself is away or damaged: then no statement goes on."""
    return isinstance(error, sa.exc.DBAPIError) and (_is_away(error) or _is_corrupt(error))


def _history(error: BaseException | None) -> Iterator[BaseException]:
    """``error`` and those in whose handling it arose."""
    while error is not None:
        yield error
        error = error.__context__


def _is_corrupt(error: sa.exc.DBAPIError) -> bool:
    code = getattr(error.orig, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in CORRUPT


def _position(connection: sa.Connection, group: str, place: TopicPartition) -> int:
    return _positions(connection, group).get(place, 0)


def _positions(connection: sa.Connection, group: str) -> dict[TopicPartition, int]:
    rows = connection.execute(_PLACES_OF_GROUP, {"group": group})
    return {TopicPartition(row.topic, row.partition): row.next_offset for row in rows}


def _consume(
    transaction: SqlTransaction,
    group: str,
    records: Sequence[Record],
    handle: Handler[SqlTransaction],
    on_error: OnError,
) -> Stop | None:
    connection = transaction.connection
    known = _positions(connection, group)
    before = {place: known.get(place, 0) for place in dict.fromkeys(map(_place, records))}
    now = dict(before)
    seen = set(
        connection.execute(
            _SEEN_OF, {"group": group, "event_ids": [record.event.event_id for record in records]}
        ).scalars()
    )
    new: list[str] = []
    stop: Stop | None = None
    held: set[TopicPartition] = set()  # partitions in which a record waits
    for record in records:
        place = _place(record)
        if place in held or record.offset < now[place]:
            continue
        if record.offset > now[place]:
            raise Fault("log_gap", f"{place.topic}/{place.partition}: expected {now[place]}, got {record.offset}")
        if record.event.event_id not in seen:
            outcome = _attempt(transaction, record, handle, on_error)
            if isinstance(outcome, Stop):
                stop = stop or outcome
                held.add(place)
                continue
            seen.add(record.event.event_id)
            new.append(record.event.event_id)
        now[place] = record.offset + 1
    if new:
        connection.execute(_ADD_SEEN, [{"group_name": group, "event_id": event_id} for event_id in new])
    _advance(connection, group, [(place, before[place], now[place]) for place in now if now[place] != before[place]])
    return stop


def _place(record: Record) -> TopicPartition:
    return TopicPartition(record.event.topic, record.partition)


def _attempt(
    transaction: SqlTransaction, record: Record, handle: Handler[SqlTransaction], on_error: OnError
) -> Stop | None:
    try:
        with transaction.savepoint():
            handle(transaction, record)
    except Exception as error:
        if of_database(error):
            raise  # no fault of the record: the batch as a whole was not applied
        outcome = on_error(record, error)
        if isinstance(outcome, GiveUp):
            if outcome.dead_letter is not None:
                transaction.publish(outcome.dead_letter)
            return None
        return outcome
    return None


def _advance(connection: sa.Connection, group: str, moves: Sequence[tuple[TopicPartition, int, int]]) -> None:
    """Compare-and-set, (place, before, after): a zombie whose partition moved on finds another offset and loses."""
    moved = [
        {"group": group, "of_topic": place.topic, "of_partition": place.partition, "before": before, "after": after}
        for place, before, after in moves
        if before
    ]
    if moved and connection.execute(_ADVANCE_PLACE, moved).rowcount != len(moved):
        raise Fault("offset_moved", f"{group}: a partition was advanced by another consumer")
    first = [
        {"group_name": group, "topic": place.topic, "partition": place.partition, "next_offset": after}
        for place, before, after in moves
        if not before
    ]
    try:
        if first:
            connection.execute(_ADD_PLACE, first)
    except sa.exc.IntegrityError as error:
        raise Fault("offset_moved", f"{group}: a partition was advanced by another consumer") from error


def _outgoing(connection: sa.Connection, after: int, limit: int) -> Sequence[Outgoing]:
    rows = connection.execute(_OLDEST_IN_OUTBOX, {"after": after, "at_most": limit}).all()
    return [
        Outgoing(
            row.sequence,
            Event(
                topic=row.topic,
                key=row.key,
                type=row.type,
                value=row.value,
                event_id=row.event_id,
                time=at_microseconds(row.time_us),
                headers=json.loads(row.headers),
            ),
        )
        for row in rows
    ]
