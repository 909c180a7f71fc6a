"""The event log in one SQLite file, for a single machine.

WAL with synchronous=FULL: a commit returns after fdatasync of the write-ahead log. One thread writes
(`hilum.eventlog.writer`), another reads. Several processes may share the file: offsets are taken inside
the transaction. What a crash or a bad disk did to the file is found when it is opened
(`hilum.eventlog.integrity`), or at the latest when the record is read (`hilum.eventlog.rows`).
"""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from hilum.contracts import topics as catalogue
from hilum.errors import Fault, Unavailable
from hilum.eventlog import integrity, rows
from hilum.eventlog.port import Event, Record, StartOffset, TopicPartition
from hilum.eventlog.writer import Watch, Writer

_T = TypeVar("_T")
_POLL_SECONDS = 0.2  # how late another process's appends may be noticed
_BUSY_SECONDS = 30.0  # how long a commit waits for another process's
_OTHER_LOG = "log.db and the state folder must be of one moment; restore both from one copy"


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
        self._writer: Writer | None = None
        # Reads have a thread of their own: slow work in the default executor must not delay them.
        self._reads: ThreadPoolExecutor | None = None
        self._connection: sqlite3.Connection
        self._data_version = -1
        self._known = threading.Lock()  # guards the heads, which the writer and the reads both advance
        self._heads: dict[TopicPartition, int] = {}

    def open(self) -> None:
        """Create the file if need be and start the writer.

        Raises `Unavailable` when the file cannot be written, `Fault` (`log_corrupt`) that says where when what was
        acknowledged cannot be read back.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            integrity.check_write_ahead_log(self._path)
            writing = connect(self._path, self._busy_seconds)
            try:
                rows.create(writing)
                integrity.check_tail(writing)
                self._connection = connect(self._path, self._busy_seconds)
            except BaseException:
                writing.close()
                raise
        except (sqlite3.Error, OSError) as error:
            raise _refusal(error, "the event log cannot be opened") from error
        for topic in catalogue.ALL:
            for partition in range(self._partitions):
                self._heads[TopicPartition(topic.name, partition)] = 0
        self._reads = ThreadPoolExecutor(max_workers=1, thread_name_prefix="eventlog-reader")
        self._reads.submit(self._refresh_heads).result()
        self._writer = Writer(writing, self._advance)

    def close(self) -> None:
        """Commit what is queued and close the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()
        reads, self._reads = self._reads, None
        if reads is not None:
            reads.shutdown(wait=True)
            self._connection.close()

    async def append(self, events: Sequence[Event]) -> None:
        """A cancelled append may still reach the log. Raises `Fault` (`event_malformed`) for an unstorable event."""
        if events:
            await self._writing().append(self._rows(events))

    def append_blocking(self, events: Sequence[Event], seconds: float) -> None:
        """As `append`, for a thread without an event loop. Raises `Unavailable` (`log_slow`) after ``seconds``, too."""
        if not events:
            return
        done = self._writing().append_blocking(self._rows(events))
        try:
            done.result(seconds)
        except TimeoutError as error:
            raise Unavailable("log_slow", f"the event log did not answer within {seconds:.0f} s") from error

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
                raise Fault(
                    "log_lost", f"{place.topic}/{place.partition} ends before what was read of it: {_OTHER_LOG}"
                )
        return SqliteReader(self, positions)

    def _rows(self, events: Sequence[Event]) -> list[rows.Row]:
        try:
            return [rows.row_of(event, self._partitions) for event in events]
        except (TypeError, ValueError) as error:
            raise Fault("event_malformed", f"an event cannot be stored: {type(error).__name__}") from error

    def _writing(self) -> Writer:
        if self._writer is None:
            raise Unavailable("log_closed", "the event log is not open")
        return self._writer

    # Reads, in their own thread.

    async def _read(self, work: Callable[[], _T]) -> _T:
        if self._reads is None:
            raise Unavailable("log_closed", "the event log is not open")
        try:
            return await asyncio.get_running_loop().run_in_executor(self._reads, work)
        except sqlite3.Error as error:
            raise _refusal(error, "the event log was not read") from error

    def _refresh_heads(self) -> None:
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version == self._data_version:
            return
        found = self._connection.execute("SELECT topic, partition, next_offset FROM heads").fetchall()
        self._data_version = version
        self._advance({TopicPartition(topic, partition): offset for topic, partition, offset in found})

    def _advance(self, heads: Mapping[TopicPartition, int]) -> None:
        with self._known:
            for place, offset in heads.items():
                self._heads[place] = max(offset, self._heads.get(place, 0))

    def _take(self, positions: Sequence[tuple[TopicPartition, int]], limit: int) -> list[Record]:
        """Up to ``limit`` records: an equal share of each position first, so that a busy one holds up no other."""
        records: list[Record] = []
        share, left = -(-limit // len(positions)), list(positions)
        while left and len(records) < limit:
            more: list[tuple[TopicPartition, int]] = []
            for place, position in left:
                some = rows.read(self._connection, place, position, min(share, limit - len(records)))
                records += some
                if len(some) == share:
                    more.append((place, some[-1].offset + 1))
            left = more
        return records


def _refusal(error: sqlite3.Error | OSError, what: str) -> Fault | Unavailable:
    """Damage needs a person; anything else may pass."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}:
        return Fault("log_corrupt", f"{what}: {error}")
    return Unavailable("log_unavailable", f"{what}: {type(error).__name__}")


class SqliteReader:
    """Reads every partition of its topics; one process holds a group when embedded. One `fetch` at a time."""

    def __init__(self, log: SqliteEventLog, positions: dict[TopicPartition, int]) -> None:
        self._log = log
        self._positions = positions
        self._news = asyncio.Event()
        topics = frozenset(place.topic for place in positions)
        self._watch = Watch(topics, self._news, asyncio.get_running_loop())
        self._watches = log._writing().watches  # noqa: SLF001 - the log and its reader are one mechanism
        self._watches.add(self._watch)
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
        self._watches.discard(self._watch)
