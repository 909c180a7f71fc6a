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
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from hilum.clock import at_microseconds, microseconds
from hilum.contracts import topics as catalogue
from hilum.errors import Fault, Unavailable
from hilum.eventlog.port import Event, Record, StartOffset, TopicPartition, partition_of

_T = TypeVar("_T")
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
_BUSY_SECONDS = 30.0  # how long a commit waits for another process's


class _Row(NamedTuple):
    """An event ready to be written, but for its offset."""

    place: TopicPartition
    key: str
    type: str
    event_id: str
    time_us: int
    headers: str
    value: bytes


class _Append(NamedTuple):
    rows: Sequence[_Row]
    done: asyncio.Future[None]
    loop: asyncio.AbstractEventLoop


def connect(path: Path, busy_seconds: float = _BUSY_SECONDS) -> sqlite3.Connection:
    """A connection as the log wants it: WAL, durable commits, explicit transactions."""
    connection = sqlite3.connect(path, timeout=busy_seconds, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


class SqliteEventLog:
    """`hilum.eventlog.port.EventLog` on one file; `open` it, and `close` it when all readers are done."""

    def __init__(self, path: Path, partitions: int = 4, busy_seconds: float = _BUSY_SECONDS) -> None:
        self._path = path
        self._partitions = partitions
        self._busy_seconds = busy_seconds
        self._queue: queue.SimpleQueue[_Append | None] = queue.SimpleQueue()
        self._gate = threading.Lock()  # between an append that is being queued and `close`
        self._writer: threading.Thread | None = None
        # Reads have a thread of their own: slow work in the default executor must not delay them.
        self._reads: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection
        self._data_version = -1
        self._known = threading.Lock()  # guards the heads, which the writer and the reads both advance
        self._heads: dict[TopicPartition, int] = {}
        self._waiters: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    def open(self) -> None:
        """Create the file if need be and start the writer. Raises `Unavailable` when the file cannot be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            writing = connect(self._path, self._busy_seconds)
            try:
                writing.executescript(_SCHEMA)
                self._connection = connect(self._path, self._busy_seconds)
            except sqlite3.Error:
                writing.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise Unavailable("log_unavailable", f"the event log cannot be opened: {type(error).__name__}") from error
        for topic in catalogue.ALL:
            for partition in range(self._partitions):
                self._heads[TopicPartition(topic.name, partition)] = 0
        self._reads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="eventlog-reader")
        self._reads.submit(self._refresh_heads).result()
        self._writer = threading.Thread(target=self._write, args=(writing,), name="eventlog-writer", daemon=True)
        self._writer.start()

    def close(self) -> None:
        """Commit what is queued and close the file."""
        with self._gate:
            writer, self._writer = self._writer, None
            self._queue.put(None)
        if writer is not None:
            writer.join()
        reads, self._reads = self._reads, None
        if reads is not None:
            reads.shutdown(wait=True)
            self._connection.close()

    async def append(self, events: Sequence[Event]) -> None:
        """A cancelled append may still reach the log. Raises `Fault` (`event_malformed`) for an unstorable event."""
        if not events:
            return
        try:
            rows = [self._row(event) for event in events]
        except (TypeError, ValueError) as error:
            raise Fault("event_malformed", f"an event cannot be stored: {type(error).__name__}") from error
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        with self._gate:
            if self._writer is None:
                raise Unavailable("log_closed", "the event log is not open")
            self._queue.put(_Append(rows, done, loop))
        await done

    async def heads(self, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
        await self._read(self._refresh_heads)
        with self._known:
            return {place: offset for place, offset in self._heads.items() if place.topic in topics}

    async def reader(self, group: str, topics: Sequence[str], start: StartOffset) -> "SqliteReader":  # noqa: ARG002
        """Raises `Fault` (`log_lost`) when a start lies beyond the end: this is not the log that was read before."""
        places = [TopicPartition(topic, partition) for topic in topics for partition in range(self._partitions)]
        positions = {place: await start(place) for place in places}
        heads = await self.heads(topics)
        for place, position in positions.items():
            if position > heads.get(place, 0):
                raise Fault("log_lost", f"{place.topic}/{place.partition} ends before what was read of it")
        return SqliteReader(self, positions)

    def _row(self, event: Event) -> _Row:
        event.event_id.encode()  # a lone surrogate is refused here and not in the writer's thread
        event.type.encode()
        return _Row(
            TopicPartition(event.topic, partition_of(event.key, self._partitions)),
            event.key,
            event.type,
            event.event_id,
            microseconds(event.time),
            json.dumps(dict(event.headers), separators=(",", ":")) if event.headers else "{}",
            event.value,
        )

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
                size += len(item.rows)
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
            rows = [self._placed(connection, heads, row) for append in appends for row in append.rows]
            connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            connection.executemany(
                "INSERT INTO heads VALUES (?, ?, ?) "
                "ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset",
                [(place.topic, place.partition, offset) for place, offset in heads.items()],
            )
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it was: this thread must answer, and live
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            failure = Unavailable("log_unavailable", f"the event log did not take the events: {type(error).__name__}")
        else:
            self._advance(heads.items())
        for append in appends:
            _call(append.loop, _settle, append.done, failure)
        for loop, waiter in tuple(self._waiters):
            _call(loop, waiter.set)

    def _placed(
        self, connection: sqlite3.Connection, heads: dict[TopicPartition, int], row: _Row
    ) -> tuple[str, int, int, str, str, str, int, str, bytes]:
        place = row.place
        if place not in heads:
            found = connection.execute(
                "SELECT next_offset FROM heads WHERE topic = ? AND partition = ?", place
            ).fetchone()
            heads[place] = found[0] if found else 0
        offset = heads[place]
        heads[place] = offset + 1
        return (*place, offset, row.key, row.type, row.event_id, row.time_us, row.headers, row.value)

    # Reads, in their own thread.

    async def _read(self, work: Callable[[], _T]) -> _T:
        if self._reads is None:
            raise Unavailable("log_closed", "the event log is not open")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reads, work)
        except sqlite3.Error as error:
            raise Unavailable("log_unavailable", f"the event log was not read: {type(error).__name__}") from error

    def _refresh_heads(self) -> None:
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version == self._data_version:
            return
        found = self._connection.execute("SELECT topic, partition, next_offset FROM heads").fetchall()
        self._data_version = version
        self._advance((TopicPartition(topic, partition), offset) for topic, partition, offset in found)

    def _advance(self, heads: Iterable[tuple[TopicPartition, int]]) -> None:
        with self._known:
            for place, offset in heads:
                self._heads[place] = max(offset, self._heads.get(place, 0))

    def _take(self, positions: Sequence[tuple[TopicPartition, int]], limit: int) -> list[Record]:
        """Up to ``limit`` records, from ``positions`` in turn."""
        records: list[Record] = []
        for place, position in positions:
            rows = self._connection.execute(
                "SELECT offset, key, type, event_id, time_us, headers, value FROM records "
                "WHERE topic = ? AND partition = ? AND offset >= ? ORDER BY offset LIMIT ?",
                (*place, position, limit - len(records)),
            ).fetchall()
            records += [
                Record(
                    Event(place.topic, key, kind, value, event_id, at_microseconds(time_us), json.loads(headers)),
                    place.partition,
                    offset,
                )
                for offset, key, kind, event_id, time_us, headers, value in rows
            ]
            if len(records) >= limit:
                break
        return records


def _call(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: object) -> None:
    with suppress(RuntimeError):  # the loop was closed: nobody waits there any more
        loop.call_soon_threadsafe(function, *arguments)


def _settle(done: asyncio.Future[None], failure: Unavailable | None) -> None:
    if done.cancelled():
        return
    if failure is None:
        done.set_result(None)
    else:
        done.set_exception(failure)


class SqliteReader:
    """Reads every partition of its topics; one process holds a group when embedded. One `fetch` at a time."""

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
            self._news.clear()  # before looking: what is appended from here on is seen or wakes
            behind = [
                (place, position)
                for place, position in self._positions.items()
                if self._log._heads.get(place, 0) > position  # noqa: SLF001
            ]
            if behind:
                return await self._take(behind, limit)
            left = deadline - loop.time()
            if left <= 0:
                return []
            try:
                # Not wait_for: before Python 3.12 it loses a cancellation that comes together with the news.
                async with asyncio.timeout(min(left, _POLL_SECONDS)):
                    await self._news.wait()
            except TimeoutError:
                await self._log._read(self._log._refresh_heads)  # noqa: SLF001

    async def _take(self, behind: list[tuple[TopicPartition, int]], limit: int) -> Sequence[Record]:
        self._turn += 1  # begin with another partition each time, so that a busy one starves no other
        start = self._turn % len(behind)
        turn = behind[start:] + behind[:start]
        records = await self._log._read(lambda: self._log._take(turn, limit))  # noqa: SLF001
        # Moved only now: a fetch that was cancelled while it read has taken nothing.
        for record in records:
            self._positions[TopicPartition(record.event.topic, record.partition)] = record.offset + 1
        return records

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._positions[partition] = offset

    async def close(self) -> None:
        self._log._waiters.discard(self._waiter)  # noqa: SLF001
