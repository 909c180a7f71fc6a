"""The event log in one SQLite file, for a single machine.

WAL with synchronous=FULL: a commit returns after fdatasync of the write-ahead log. One thread
writes; whatever queued while the last sync ran is the next commit (natural group commit).
Several processes may share the file: offsets are taken inside the transaction.
"""

import asyncio
import json
import queue
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from hilum.contracts import topics as catalogue
from hilum.errors import Unavailable
from hilum.eventlog.port import Event, Record, StartOffset, TopicPartition, partition_of

_SCHEMA = """
CREATE TABLE IF NOT EXISTS heads (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (
    topic TEXT NOT NULL, partition INTEGER NOT NULL, offset INTEGER NOT NULL,
    key TEXT NOT NULL, type TEXT NOT NULL, event_id TEXT NOT NULL, time_us INTEGER NOT NULL,
    headers TEXT NOT NULL, value BLOB NOT NULL,
    PRIMARY KEY (topic, partition, offset)) WITHOUT ROWID;
"""
_POLL_SECONDS = 0.2  # how late another process's appends may be noticed
_GROUP_LIMIT = 4096  # events in one commit


class _Append(NamedTuple):
    events: Sequence[Event]
    done: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop


def connect(path: Path) -> sqlite3.Connection:
    """A connection as the log wants it: WAL, durable commits, explicit transactions."""
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def _microseconds(time: datetime) -> int:
    return int(time.timestamp() * 1_000_000)


class SqliteEventLog:
    """`hilum.eventlog.port.EventLog` on one file; `open` it, and `close` it when all readers are done."""

    def __init__(self, path: Path, partitions: int = 4) -> None:
        self._path = path
        self._partitions = partitions
        self._queue: queue.SimpleQueue[_Append | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None
        self._reads = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._data_version = -1
        self._heads: dict[TopicPartition, int] = {}
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def open(self) -> None:
        """Create the file if need be and start the writer. Raises `Unavailable` when the file cannot be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            writing = connect(self._path)
            writing.executescript(_SCHEMA)
            self._connection = connect(self._path)
        except (sqlite3.Error, OSError) as error:
            raise Unavailable("log_unavailable", f"the event log cannot be opened: {type(error).__name__}") from error
        for topic in catalogue.ALL:
            for partition in range(self._partitions):
                self._heads[TopicPartition(topic.name, partition)] = 0
        self._refresh_heads()
        self._writer = threading.Thread(target=self._write, args=(writing,), name="eventlog-writer", daemon=True)
        self._writer.start()

    def close(self) -> None:
        """Commit what is queued and close the file."""
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join()
            self._writer = None
        if self._connection is not None:
            with self._reads:
                self._connection.close()
                self._connection = None

    async def append(self, events: Sequence[Event]) -> None:
        if not events:
            return
        if self._writer is None:
            raise Unavailable("log_closed", "the event log is not open")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._queue.put(_Append(events, done, loop))
        await done

    async def heads(self, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
        await asyncio.to_thread(self._refresh_heads)
        return {place: offset for place, offset in self._heads.items() if place.topic in topics}

    async def reader(self, group: str, topics: Sequence[str], start: StartOffset) -> "SqliteReader":  # noqa: ARG002
        places = [TopicPartition(topic, partition) for topic in topics for partition in range(self._partitions)]
        return SqliteReader(self, {place: await start(place) for place in places})

    # The writer's thread.

    def _write(self, connection: sqlite3.Connection) -> None:
        closing = False
        while not closing:
            appends: list[_Append] = []
            item = self._queue.get()
            size = 0
            while True:
                if item is None:
                    closing = True
                    break
                appends.append(item)
                size += len(item.events)
                if size >= _GROUP_LIMIT:
                    break
                try:
                    item = self._queue.get_nowait()
                except queue.Empty:
                    break
            if appends:
                self._commit(connection, appends)
        connection.close()

    def _commit(self, connection: sqlite3.Connection, appends: Sequence[_Append]) -> None:
        heads: dict[TopicPartition, int] = {}
        failure: Unavailable | None = None
        try:
            connection.execute("BEGIN IMMEDIATE")
            rows = [self._row(connection, heads, event) for append in appends for event in append.events]
            connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            connection.executemany(
                "INSERT INTO heads VALUES (?, ?, ?) "
                "ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset",
                [(place.topic, place.partition, offset) for place, offset in heads.items()],
            )
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            failure = Unavailable("log_unavailable", f"the event log did not take the events: {type(error).__name__}")
        else:
            self._heads.update(heads)
        for append in appends:
            append.loop.call_soon_threadsafe(_settle, append.done, failure)
        self._wake()

    def _row(
        self, connection: sqlite3.Connection, heads: dict[TopicPartition, int], event: Event
    ) -> tuple[str, int, int, str, str, str, int, str, bytes]:
        place = TopicPartition(event.topic, partition_of(event.key, self._partitions))
        if place not in heads:
            found = connection.execute(
                "SELECT next_offset FROM heads WHERE topic = ? AND partition = ?", place
            ).fetchone()
            heads[place] = found[0] if found else 0
        offset = heads[place]
        heads[place] = offset + 1
        headers = json.dumps(dict(event.headers), separators=(",", ":")) if event.headers else "{}"
        time = _microseconds(event.time)
        return (*place, offset, event.key, event.type, event.event_id, time, headers, event.value)

    # Readers.

    def _wake(self) -> None:
        for loop, waiter in tuple(self._waiters):
            if not loop.is_closed():
                loop.call_soon_threadsafe(waiter.set)

    def _refresh_heads(self) -> None:
        with self._reads:
            if self._connection is None:
                raise Unavailable("log_closed", "the event log is not open")
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if version == self._data_version:
                return
            found = self._connection.execute("SELECT topic, partition, next_offset FROM heads").fetchall()
            self._data_version = version
        for topic, partition, offset in found:
            place = TopicPartition(topic, partition)
            self._heads[place] = max(offset, self._heads.get(place, 0))

    def _select(self, place: TopicPartition, offset: int, limit: int) -> list[Record]:
        with self._reads:
            if self._connection is None:
                raise Unavailable("log_closed", "the event log is not open")
            rows = self._connection.execute(
                "SELECT offset, key, type, event_id, time_us, headers, value FROM records "
                "WHERE topic = ? AND partition = ? AND offset >= ? ORDER BY offset LIMIT ?",
                (place.topic, place.partition, offset, limit),
            ).fetchall()
        return [
            Record(
                Event(place.topic, key, kind, value, event_id, _utc(time_us), json.loads(headers)),
                place.partition,
                at,
            )
            for at, key, kind, event_id, time_us, headers, value in rows
        ]


def _utc(time_us: int) -> datetime:
    return datetime.fromtimestamp(time_us / 1_000_000, UTC)


def _settle(done: asyncio.Future[None], failure: Unavailable | None) -> None:
    if done.cancelled():
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)


class SqliteReader:
    """Reads every partition of its topics; one process holds a group when embedded."""

    def __init__(self, log: SqliteEventLog, positions: dict[TopicPartition, int]) -> None:
        self._log = log
        self._positions = positions
        self._news = asyncio.Event()
        self._waiter = (asyncio.get_running_loop(), self._news)
        log._waiters.add(self._waiter)  # noqa: SLF001 - the log and its reader are one mechanism
        self._turn = 0

    async def fetch(self, limit: int, wait_seconds: float) -> Sequence[Record]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_seconds
        while True:
            self._news.clear()
            behind = [
                place
                for place, position in self._positions.items()
                if self._log._heads.get(place, 0) > position  # noqa: SLF001
            ]
            if behind:
                return await asyncio.to_thread(self._take, behind, limit)
            left = deadline - loop.time()
            if left <= 0:
                return []
            try:
                await asyncio.wait_for(self._news.wait(), min(left, _POLL_SECONDS))
            except TimeoutError:
                await asyncio.to_thread(self._log._refresh_heads)  # noqa: SLF001

    def _take(self, behind: list[TopicPartition], limit: int) -> list[Record]:
        self._turn += 1  # begin with another partition each time, so that a busy one starves no other
        start = self._turn % len(behind)
        records: list[Record] = []
        for place in behind[start:] + behind[:start]:
            found = self._log._select(place, self._positions[place], limit - len(records))  # noqa: SLF001
            if found:
                self._positions[place] = found[-1].offset + 1
                records += found
            if len(records) >= limit:
                break
        return records

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._positions[partition] = offset

    async def close(self) -> None:
        self._log._waiters.discard(self._waiter)  # noqa: SLF001
