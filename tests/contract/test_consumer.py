"""The consumer on a real log and a real store: what each kind of error makes of a record; replay."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from hilum.contracts import topics
from hilum.contracts.deadletters.v1.deadletters_pb2 import DeadLetter
from hilum.errors import Duplicate, Fault, Overloaded, Rejected, Unavailable
from hilum.eventlog.consumer import Consumer, replay
from hilum.eventlog.port import Event, EventLog, Record, TopicPartition
from hilum.store.relay import relay
from hilum.store.sql import SqlStore, SqlTransaction
from scenes.adapters import NOTES, FullDisk, OpenLog
from scenes.clock import QuickClock

AT = datetime(2026, 7, 14, 3, 7, 11, 333_333, UTC)
ORDERS, DEAD = topics.ORDERS.name, topics.DEAD_LETTERS.name
Handle = Callable[[SqlTransaction, Record], None]


def event(name: str, key: str = "key") -> Event:
    return Event(ORDERS, key, "hilum.Type", name.encode(), name, AT, {"traceparent": "00-x"})


def note(transaction: SqlTransaction, record: Record) -> None:
    transaction.connection.execute(NOTES.insert().values(text=record.event.event_id))


async def notes(store: SqlStore) -> list[str]:
    return await store.transact(
        lambda transaction: list(
            transaction.connection.execute(sa.select(NOTES.c.text).order_by(sa.text("rowid"))).scalars()
        )
    )


@asynccontextmanager
async def consuming(
    log: EventLog, store: SqlStore, clock: QuickClock, handle: Handle
) -> AsyncIterator[Consumer[SqlTransaction]]:
    """A consumer and its relay; a failure of either fails the test."""
    consumer = Consumer(log, store, "service", {ORDERS: handle}, clock)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(consumer.run()), group.create_task(relay(store, log, clock))]
        yield consumer
        for task in tasks:
            task.cancel()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            await asyncio.sleep(0.01)


async def processed(store: SqlStore, log: EventLog) -> bool:
    """Everything consumed, and what followed from it relayed."""
    heads = await log.heads([ORDERS])
    for place, head in heads.items():
        if await store.position("service", place) != head:
            return False
    return not await store.outgoing(1)


async def letters(log: EventLog) -> list[DeadLetter]:
    async def beginning(_place: TopicPartition) -> int:
        return 0

    reader = await log.reader("letters", [DEAD], beginning)
    found = [DeadLetter.FromString(record.event.value) for record in await reader.fetch(100, 1)]
    await reader.close()
    return found


def failing(error: Exception, times: int, tried: list[str]) -> Handle:
    """Raises ``error`` for the record `bad`, so many times, after having written."""

    def handle(transaction: SqlTransaction, record: Record) -> None:
        note(transaction, record)
        tried.append(record.event.event_id)
        if record.event.event_id == "bad" and tried.count("bad") <= times:
            raise error

    return handle


async def test_every_record_is_applied_once(log: EventLog, store: SqlStore, clock: QuickClock) -> None:
    names = [f"{number:03d}" for number in range(300)]
    await log.append([event(name) for name in names[:200]])
    async with consuming(log, store, clock, note):
        await log.append([event(name) for name in names[200:]])
        await until(lambda: processed(store, log))
    assert await notes(store) == names


@pytest.mark.parametrize("error", [Rejected("not_ours", "told"), Fault("broken", "told")], ids=["Rejected", "Fault"])
async def test_rejected_and_fault_become_a_dead_letter_at_once(
    log: EventLog, store: SqlStore, clock: QuickClock, error: Rejected | Fault
) -> None:
    tried: list[str] = []
    await log.append([event("a"), event("bad"), event("c")])
    async with consuming(log, store, clock, failing(error, 99, tried)):
        await until(lambda: processed(store, log))
        (letter,) = await letters(log)
    assert tried == ["a", "bad", "c"]
    assert clock.slept == []
    assert await notes(store) == ["a", "c"]
    assert (letter.reason, letter.text, letter.attempts, letter.state) == (error.code, "told", 1, "kept")
    assert (letter.group, letter.topic, letter.offset) == ("service", ORDERS, 1)
    assert (letter.event_id, letter.key, letter.type, letter.value) == ("bad", "key", "hilum.Type", b"bad")
    assert dict(letter.headers) == {"traceparent": "00-x"}


async def test_a_duplicate_is_dropped(log: EventLog, store: SqlStore, clock: QuickClock) -> None:
    tried: list[str] = []
    await log.append([event("a"), event("bad"), event("c")])
    async with consuming(log, store, clock, failing(Duplicate("known", "told"), 99, tried)):
        await until(lambda: processed(store, log))
        assert await letters(log) == []
    assert tried == ["a", "bad", "c"]
    assert await notes(store) == ["a", "c"]


@pytest.mark.parametrize("error", [Overloaded("full", ""), Unavailable("away", "")], ids=["Overloaded", "Unavailable"])
async def test_overloaded_and_unavailable_wait_for_as_long_as_it_takes(
    log: EventLog, store: SqlStore, clock: QuickClock, error: Overloaded | Unavailable
) -> None:
    tried: list[str] = []
    await log.append([event("a"), event("bad"), event("c")])
    async with consuming(log, store, clock, failing(error, 40, tried)):
        await until(lambda: processed(store, log))
        assert await letters(log) == []
    assert tried == ["a", *["bad"] * 41, "c"]
    assert await notes(store) == ["a", "bad", "c"]
    assert clock.slept[:7] == [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 5.0]


async def test_any_other_error_is_tried_a_few_times_then_a_dead_letter(
    log: EventLog, store: SqlStore, clock: QuickClock, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[str] = []
    await log.append([event("a"), event("bad"), event("c")])
    async with consuming(log, store, clock, failing(ValueError("DOE^JANE 19700101"), 99, tried)):
        await until(lambda: processed(store, log))
        (letter,) = await letters(log)
    assert tried == ["a", *["bad"] * 5, "c"]
    assert await notes(store) == ["a", "c"]
    assert (letter.reason, letter.attempts) == ("unexpected:ValueError", 5)
    assert "DOE" not in letter.text + caplog.text
    assert "failing" in letter.text  # the place in the code


async def test_an_error_that_passes_leaves_no_trace(log: EventLog, store: SqlStore, clock: QuickClock) -> None:
    tried: list[str] = []
    await log.append([event("bad"), event("c")])
    async with consuming(log, store, clock, failing(ValueError(), 3, tried)) as consumer:
        await until(lambda: processed(store, log))
        assert await letters(log) == []
        assert consumer._attempts == {}
    assert await notes(store) == ["bad", "c"]


async def test_a_record_that_waits_holds_back_its_own_partition_alone(
    log: EventLog, store: SqlStore, clock: QuickClock
) -> None:
    away = True

    def handle(transaction: SqlTransaction, record: Record) -> None:
        if record.event.event_id == "wait" and away:
            raise Unavailable("away", "")
        note(transaction, record)

    others = [event(f"{key}-{n}", f"key-{key}") for n in range(30) for key in range(10)]
    await log.append([event("wait"), event("behind it"), *others])
    behind = {event.event_id for event in others if event.key in await keys_beside(log, "key")} | {"behind it", "wait"}
    free = {event.event_id for event in others} - behind
    assert free
    async with consuming(log, store, clock, handle) as consumer:
        await until(lambda: has_all(store, free))
        assert not behind & set(await notes(store))
        assert consumer.caught_up_at is None
        away = False
        await until(lambda: processed(store, log))
    assert set(await notes(store)) == behind | free


async def keys_beside(log: EventLog, key: str) -> set[str]:
    """The keys that share a partition with ``key``."""

    async def beginning(_place: TopicPartition) -> int:
        return 0

    reader = await log.reader("keys", [ORDERS], beginning)
    records: list[Record] = []
    while found := await reader.fetch(1000, 0):
        records += found
    await reader.close()
    partition = next(record.partition for record in records if record.event.key == key)
    return {record.event.key for record in records if record.partition == partition}


async def has_all(store: SqlStore, names: set[str]) -> bool:
    return names <= set(await notes(store))


async def test_a_database_that_is_away_is_waited_for(
    log: EventLog, store: SqlStore, clock: QuickClock, full_disk: FullDisk
) -> None:
    await log.append([event("a"), event("b")])
    with full_disk():
        async with consuming(log, store, clock, note) as consumer:
            await until(lambda: len(clock.slept) >= 10)
            assert consumer.caught_up_at is None
    async with consuming(log, store, clock, note):
        await until(lambda: processed(store, log))
        assert await letters(log) == []
    assert await notes(store) == ["a", "b"]


class _Flaky:
    """A log that is away at first, when it is opened and when it is read."""

    def __init__(self, log: EventLog, failures: int) -> None:
        self._log = log
        self.failures = failures

    def _fail(self) -> None:
        if self.failures:
            self.failures -= 1
            raise Unavailable("log_unavailable", "")

    async def append(self, events: Sequence[Event]) -> None:
        await self._log.append(events)

    async def heads(self, names: Sequence[str]) -> object:
        return await self._log.heads(names)

    async def reader(self, group: str, names: Sequence[str], start: object) -> object:
        self._fail()
        reader = await self._log.reader(group, names, start)  # type: ignore[arg-type]
        self.failures += 3
        real = reader.fetch

        async def fetch(limit: int, wait_seconds: float) -> Sequence[Record]:
            self._fail()
            return await real(limit, wait_seconds)

        reader.fetch = fetch  # type: ignore[method-assign]
        return reader


async def test_a_log_that_is_away_is_waited_for(log: EventLog, store: SqlStore, clock: QuickClock) -> None:
    await log.append([event("a")])
    flaky = _Flaky(log, 3)
    async with consuming(flaky, store, clock, note):  # type: ignore[arg-type]
        await until(lambda: processed(store, log))
    assert await notes(store) == ["a"]
    assert len(clock.slept) == 6


async def test_caught_up_means_read_to_the_end(log: EventLog, store: SqlStore, clock: QuickClock) -> None:
    await log.append([event(f"{number}") for number in range(500)])
    async with consuming(log, store, clock, note) as consumer:
        await until(lambda: consumer.caught_up_at is not None)
        assert len(await notes(store)) == 500


async def test_a_restart_goes_on_where_the_state_is(
    log: EventLog, open_log: OpenLog, store: SqlStore, clock: QuickClock
) -> None:
    await log.append([event("a"), event("b")])
    async with consuming(log, store, clock, note):
        await until(lambda: processed(store, log))
    await log.append([event("c")])
    async with consuming(open_log(), store, clock, note):
        await until(lambda: processed(store, log))
    assert await notes(store) == ["a", "b", "c"]


async def test_a_replayed_letter_is_processed_anew_and_marked(
    log: EventLog, store: SqlStore, clock: QuickClock
) -> None:
    mended = False

    def handle(transaction: SqlTransaction, record: Record) -> None:
        if record.event.value == b"bad" and not mended:
            raise Rejected("mapping", "")
        transaction.connection.execute(NOTES.insert().values(text=f"{record.event.value.decode()}"))

    await log.append([event("a"), event("bad")])
    async with consuming(log, store, clock, handle):
        await until(lambda: processed(store, log))
        (letter,) = await letters(log)
        mended = True
        await replay(log, letter, AT)
        await until(lambda: processed(store, log))
        kept, marked = await letters(log)
    assert await notes(store) == ["a", "bad"]
    assert (kept.state, marked.state) == ("kept", "replayed")
    assert kept.dead_letter_id == marked.dead_letter_id


async def test_a_replay_of_what_still_fails_is_another_letter(
    log: EventLog, store: SqlStore, clock: QuickClock
) -> None:
    tried: list[str] = []

    def handle(transaction: SqlTransaction, record: Record) -> None:
        tried.append(record.event.headers.get("hilum-replay-of", ""))
        raise Rejected("mapping", "")

    await log.append([event("bad")])
    async with consuming(log, store, clock, handle):
        await until(lambda: processed(store, log))
        (letter,) = await letters(log)
        await replay(log, letter, AT)
        await until(lambda: processed(store, log))
        found = await letters(log)
    assert tried == ["", letter.dead_letter_id]
    assert len({letter.dead_letter_id for letter in found}) == 2


async def test_cancelling_a_consumer_ends_it(log: EventLog, store: SqlStore, clock: QuickClock) -> None:
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    consumer = Consumer(log, store, "service", {ORDERS: note}, clock)
    running = asyncio.create_task(consumer.run())
    await asyncio.sleep(0.05)
    running.cancel()
    await asyncio.wait([running], timeout=5)
    assert running.cancelled()


async def test_records_gather_while_their_consumer_is_in_no_hurry(log: EventLog, store: SqlStore) -> None:
    batches: list[int] = []

    class Gathering(QuickClock):
        async def sleep(self, seconds: float) -> None:
            if seconds == 7.0:
                await log.append([event("b"), event("c")])
                await asyncio.sleep(0.3)  # a clock that hurries leaves no time to ask a broker
            await super().sleep(seconds)

    def count(transaction: SqlTransaction) -> None:
        batches.append(len(transaction.connection.execute(sa.select(NOTES)).all()))

    consumer = Consumer(log, store, "service", {ORDERS: note}, Gathering(), after=count, gather_seconds=7.0)
    consuming = asyncio.create_task(consumer.run())
    await until(lambda: consumer.caught_up_at)
    await log.append([event("a")])
    await until(lambda: batches)
    consuming.cancel()
    await asyncio.wait([consuming])
    assert batches[0] == 3
