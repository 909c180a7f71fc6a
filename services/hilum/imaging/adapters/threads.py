"""The use cases of storing in the thread of each association: what they wait for, the thread waits for.

So an instance costs nothing of the service's event loop, which others share; at most its append to the log.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hilum.errors import Unavailable
from hilum.eventlog.port import Event, EventLog
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.imaging.adapters.journal import Log
from hilum.imaging.ports import Arguments

T = TypeVar("T")


def completed(work: Coroutine[Any, Any, T]) -> T:
    """The result of ``work``, all of whose waiting blocks this thread."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    work.close()
    raise RuntimeError("a coroutine that must not be suspended was")


class InThreads:
    """`hilum.imaging.ports.Waiting` of threads."""

    def __init__(self, seconds: float) -> None:
        """``seconds``: how long one waits for its turn at most; `Unavailable` (`storing_timed_out`) after that."""
        self._seconds = seconds
        self._turns: dict[str, _Turn] = {}
        self._lock = threading.Lock()

    async def blocking(
        self, work: Callable[Arguments, None], *arguments: Arguments.args, **named: Arguments.kwargs
    ) -> None:
        work(*arguments, **named)

    @asynccontextmanager
    async def turn(self, key: str) -> AsyncIterator[None]:
        with self._lock:
            turn = self._turns.setdefault(key, _Turn())
            turn.waiting += 1
        try:
            if not turn.lock.acquire(timeout=self._seconds):
                raise _too_late()
            try:
                yield
            finally:
                turn.lock.release()
        finally:
            with self._lock:
                turn.waiting -= 1
                if not turn.waiting:
                    del self._turns[key]


@dataclass(slots=True)
class _Turn:
    lock: threading.Lock = field(default_factory=threading.Lock)
    waiting: int = 0


def appending(log: EventLog, loop: asyncio.AbstractEventLoop, seconds: float) -> Log:
    """``log``, to be appended to from threads.

    ``seconds``: how long an append is waited for; `Unavailable` after that.
    """
    return DirectLog(log, seconds) if isinstance(log, SqliteEventLog) else ThreadLog(log, loop, seconds)


class DirectLog:
    """Appends from a thread to a log that needs no event loop for it."""

    def __init__(self, log: SqliteEventLog, seconds: float) -> None:
        self._log = log
        self._seconds = seconds

    async def append(self, events: Sequence[Event]) -> None:
        self._log.append_blocking(events, self._seconds)


class ThreadLog:
    """Appends to ``log``, which belongs to ``loop``, there."""

    def __init__(self, log: Log, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._log = log
        self._loop = loop
        self._seconds = seconds

    async def append(self, events: Sequence[Event]) -> None:
        work = self._log.append(events)
        try:
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise Unavailable("shutting_down", "this application entity has stopped") from None
        try:
            future.result(self._seconds)
        except FutureTimeoutError:
            future.cancel()
            raise _too_late() from None


def _too_late() -> Unavailable:
    return Unavailable("storing_timed_out", "the instance was not durable in time")
