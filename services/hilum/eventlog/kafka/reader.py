"""A member of a consumer group: Kafka's group protocol says which partitions are its own, our database where to begin.

Nothing is committed to Kafka: the database's offset is the only one. After every rebalance each partition is asked for
anew, so a member that lost a partition and got it back goes on where whoever had it meanwhile stopped.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPlace
from aiokafka.errors import CorruptRecordException, KafkaError, OffsetOutOfRangeError

from hilum.clock import Clock
from hilum.errors import Fault, Unavailable
from hilum.eventlog.kafka.records import incoming
from hilum.eventlog.port import Record, StartOffset, TopicPartition

_JOIN_SECONDS = 60.0
_OFFSETS_MS = 10_000
_PATIENCE_SECONDS = 5.0  # for a broker that is asked how far its partitions go
_FRESH_SECONDS = 2.0  # how old that knowledge may be
_GIVE_UP_SECONDS = 30.0  # without it, until the consumer is made anew
_LOOK_SECONDS = 0.05
_CLOSE_SECONDS = 5.0
_CATCH_UP = 20  # looks at a partition's end, which a new leader may know later than the old one did
_CATCH_UP_SECONDS = 0.1


class KafkaReader:
    """`hilum.eventlog.port.Reader`; one `fetch` at a time, all in the loop that opened it."""

    def __init__(
        self,
        new_consumer: Callable[[ConsumerRebalanceListener], AIOKafkaConsumer],
        place_of: Callable[[KafkaPlace], TopicPartition],
        kafka_place_of: Callable[[TopicPartition], KafkaPlace],
        start: StartOffset,
        clock: Clock,
    ) -> None:
        self._new_consumer = new_consumer
        self._place_of = place_of
        self._kafka_place_of = kafka_place_of
        self._start = start
        self._clock = clock
        self._consumer: AIOKafkaConsumer | None = None
        self._joined = asyncio.Event()
        self._unplaced: set[KafkaPlace] = set()  # ours, but nobody has said yet where to begin
        self._ends: dict[KafkaPlace, tuple[int, float]] = {}  # as known when it was placed, and at what time
        self._served: set[KafkaPlace] = set()  # which the last records came from
        self._held: list[Record] = []  # taken, not yet given
        self._well = asyncio.get_running_loop().time()

    async def open(self) -> None:
        """Join, and find every partition's beginning. Raises `Fault` (`log_lost`), `Unavailable`."""
        try:
            await self._join()
            await self._place()
        except BaseException:
            await self.close()
            raise

    async def fetch(self, limit: int, wait_seconds: float) -> Sequence[Record]:
        """Fewer than ``limit`` only when every partition was read to its end: so the port's users understand it.

        Raises `Unavailable` (`log_slow`) when that cannot be known. `Fault` (`log_lost`) when records were deleted
        before they were read, `Fault` (`log_corrupt`) when one is damaged.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_seconds
        patience = loop.time() + max(wait_seconds, _PATIENCE_SECONDS)
        if self._consumer is None:
            await self._join()
        while True:
            await self._place()
            await self._take(limit, 0.0)
            if len(self._held) >= limit:
                break
            complete, now = await self._complete(), loop.time()
            if complete:
                self._well = now
                if self._held or now >= deadline:
                    break
            elif now >= patience:
                if now - self._well > _GIVE_UP_SECONDS:
                    self._well = now
                    await self._leave()
                raise Unavailable("log_slow", "the event log does not say how far it goes")
            await self._take(limit, max(deadline - now, _LOOK_SECONDS) if complete else _LOOK_SECONDS)
        records, self._held = self._held[:limit], self._held[limit:]
        return records

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._held = [record for record in self._held if _place(record) != partition]
        place = self._kafka_place_of(partition)
        if self._consumer is not None and place in self._consumer.assignment() and place not in self._unplaced:
            self._consumer.seek(place, offset)

    async def close(self) -> None:
        await self._leave()

    # The group.

    def assigned(self, places: set[KafkaPlace]) -> None:
        """The group's word: these are ours. They stand still until the database has said where."""
        assert self._consumer is not None
        for place in places:
            self._consumer.seek(place, 0)  # else the library would look for a commit, which there is none of
        self._consumer.pause(*places)
        self._unplaced = set(places)
        self._joined.set()

    def revoked(self) -> None:
        """What was taken and not given yet is another's to process, or will be read again."""
        self._unplaced = set()
        self._ends.clear()
        self._served.clear()
        self._held.clear()

    async def _join(self) -> None:
        self._joined.clear()
        self._consumer = self._new_consumer(_Listener(self))
        try:
            async with asyncio.timeout(_JOIN_SECONDS):
                await self._consumer.start()
                await self._joined.wait()
        except (KafkaError, OSError) as error:  # TimeoutError is one
            await self._leave()
            raise _unavailable(error) from error

    async def _leave(self) -> None:
        consumer, self._consumer = self._consumer, None
        self.revoked()
        if consumer is not None:
            with suppress(KafkaError, OSError):
                async with asyncio.timeout(_CLOSE_SECONDS):
                    await consumer.stop()
            await consumer._client.close()  # noqa: SLF001 - again, where a broker that is away held the stop up

    async def _place(self) -> None:
        """Begin where the database says, in each partition that is new."""
        if not self._unplaced:
            return
        asked, consumer = tuple(self._unplaced), self._consumer
        assert consumer is not None
        try:
            begins = await _offsets(consumer.beginning_offsets, asked)
            ends = await _offsets(consumer.end_offsets, asked)
            for place in asked:
                offset = await self._start(self._place_of(place))
                end = ends[place]
                for _ in range(_CATCH_UP):
                    if offset <= end:
                        break
                    await self._clock.sleep(_CATCH_UP_SECONDS)
                    end = (await _offsets(consumer.end_offsets, (place,)))[place]
                if place not in self._unplaced:
                    continue  # taken from us meanwhile
                if offset > end or 0 < offset < begins[place]:
                    raise Fault("log_lost", f"{self._place_of(place)}: {offset} was to be read next; it is not there")
                consumer.seek(place, max(offset, begins[place]))
                consumer.resume(place)
                self._ends[place] = (end, self._now())
                self._unplaced.discard(place)
        except KafkaError as error:
            raise _unavailable(error) from error

    # Records.

    async def _take(self, limit: int, wait_seconds: float) -> None:
        """Up to ``limit`` in hand; those partitions first that gave nothing the last time.

        Nothing is awaited between the library's giving and our holding: a fetch that is cancelled has lost nothing.
        """
        consumer = self._consumer
        if consumer is None:
            raise Unavailable("log_closed", "the reader was closed")
        try:
            served: set[KafkaPlace] = set()
            others = tuple(consumer.assignment() - self._served) if self._served else ()
            if others and (room := limit - len(self._held)) > 0:
                served |= await self._take_from(consumer, others, -(-room // 2), 0.0)
            if (room := limit - len(self._held)) > 0:
                served |= await self._take_from(consumer, (), room, 0.0 if served else wait_seconds)
            if served:
                self._served = served
        except OffsetOutOfRangeError as error:
            raise Fault("log_lost", f"records were deleted before they were read: {error}") from error
        except CorruptRecordException as error:
            raise Fault("log_corrupt", f"a record is damaged: {error}") from error
        except KafkaError as error:
            await self._leave()  # the next fetch joins anew
            raise _unavailable(error) from error

    async def _take_from(
        self, consumer: AIOKafkaConsumer, places: tuple[KafkaPlace, ...], limit: int, wait_seconds: float
    ) -> set[KafkaPlace]:
        try:
            async with asyncio.timeout(
                wait_seconds + _LOOK_SECONDS
            ):  # during a rebalance the library waits for its end
                found = await consumer.getmany(*places, timeout_ms=int(wait_seconds * 1000), max_records=limit)
        except TimeoutError:
            return set()
        for place, records in found.items():
            ours = self._place_of(place)
            self._held.extend(incoming(ours, record) for record in records)
        return set(found)

    async def _complete(self) -> bool:
        """Whether each of our partitions was read to its end, as its broker told it a moment ago."""
        consumer = self._consumer
        if consumer is None or self._unplaced:
            return False
        since = self._now() - _FRESH_SECONDS
        for place in consumer.assignment():
            end, at = self._ends.get(place, (0, 0.0))
            highwater, told = consumer.highwater(place), consumer.last_poll_timestamp(place)
            if highwater is not None and told is not None:
                end, at = max(end, highwater), max(at, told / 1000)
            if at < since or await consumer.position(place) < end:
                return False
        return True

    def _now(self) -> float:
        return self._clock.now().timestamp()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, reader: KafkaReader) -> None:
        self._reader = reader

    def on_partitions_revoked(self, revoked: set[KafkaPlace]) -> None:  # noqa: ARG002 - all of them, always
        self._reader.revoked()

    def on_partitions_assigned(self, assigned: set[KafkaPlace]) -> None:
        self._reader.assigned(assigned)


async def _offsets(ask: "Callable[..., object]", places: Sequence[KafkaPlace]) -> dict[KafkaPlace, int]:
    found: dict[KafkaPlace, int] = await ask(places)  # type: ignore[misc]
    return found


def _place(record: Record) -> TopicPartition:
    return TopicPartition(record.event.topic, record.partition)


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable("log_unavailable", f"the event log was not read: {type(error).__name__}")
