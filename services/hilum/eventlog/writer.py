"""The writer of the SQLite log: one thread; what queued during the last sync is the next commit (group commit).

There is no timer: a lone append is committed at once, and the busier the disk, the larger the groups.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

from hilum.errors import Unavailable
from hilum.eventlog import rows
from hilum.eventlog.port import TopicPartition
from hilum.eventlog.rows import Row

_GROUP_LIMIT = 4096  # events in one commit
# Rows of one INSERT. A statement for several costs the interpreter's lock twice, not twice a row.
_CHUNKS = (64, 16, 4, 1)

Heads = Mapping[TopicPartition, int]
_Done = asyncio.Future[None] | Future[None]


class _Append(NamedTuple):
    rows: Sequence[Row]
    done: _Done
    loop: asyncio.AbstractEventLoop | None
    """Where ``done`` is told; None for a thread that blocks."""


class Watch(NamedTuple):
    """Who wants to know that something was appended to ``topics``: ``news`` is set, in its own loop."""

    topics: frozenset[str]
    news: asyncio.Event
    loop: asyncio.AbstractEventLoop


class Writer:
    """Owns ``connection`` and the thread on it. ``committed`` is told the heads that moved, in that thread."""

    def __init__(self, connection: sqlite3.Connection, committed: Callable[[Heads], None]) -> None:
        self.watches: set[Watch] = set()
        self._connection = connection
        self._committed = committed
        self._queue: queue.SimpleQueue[_Append | None] = queue.SimpleQueue()
        self._gate = threading.Lock()  # between an append that is being queued and `close`
        self._closed = False
        self._heads: dict[TopicPartition, int] = {}
        self._version = -1
        self._thread = threading.Thread(target=self._run, name="eventlog-writer", daemon=True)
        self._thread.start()

    def append(self, rows: Sequence[Row]) -> asyncio.Future[None]:
        """Done once ``rows`` are durable, or failed with `Unavailable`. Raises `Unavailable` when closed."""
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        self._put(_Append(rows, done, loop))
        return done

    def append_blocking(self, rows: Sequence[Row]) -> Future[None]:
        """As `append`, for a thread that has no event loop."""
        done: Future[None] = Future()
        self._put(_Append(rows, done, None))
        return done

    def close(self) -> None:
        """Commit what is queued, end the thread and close the connection."""
        with self._gate:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _put(self, append: _Append) -> None:
        with self._gate:
            if self._closed:
                raise Unavailable("log_closed", "the event log is not open")
            self._queue.put(append)

    def _run(self) -> None:
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
                self._write(appends)
        self._connection.close()

    def _write(self, appends: Sequence[_Append]) -> None:
        """Commit ``appends`` as one group, then wake each loop once, however much of it is done there."""
        group = [row for append in appends for row in append.rows]
        failure = self._commit(group)
        done: dict[asyncio.AbstractEventLoop | None, list[_Done]] = {}
        for append in appends:
            done.setdefault(append.loop, []).append(append.done)
        _tell(done.pop(None, ()), failure, ())
        news: dict[asyncio.AbstractEventLoop | None, list[asyncio.Event]] = {}
        if failure is None:
            topics = {row.place.topic for row in group}
            for watch in tuple(self.watches):
                if not watch.topics.isdisjoint(topics):
                    news.setdefault(watch.loop, []).append(watch.news)
        for loop in done.keys() | news.keys():
            assert loop is not None
            with suppress(RuntimeError):  # the loop was closed: nobody waits there any more
                loop.call_soon_threadsafe(_tell, done.get(loop, ()), failure, news.get(loop, ()))

    def _commit(self, group: Sequence[Row]) -> Unavailable | None:
        """Write ``group`` durably, or say why not; then none of it is in the log."""
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            heads = self._place(group)
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it was: this thread must answer, and live
            self._version = -1  # what it knew of the heads may be wrong now
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            return Unavailable("log_unavailable", f"the event log did not take the events: {type(error).__name__}")
        self._committed(heads)
        return None

    def _place(self, group: Sequence[Row]) -> Heads:
        """Give every row the next offset of its partition and write it; returns the heads that moved."""
        known = self._known_heads()
        moved: dict[TopicPartition, int] = {}
        placed = []
        for row in group:
            offset = known.get(row.place, 0)
            placed.append(row.at(offset))
            known[row.place] = moved[row.place] = offset + 1
        _insert(self._connection, "INSERT INTO records VALUES ", rows.COLUMNS, placed)
        heads = [(place.topic, place.partition, offset) for place, offset in moved.items()]
        _insert(self._connection, "INSERT OR REPLACE INTO heads VALUES ", 3, heads)
        return moved

    def _known_heads(self) -> dict[TopicPartition, int]:
        """The heads within the open transaction: as we left them, unless another process wrote since."""
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if version != self._version:
            found = self._connection.execute("SELECT topic, partition, next_offset FROM heads").fetchall()
            self._heads = {TopicPartition(topic, partition): offset for topic, partition, offset in found}
            self._version = version
        return self._heads


def _tell(futures: Iterable[_Done], failure: Unavailable | None, news: Iterable[asyncio.Event]) -> None:
    for future in futures:
        if future.done():
            continue  # cancelled
        if failure is None:
            future.set_result(None)
        else:
            future.set_exception(failure)
    for event in news:  # after the answers: who waits for one comes first
        event.set()


def _insert(connection: sqlite3.Connection, statement: str, columns: int, values: Sequence[tuple[object, ...]]) -> None:
    """``values`` by as few statements as there are chunks; their texts recur, so that SQLite prepares each once."""
    row = f"({', '.join('?' * columns)})"
    at = 0
    for size in _CHUNKS:
        while len(values) - at >= size:
            text = statement + ", ".join([row] * size)
            connection.execute(text, tuple(chain.from_iterable(values[at : at + size])))
            at += size
