"""The consumer: reads topics, applies each record once, owns retry, dead letters and replay.

A batch is one database transaction of the service that consumes: the offsets by compare-and-set,
its state, and the events it wants published. What a handler raises decides what becomes of the record:

    Rejected, Fault      a dead letter with the coded reason, at once
    Duplicate            dropped: it was done already
    Overloaded,
    Unavailable          the same record again after a back-off, for as long as it takes
    anything else        the same record again, a few times; then a dead letter `unexpected:KIND`

A record that waits holds back what follows it in its own partition, and nothing else. While the log
or the database is away the consumer waits for it; `caught_up_at` then stands still.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from hilum.clock import Clock
from hilum.contracts import topics
from hilum.contracts.deadletters.v1.deadletters_pb2 import DeadLetter
from hilum.errors import Duplicate, Fault, HilumError, Overloaded, Rejected, Unavailable
from hilum.eventlog.port import Event, EventLog, Reader, Record, TopicPartition, event_of
from hilum.ids import derived_id

_LOG = logging.getLogger(__name__)
_FETCH = 64  # records in one transaction
_WAIT_SECONDS = 0.5
_ATTEMPTS = 5
_BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Transaction(Protocol):
    """What every transaction offers: events published if, and only if, it commits."""

    def publish(self, event: Event) -> None: ...


TransactionT = TypeVar("TransactionT", bound=Transaction)
_Covariant_co = TypeVar("_Covariant_co", bound=Transaction, covariant=True)
Handler = Callable[[TransactionT, Record], None]


@dataclass(frozen=True, slots=True)
class Stop:
    """Retry: leave this record, and those after it in its partition, for later."""

    record: Record
    error: Exception


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Keep the record as this dead letter (None: drop it) and go on."""

    dead_letter: Event | None


OnError = Callable[[Record, Exception], Stop | GiveUp]


class Inbox(Protocol[_Covariant_co]):
    """The consuming service's side: `hilum.store` implements it."""

    async def position(self, group: str, place: TopicPartition) -> int:
        """The next offset to process; the database's word is authoritative."""

    async def consume(
        self,
        group: str,
        records: Sequence[Record],
        handle: Handler[_Covariant_co],
        on_error: OnError,
        after: Callable[[_Covariant_co], None] | None = None,
    ) -> Stop | None:
        """Apply ``records``, then ``after``, in one transaction; records that were applied before are skipped.

        A `Stop` ends its partition's part of the batch; the first one is returned.
        """


class Consumer(Generic[TransactionT]):
    """One group of one service. `run` until cancelled; `caught_up_at` tells how fresh its state is."""

    def __init__(
        self,
        log: EventLog,
        inbox: Inbox[TransactionT],
        group: str,
        handlers: dict[str, Handler[TransactionT]],
        clock: Clock,
        after: Callable[[TransactionT], None] | None = None,
        gather_seconds: float = 0.0,
    ) -> None:
        """``handlers`` maps a topic's name to what applies its records; ``after`` runs in each batch's transaction.

        Who is in no hurry lets records gather for so long before a batch: few, large and late, they cost others less.
        """
        self._log = log
        self._inbox = inbox
        self._group = group
        self._handlers = handlers
        self._clock = clock
        self._after = after
        self._gather_seconds = gather_seconds
        self._attempts: dict[tuple[str, int, int], int] = {}
        self._failures = 0
        self.caught_up_at: datetime | None = None

    async def run(self) -> None:
        reader = await self._open()
        try:
            while True:
                asked = self._clock.now()
                try:
                    # The first look does not wait: an empty log is read to its end at once.
                    records = await reader.fetch(_FETCH, _WAIT_SECONDS if self.caught_up_at else 0.0)
                    if 0 < len(records) < _FETCH and self._gather_seconds and self.caught_up_at:
                        records = await self._gathered(reader, records)
                    left = await self._apply(records)
                except Unavailable as error:
                    _LOG.warning("%s: %s; retrying", self._group, error.code)
                    await self._back_off()
                    continue
                if left:
                    for place, offset in left.items():
                        reader.seek(place, offset)
                    await self._back_off()
                    continue
                self._failures = 0
                if len(records) < _FETCH:
                    self.caught_up_at = asked
        finally:
            await reader.close()

    async def _gathered(self, reader: Reader, records: Sequence[Record]) -> Sequence[Record]:
        """``records``, and what else comes soon."""
        await self._clock.sleep(self._gather_seconds)
        try:
            return [*records, *await reader.fetch(_FETCH, 0.0)]
        except Unavailable:
            return records  # these were taken, and may not be lost

    async def _open(self) -> Reader:
        async def start(place: TopicPartition) -> int:
            return await self._inbox.position(self._group, place)

        while True:
            try:
                return await self._log.reader(self._group, tuple(self._handlers), start)
            except Unavailable as error:
                _LOG.warning("%s: %s; retrying", self._group, error.code)
                await self._back_off()

    async def _apply(self, records: Sequence[Record]) -> dict[TopicPartition, int]:
        """Apply; return where to read again when not all could be."""
        if not records:
            return {}
        try:
            stop = await self._inbox.consume(self._group, records, self._handle, self._on_error, self._after)
        except Exception as error:  # the batch as a whole failed: nothing was applied
            if isinstance(error, Fault) and error.code == "state_corrupt":
                raise  # no retry mends it, and nothing may be decided on what is left
            _LOG.warning("%s: a batch failed with %s; retrying", self._group, _coded(error))
        else:
            if stop is None:
                return {}
            _LOG.warning("%s: %s waits for %s; retrying", self._group, stop.record.event.topic, _coded(stop.error))
        first = _first_offsets(records)
        try:
            return {place: await self._inbox.position(self._group, place) for place in first}
        except Unavailable:
            return first  # what was applied already will be skipped

    def _handle(self, transaction: TransactionT, record: Record) -> None:
        self._handlers[record.event.topic](transaction, record)
        self._attempts.pop(_place(record), None)

    def _on_error(self, record: Record, error: Exception) -> Stop | GiveUp:
        if isinstance(error, Duplicate):
            return GiveUp(None)
        if isinstance(error, Overloaded | Unavailable):
            return Stop(record, error)
        place = _place(record)
        attempts = self._attempts.get(place, 0) + 1
        if not isinstance(error, Rejected | Fault) and attempts < _ATTEMPTS:
            self._attempts[place] = attempts
            return Stop(record, error)
        self._attempts.pop(place, None)
        if not isinstance(error, HilumError):
            # The text of an unforeseen exception may quote what it choked on: only its kind and place are told.
            _LOG.error("%s: unexpected %s at %s", self._group, type(error).__name__, _place_in_code(error))
        return GiveUp(dead_letter(self._group, record, error, attempts, self._clock.now()))

    async def _back_off(self) -> None:
        delay = _BACKOFF_SECONDS[min(self._failures, len(_BACKOFF_SECONDS) - 1)]
        self._failures += 1
        await self._clock.sleep(delay)


def dead_letter(group: str, record: Record, error: Exception, attempts: int, at: datetime) -> Event:
    """``record`` kept whole with the coded reason why ``group`` gave it up."""
    event = record.event
    letter = DeadLetter(
        dead_letter_id=derived_id("dead-letter", group, event.topic, str(record.partition), str(record.offset)),
        group=group,
        topic=event.topic,
        partition=record.partition,
        offset=record.offset,
        key=event.key,
        type=event.type,
        event_id=event.event_id,
        headers=event.headers,
        value=event.value,
        reason=_coded(error),
        text=error.text if isinstance(error, HilumError) else f"{type(error).__name__} at {_place_in_code(error)}",
        attempts=attempts,
        state="kept",
    )
    letter.at.FromDatetime(at)
    return event_of(topics.DEAD_LETTERS, letter.dead_letter_id, letter, derived_id(letter.dead_letter_id, "kept"), at)


async def replay(log: EventLog, letter: DeadLetter, at: datetime) -> None:
    """Send a dead letter's event back to its topic under a new event ID, and record that it was."""
    event = Event(
        topic=letter.topic,
        key=letter.key,
        type=letter.type,
        value=letter.value,
        event_id=derived_id("replay", letter.dead_letter_id, letter.state, at.isoformat()),
        time=at,
        headers=dict(letter.headers) | {"hilum-replay-of": letter.dead_letter_id},
    )
    marked = DeadLetter()
    marked.CopyFrom(letter)
    marked.state = "replayed"
    marked.at.FromDatetime(at)
    record = event_of(topics.DEAD_LETTERS, letter.dead_letter_id, marked, derived_id(event.event_id, "replayed"), at)
    await log.append([event, record])


def _first_offsets(records: Sequence[Record]) -> dict[TopicPartition, int]:
    first: dict[TopicPartition, int] = {}
    for record in records:
        place = TopicPartition(record.event.topic, record.partition)
        first[place] = min(first.get(place, record.offset), record.offset)
    return first


def _place(record: Record) -> tuple[str, int, int]:
    return record.event.topic, record.partition, record.offset


def _coded(error: Exception) -> str:
    return error.code if isinstance(error, HilumError) else f"unexpected:{type(error).__name__}"


def _place_in_code(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_qualname}:{trace.tb_lineno}" if trace else "unknown"
