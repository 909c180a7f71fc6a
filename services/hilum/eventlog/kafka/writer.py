"""The writer of the Kafka log, in the log's own loop: what came while a batch was on its way is the next batch.

Each partition has one batch on its way at a time, so that its order is that of the appends and the batches grow with
the load; there is no timer. The producer is idempotent and never gives a batch up: a caller whose time has run out is
told `Unavailable`, and its batch, which may have arrived, stays first in its partition. Only an error that the library
cannot retry ends a producer; another takes its place.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from hilum.clock import Clock
from hilum.errors import Fault, HilumError, Unavailable
from hilum.eventlog.kafka.records import Outgoing
from hilum.eventlog.port import TopicPartition

_RETRY_SECONDS = 0.2
_STOP_SECONDS = 5.0

_Done = asyncio.Future[None] | Future[None]


@dataclass(slots=True, eq=False)
class Append:
    """Events that are acknowledged together. ``loop``: where ``done`` is told; None for a thread that blocks."""

    records: Sequence[Outgoing]
    done: _Done
    loop: asyncio.AbstractEventLoop | None
    size: int
    left: int
    due: float = 0.0
    over: bool = False


@dataclass(slots=True, eq=False)
class _Line:
    """What waits for one partition."""

    waiting: deque[tuple[Outgoing, Append]] = field(default_factory=deque)
    busy: "asyncio.Task[None] | None" = None


@dataclass(slots=True, eq=False)
class _Producer:
    inner: AIOKafkaProducer
    batches: int = 0  # on their way
    retired: bool = False


class Writer:
    """`put` from any thread; all else in ``loop``."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        new_producer: Callable[[], Awaitable[AIOKafkaProducer]],
        name_of: Callable[[str], str],
        clock: Clock,
        seconds: float,
        room_bytes: int,
    ) -> None:
        """``name_of``: a topic's name in the cluster; ``seconds``: how long an append may take."""
        self._loop = loop
        self._new_producer = new_producer
        self._name_of = name_of
        self._clock = clock
        self._seconds = seconds
        self._room = room_bytes
        self._gate = threading.Lock()  # guards the next four
        self._closed = False
        self._awake = False
        self._bytes = 0
        self._arrived: list[Append] = []
        self._lines: dict[TopicPartition, _Line] = {}
        self._answers: dict[asyncio.AbstractEventLoop | None, list[tuple[_Done, HilumError | None]]] = {}
        self._unfinished: deque[Append] = deque()  # by when they are due
        self._timer: asyncio.TimerHandle | None = None
        self._producer: _Producer | None = None
        self._making = asyncio.Lock()
        self._stopping: set[asyncio.Task[None]] = set()

    def put(self, append: Append) -> None:
        """Raises `Unavailable` when the log is closed, or when too much waits already."""
        with self._gate:
            if self._closed:
                raise Unavailable("log_closed", "the event log is not open")
            if self._bytes and self._bytes + append.size > self._room:
                raise Unavailable("log_busy", "too much waits to be appended to the event log")
            self._bytes += append.size
            self._arrived.append(append)
            wake, self._awake = not self._awake, True
        if wake:
            self._loop.call_soon_threadsafe(self._take)

    async def start(self) -> None:
        """Raises `KafkaError` or TimeoutError when the cluster is away."""
        await self._ready()

    async def close(self) -> None:
        """Send what waits, for as long as an append may take; what could not be is `Unavailable`."""
        with self._gate:
            self._closed = True
        self._take()
        sending = [line.busy for line in self._lines.values() if line.busy is not None]
        if sending:
            await asyncio.wait(sending, timeout=self._seconds)
        if self._timer is not None:
            self._timer.cancel()
        self._finish(tuple(self._unfinished), Unavailable("log_closed", "the event log was closed first"))
        if self._producer is not None:
            self._retire(self._producer)
        for task in sending:
            task.cancel()
        if sending:
            await asyncio.wait(sending)
        if self._stopping:
            await asyncio.wait(self._stopping, timeout=_STOP_SECONDS)
        self._answer()

    def _take(self) -> None:
        """Put what arrived into the lines of its partitions."""
        with self._gate:
            arrived, self._arrived = self._arrived, []
            self._awake = False
        due = self._loop.time() + self._seconds
        for append in arrived:
            append.due = due
            self._unfinished.append(append)
            for record in append.records:
                line = self._lines.get(record.place)
                if line is None:
                    line = self._lines[record.place] = _Line()
                line.waiting.append((record, append))
                if line.busy is None:
                    line.busy = self._loop.create_task(self._send_all(record.place, line))
        if self._unfinished and self._timer is None:
            self._timer = self._loop.call_at(due, self._expire)

    def _expire(self) -> None:
        """Tell those whose time has run out, and forget what of theirs is not on its way yet."""
        late: list[Append] = []
        now = self._loop.time()
        while self._unfinished and (self._unfinished[0].over or self._unfinished[0].due <= now):
            append = self._unfinished.popleft()
            if not append.over:
                late.append(append)
        self._finish(late, Unavailable("log_slow", f"the event log did not answer within {self._seconds:g} s"))
        if late:
            for line in self._lines.values():
                while line.waiting and line.waiting[0][1].over:
                    line.waiting.popleft()
        self._timer = self._loop.call_at(self._unfinished[0].due, self._expire) if self._unfinished else None

    async def _send_all(self, place: TopicPartition, line: _Line) -> None:
        try:
            while line.waiting:
                producer = await self._ready_at_last(line)
                if producer is not None:
                    await self._send(producer, place, line)
        finally:
            line.busy = None

    async def _ready_at_last(self, line: _Line) -> _Producer | None:
        """A producer, however long it takes; None when nobody waits any more."""
        while line.waiting:
            try:
                return await self._ready()
            except (KafkaError, OSError):  # TimeoutError is one
                await self._clock.sleep(_RETRY_SECONDS)
        return None

    async def _send(self, producer: _Producer, place: TopicPartition, line: _Line) -> None:
        """One batch of what waits in ``line``; returns when its fate is known."""
        batch = producer.inner.create_batch()
        parts: dict[Append, int] = {}
        while line.waiting:
            record, append = line.waiting[0]
            if not append.over:
                added = batch.append(timestamp=None, key=record.key, value=record.value, headers=record.headers)
                if added is None:
                    break  # full; the first record is always taken, however large
                parts[append] = parts.get(append, 0) + 1
            line.waiting.popleft()
        if not parts:
            return
        batch.close()
        producer.batches += 1
        failure: HilumError | None = None
        try:
            sent = await producer.inner.send_batch(batch, self._name_of(place.topic), partition=place.partition)
            if (await sent).offset < 0:  # a repetition of what the broker no longer remembers
                failure = Unavailable("log_unsure", "the event log does not say where it put the events")
        except Exception as error:  # noqa: BLE001 - whatever it was: the callers must be told, and the line go on
            failure = _failure(error)
            producer.retired = True
        finally:
            producer.batches -= 1
            if producer.retired:
                self._retire(producer)
        if failure is not None:
            self._finish(parts, failure)
            return
        whole = []
        for append, count in parts.items():
            append.left -= count
            if not append.left:
                whole.append(append)
        self._finish(whole, None)

    def _finish(self, appends: Iterable[Append], failure: HilumError | None) -> None:
        """Their callers are told at this loop's next turn, with those of the batches that end beside this one."""
        freed = 0
        for append in appends:
            if not append.over:
                append.over = True
                freed += append.size
                if not self._answers:
                    self._loop.call_soon(self._answer)
                self._answers.setdefault(append.loop, []).append((append.done, failure))
        with self._gate:
            self._bytes -= freed
        while self._unfinished and self._unfinished[0].over:
            self._unfinished.popleft()

    def _answer(self) -> None:
        """Wake each loop once: a wake-up costs more than an answer."""
        answers, self._answers = self._answers, {}
        _tell(answers.pop(None, ()))
        for loop, told in answers.items():
            assert loop is not None
            with suppress(RuntimeError):  # the loop was closed: nobody waits there any more
                loop.call_soon_threadsafe(_tell, told)

    # Producers.

    async def _ready(self) -> _Producer:
        async with self._making:
            if self._producer is None:
                async with asyncio.timeout(self._seconds):
                    self._producer = _Producer(await self._new_producer())
            return self._producer

    def _retire(self, producer: _Producer) -> None:
        """Use it for no other batch; stop it when none is on its way with it any more."""
        producer.retired = True
        if self._producer is producer:
            self._producer = None
        if not producer.batches:
            task = self._loop.create_task(_stop(producer.inner))
            self._stopping.add(task)
            task.add_done_callback(self._stopping.discard)


async def _stop(producer: AIOKafkaProducer) -> None:
    """Without flushing, as the library's own stop would, for as long as it takes."""
    with suppress(KafkaError):
        await producer._sender.close()  # noqa: SLF001
    with suppress(KafkaError):
        await producer.stop()


def _failure(error: Exception) -> HilumError:
    if isinstance(error, MessageSizeTooLargeError | RecordListTooLargeError):
        return Fault("event_too_large", "the event log takes no event of this size")
    return Unavailable("log_unavailable", f"the event log did not take the events: {type(error).__name__}")


def _tell(answers: Iterable[tuple[_Done, HilumError | None]]) -> None:
    for future, failure in answers:
        if future.done():
            continue  # cancelled
        if failure is None:
            future.set_result(None)
        else:
            future.set_exception(failure)
