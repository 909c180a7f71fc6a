"""The event log on Apache Kafka.

An append is acknowledged when every replica in sync has it, and at least two have (`hilum.eventlog.kafka.topics`). One
thread with a loop of its own holds the producer, so appends come from any loop and any thread
(`hilum.eventlog.kafka.writer`); a reader lives in the loop that opened it (`hilum.eventlog.kafka.reader`).
"""

import asyncio
import logging
import threading
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener
from aiokafka import TopicPartition as KafkaPlace
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from hilum.clock import Clock
from hilum.contracts import topics as catalogue
from hilum.contracts.topics import Topic
from hilum.errors import Fault, Unavailable
from hilum.eventlog.kafka import topics as cluster
from hilum.eventlog.kafka.reader import KafkaReader
from hilum.eventlog.kafka.records import Outgoing, outgoing
from hilum.eventlog.kafka.settings import KafkaSettings
from hilum.eventlog.kafka.writer import Append, Writer
from hilum.eventlog.port import Event, StartOffset, TopicPartition

_T = TypeVar("_T")
_OPEN_SECONDS = 60.0
_GOODBYE_SECONDS = 0.2
_BATCH_BYTES = 512 * 1024
_LARGEST_BATCH_BYTES = cluster.LARGEST_BYTES + 64 * 1024


class KafkaEventLog:
    """`hilum.eventlog.port.EventLog` on a cluster; `open` it, and `close` it when all readers are done."""

    def __init__(
        self,
        settings: KafkaSettings,
        clock: Clock,
        topics: Sequence[Topic] = catalogue.ALL,
        partitions: int = cluster.PARTITIONS,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._topics = topics
        self._partitions = partitions
        self._prefix = settings.topic_prefix
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stopping: asyncio.Event
        self._writer: Writer | None = None
        self._offsets: AIOKafkaConsumer

    def open(self) -> None:
        """Make or check the topics and start the producer.

        Raises `Unavailable` when the cluster does not answer, `Fault` (`log_misconfigured`) with all that is wrong
        with its topics.
        """
        # At a finer level the library writes keys and values to its log.
        logging.getLogger("aiokafka").setLevel(logging.WARNING)
        started: Future[None] = Future()
        thread = threading.Thread(target=self._run, args=(started,), name="eventlog-kafka", daemon=True)
        thread.start()
        try:
            started.result()
        except BaseException:
            thread.join()
            raise
        self._thread = thread

    def close(self) -> None:
        """Send what is queued and leave the cluster."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)
            thread.join()

    async def append(self, events: Sequence[Event]) -> None:
        """A cancelled append may still reach the log. Raises `Fault` (`event_malformed`) for an unstorable event."""
        if events:
            loop = asyncio.get_running_loop()
            done: asyncio.Future[None] = loop.create_future()
            self._put(events, done, loop)
            await done

    def append_blocking(self, events: Sequence[Event], seconds: float) -> None:
        """As `append`, for a thread without an event loop. Raises `Unavailable` (`log_slow`) after ``seconds``, too."""
        if not events:
            return
        done: Future[None] = Future()
        self._put(events, done, None)
        try:
            done.result(seconds)
        except TimeoutError as error:
            raise Unavailable("log_slow", f"the event log did not answer within {seconds:.0f} s") from error

    async def heads(self, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
        places = [KafkaPlace(self._prefix + topic, number) for topic in topics for number in range(self._partitions)]
        found = await self._there(self._ends(places))
        return {self._place_of(place): offset for place, offset in found.items()}

    async def reader(self, group: str, topics: Sequence[str], start: StartOffset) -> KafkaReader:
        """Raises `Fault` (`log_lost`) when a start lies beyond the end: this is not the log that was read before."""
        names = [self._prefix + topic for topic in topics]

        def new_consumer(listener: ConsumerRebalanceListener) -> AIOKafkaConsumer:
            consumer = AIOKafkaConsumer(
                **self._settings.connection(),
                group_id=self._prefix + group,
                enable_auto_commit=False,
                auto_offset_reset="none",
                fetch_max_wait_ms=250,
                max_partition_fetch_bytes=256 * 1024,
                fetch_max_bytes=4 * 1024 * 1024,
                request_timeout_ms=15_000,
                rebalance_timeout_ms=30_000,
                client_rack=self._settings.zone,
            )
            consumer.subscribe(names, listener=listener)
            return consumer

        reader = KafkaReader(new_consumer, self._place_of, self._kafka_place_of, start, self._clock)
        await reader.open()
        return reader

    # Any thread.

    def _put(
        self,
        events: Sequence[Event],
        done: "asyncio.Future[None] | Future[None]",
        loop: asyncio.AbstractEventLoop | None,
    ) -> None:
        records = self._records(events)
        if self._writer is None:
            raise Unavailable("log_closed", "the event log is not open")
        self._writer.put(Append(records, done, loop, sum(record.size for record in records), len(records)))

    def _records(self, events: Sequence[Event]) -> list[Outgoing]:
        try:
            records = [outgoing(event, self._partitions) for event in events]
        except (TypeError, ValueError) as error:
            raise Fault("event_malformed", f"an event cannot be stored: {type(error).__name__}") from error
        if any(record.size > cluster.LARGEST_BYTES for record in records):
            raise Fault("event_too_large", f"the event log takes events of up to {cluster.LARGEST_BYTES} bytes")
        return records

    def _name_of(self, topic: str) -> str:
        return self._prefix + topic

    def _place_of(self, place: KafkaPlace) -> TopicPartition:
        return TopicPartition(place.topic[len(self._prefix) :], place.partition)

    def _kafka_place_of(self, place: TopicPartition) -> KafkaPlace:
        return KafkaPlace(self._prefix + place.topic, place.partition)

    async def _there(self, work: Coroutine[Any, Any, _T]) -> _T:
        """The result of ``work``, done in the log's own loop."""
        if self._thread is None:
            work.close()
            raise Unavailable("log_closed", "the event log is not open")
        try:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))
        except (KafkaError, TimeoutError) as error:
            raise _away(error) from error

    # The log's own thread.

    def _run(self, started: "Future[None]") -> None:
        try:
            with asyncio.Runner() as runner:
                runner.run(self._live(started))
        except (KafkaError, OSError) as error:  # TimeoutError is one
            started.set_exception(_away(error))
        except BaseException as error:  # noqa: BLE001 - told to whoever opens the log
            started.set_exception(error)

    async def _live(self, started: "Future[None]") -> None:
        try:
            await self._serve(started)
        finally:
            if self._settings.tls is not None:
                # The library closes a connection and does not wait for TLS to say goodbye; the loop must.
                await self._clock.sleep(_GOODBYE_SECONDS)

    async def _serve(self, started: "Future[None]") -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        options = self._settings.connection()
        async with asyncio.timeout(_OPEN_SECONDS):
            admin = AIOKafkaAdminClient(**options, request_timeout_ms=10_000)
            try:
                await admin.start()
                await cluster.ensure(admin, self._topics, self._partitions, self._settings, self._clock)
            finally:
                await admin.close()
        seconds, room = self._settings.append_seconds, self._settings.append_mebibytes * 1024 * 1024
        writer = Writer(self._loop, self._new_producer, self._name_of, self._clock, seconds, room)
        self._offsets = AIOKafkaConsumer(**options, request_timeout_ms=10_000)
        try:
            await writer.start()
            await self._offsets.start()
            self._writer = writer
            started.set_result(None)
            await self._stopping.wait()
        finally:
            self._writer = None
            await writer.close()
            with suppress(KafkaError):
                await self._offsets.stop()

    async def _new_producer(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._settings.connection(),
            acks="all",
            enable_idempotence=True,
            max_batch_size=_BATCH_BYTES,
            max_request_size=_LARGEST_BATCH_BYTES,
            request_timeout_ms=max(1000, int(self._settings.append_seconds * 1000)),
        )
        try:
            await producer.start()
        except BaseException:
            await producer.stop()
            raise
        return producer

    async def _ends(self, places: Sequence[KafkaPlace]) -> Mapping[KafkaPlace, int]:
        found: Mapping[KafkaPlace, int] = await self._offsets.end_offsets(places)
        return found


def _away(error: Exception) -> Unavailable:
    return Unavailable("log_unavailable", f"the event log does not answer: {type(error).__name__}")
