"""The store as inbox and outbox: one transaction holds offsets, state and what is to be published."""

import asyncio
import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from opentelemetry import context as otel_context

from hilum.contracts import topics
from hilum.errors import Fault, Rejected, Unavailable
from hilum.eventlog.consumer import GiveUp, Stop
from hilum.eventlog.port import Event, EventLog, Record, TopicPartition
from hilum.store.relay import relay
from hilum.store.sql import SqlStore, SqlTransaction
from hilum.telemetry import context_of
from scenes.adapters import NOTES, FullDisk, OpenStore
from scenes.clock import QuickClock

AT = datetime(2026, 7, 14, 3, 7, 11, 333_333, UTC)
ORDERS, REPORTS = topics.ORDERS.name, topics.REPORTS.name
PLACE = TopicPartition(ORDERS, 0)
GROUP = "service"


def event(name: str, topic: str = ORDERS) -> Event:
    return Event(topic, "key", "type", name.encode(), name, AT, {"a": "b"})


def record(name: str, offset: int, partition: int = 0, topic: str = ORDERS) -> Record:
    return Record(event(name, topic), partition, offset)


def note(transaction: SqlTransaction, heard: Record) -> None:
    transaction.connection.execute(NOTES.insert().values(text=f"{heard.event.event_id}@{heard.offset}"))


def never(_record: Record, error: Exception) -> Stop | GiveUp:
    raise AssertionError("no error was expected") from error


def stop(heard: Record, error: Exception) -> Stop | GiveUp:
    return Stop(heard, error)


async def notes(store: SqlStore) -> list[str]:
    return await store.transact(
        lambda transaction: list(
            transaction.connection.execute(sa.select(NOTES.c.text).order_by(NOTES.c.text)).scalars()
        )
    )


async def waiting(store: SqlStore) -> list[str]:
    return [outgoing.event.event_id for outgoing in await store.outgoing(100)]


# Transactions.


async def test_a_transaction_that_raises_leaves_neither_state_nor_events(store: SqlStore) -> None:
    def work(transaction: SqlTransaction) -> None:
        note(transaction, record("a", 0))
        transaction.publish(event("published"))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await store.transact(work)
    assert await notes(store) == []
    assert await waiting(store) == []


async def test_transactions_run_one_at_a_time(store: SqlStore) -> None:
    def count_one_more(transaction: SqlTransaction) -> None:
        known = transaction.connection.execute(sa.select(sa.func.count()).select_from(NOTES)).scalar_one()
        note(transaction, record("n", known))

    await asyncio.gather(*(store.transact(count_one_more) for _ in range(50)))
    assert len(await notes(store)) == 50


async def test_a_caller_that_is_cancelled_leaves_no_event_behind(store: SqlStore, log: EventLog) -> None:
    carrying = asyncio.create_task(relay(store, log, QuickClock()))
    await asyncio.sleep(0.05)  # the relay waits for news

    begun, cancelled = threading.Event(), threading.Event()

    def publish(transaction: SqlTransaction) -> None:
        begun.set()
        cancelled.wait(5)
        transaction.publish(event("a"))

    caller = asyncio.create_task(store.transact(publish))
    await asyncio.to_thread(begun.wait, 5)
    caller.cancel()
    await asyncio.wait([caller])
    cancelled.set()
    async with asyncio.timeout(5):
        while sum((await log.heads([ORDERS])).values()) < 1:
            await asyncio.sleep(0.02)
    carrying.cancel()
    await asyncio.wait([carrying])


async def test_a_database_that_cannot_write_says_unavailable_and_recovers(store: SqlStore, full_disk: FullDisk) -> None:
    await store.transact(lambda transaction: note(transaction, record("a", 0)))
    with full_disk(), pytest.raises(Unavailable) as away:
        await store.transact(lambda transaction: note(transaction, record("b", 1)))
    assert away.value.code == "store_unavailable"
    await store.transact(lambda transaction: note(transaction, record("c", 2)))
    assert await notes(store) == ["a@0", "c@2"]


async def test_a_wrong_statement_is_not_the_databases_absence(store: SqlStore) -> None:
    with pytest.raises(sa.exc.OperationalError):
        await store.transact(lambda transaction: transaction.connection.execute(sa.text("SELECT * FROM nowhere")))


async def test_a_closed_store_says_unavailable(store: SqlStore) -> None:
    store.close()
    with pytest.raises(Unavailable):
        await notes(store)


async def test_state_outlives_the_store(open_store: OpenStore) -> None:
    first = open_store()
    await first.transact(lambda transaction: note(transaction, record("a", 0)))
    first.close()
    assert await notes(open_store()) == ["a@0"]


# The inbox.


async def test_a_batch_moves_the_offset_with_the_state(store: SqlStore) -> None:
    assert await store.position(GROUP, PLACE) == 0
    assert await store.consume(GROUP, [record("a", 0), record("b", 1)], note, never) is None
    assert await store.position(GROUP, PLACE) == 2
    assert await notes(store) == ["a@0", "b@1"]


async def test_what_is_delivered_again_is_skipped(store: SqlStore) -> None:
    batch = [record("a", 0), record("b", 1)]
    await store.consume(GROUP, batch, note, never)
    await store.consume(GROUP, [*batch, record("c", 2)], note, never)
    assert await notes(store) == ["a@0", "b@1", "c@2"]


@pytest.mark.parametrize("batches", [[2], [1, 1]], ids=["one batch", "two batches"])
async def test_an_event_under_another_offset_is_applied_once(store: SqlStore, batches: list[int]) -> None:
    records = iter([record("a", 0), record("a", 1)])
    for size in batches:
        await store.consume(GROUP, [next(records) for _ in range(size)], note, never)
    assert await notes(store) == ["a@0"]
    assert await store.position(GROUP, PLACE) == 2


async def test_an_event_in_another_topic_with_the_same_id_is_applied_once(store: SqlStore) -> None:
    await store.consume(GROUP, [record("a", 0), record("a", 0, topic=REPORTS)], note, never)
    assert await notes(store) == ["a@0"]


async def test_each_group_has_its_own_offsets_and_memory(store: SqlStore) -> None:
    def mark(transaction: SqlTransaction, heard: Record) -> None:
        transaction.connection.execute(NOTES.insert().values(text=f"other {heard.event.event_id}"))

    await store.consume(GROUP, [record("a", 0)], note, never)
    await store.consume("other", [record("a", 0)], mark, never)
    assert await notes(store) == ["a@0", "other a"]


async def test_a_gap_is_a_fault_and_nothing_is_applied(store: SqlStore) -> None:
    with pytest.raises(Fault) as gap:
        await store.consume(GROUP, [record("a", 0), record("c", 2)], note, never)
    assert gap.value.code == "log_gap"
    assert await notes(store) == []
    assert await store.position(GROUP, PLACE) == 0


async def test_a_zombie_applies_nothing(open_store: OpenStore) -> None:
    """A consumer that lost its partition has fetched records; the new owner has applied them meanwhile."""
    zombie, owner = open_store(), open_store()
    fetched = [record("a", 0), record("b", 1)]
    assert await zombie.position(GROUP, PLACE) == 0
    await owner.consume(GROUP, fetched, note, never)
    await zombie.consume(GROUP, fetched, note, never)
    assert await notes(owner) == ["a@0", "b@1"]
    assert await owner.position(GROUP, PLACE) == 2


@pytest.mark.parametrize("applied", [0, 1], ids=["first batch", "later batch"])
async def test_an_offset_that_moved_within_the_transaction_fails_it(store: SqlStore, applied: int) -> None:
    await store.consume(GROUP, [record(f"before {n}", n) for n in range(applied)], note, never)

    def overtaken(transaction: SqlTransaction, heard: Record) -> None:
        note(transaction, heard)
        transaction.connection.execute(sa.text("DELETE FROM inbox_positions"))
        transaction.connection.execute(sa.text("INSERT INTO inbox_positions VALUES ('service', 'orders', 0, 77)"))

    with pytest.raises(Fault) as moved:
        await store.consume(GROUP, [record("a", applied)], overtaken, never)
    assert moved.value.code == "offset_moved"
    assert await store.position(GROUP, PLACE) == applied
    assert f"a@{applied}" not in await notes(store)


async def test_a_record_given_up_leaves_nothing_and_the_others_stay(store: SqlStore) -> None:
    def choosy(transaction: SqlTransaction, heard: Record) -> None:
        note(transaction, heard)
        transaction.publish(event(f"from {heard.event.event_id}"))
        if heard.event.event_id == "bad":
            raise ValueError

    letter = event("letter", topics.DEAD_LETTERS.name)
    records = [record("a", 0), record("bad", 1), record("c", 2)]
    assert await store.consume(GROUP, records, choosy, lambda _record, _error: GiveUp(letter)) is None
    assert await notes(store) == ["a@0", "c@2"]
    assert await waiting(store) == ["from a", "letter", "from c"]
    assert await store.position(GROUP, PLACE) == 3


async def test_a_record_given_up_is_not_tried_again(store: SqlStore) -> None:
    def fails(_transaction: SqlTransaction, _record: Record) -> None:
        raise ValueError

    await store.consume(GROUP, [record("bad", 0)], fails, lambda _record, _error: GiveUp(None))
    await store.consume(GROUP, [record("bad", 0), record("bad", 1)], note, never)
    assert await notes(store) == []


async def test_a_dead_letter_is_published_only_if_its_batch_commits(store: SqlStore) -> None:
    def bad(transaction: SqlTransaction, heard: Record) -> None:
        note(transaction, heard)
        raise ValueError

    with pytest.raises(Fault):  # the gap after it fails the batch
        await store.consume(GROUP, [record("bad", 0), record("b", 2)], bad, lambda _r, _e: GiveUp(event("letter")))
    assert await waiting(store) == []
    assert await store.position(GROUP, PLACE) == 0


async def test_a_stop_keeps_what_came_before_and_holds_back_its_own_partition(store: SqlStore) -> None:
    def choosy(transaction: SqlTransaction, heard: Record) -> None:
        note(transaction, heard)
        if heard.event.event_id == "wait":
            raise Unavailable("away", "away")

    records = [record("a", 0), record("wait", 1), record("c", 2), record("d", 0, partition=1), record("e", 3)]
    ended = await store.consume(GROUP, records, choosy, stop)
    assert ended is not None
    assert ended.record is records[1]
    assert await notes(store) == ["a@0", "d@0"]
    assert await store.position(GROUP, PLACE) == 1
    assert await store.position(GROUP, TopicPartition(ORDERS, 1)) == 1


async def test_a_database_that_fails_under_a_handler_is_no_fault_of_the_record(
    store: SqlStore, full_disk: FullDisk
) -> None:
    asked: list[Exception] = []

    def on_error(_record: Record, error: Exception) -> Stop | GiveUp:
        asked.append(error)
        return GiveUp(None)

    def large(transaction: SqlTransaction, heard: Record) -> None:
        for number in range(3000):  # more than the page cache: the disk is needed before the commit
            transaction.connection.execute(NOTES.insert().values(text=f"{heard.offset} {number} " + "x" * 3000))

    with full_disk(), pytest.raises(Unavailable):
        await store.consume(GROUP, [record("a", 0)], large, on_error)
    assert asked == []
    assert await store.position(GROUP, PLACE) == 0
    await store.consume(GROUP, [record("a", 0)], note, never)
    assert await notes(store) == ["a@0"]


async def test_a_transaction_that_the_database_ended_by_itself_is_not_applied_in_pieces(store: SqlStore) -> None:
    """SQLite does that when memory or room runs out; a handler may fail with an error that says nothing of it."""

    def ended(transaction: SqlTransaction, heard: Record) -> None:
        note(transaction, heard)
        if heard.offset == 1:
            transaction.connection.exec_driver_sql("ROLLBACK")
            raise ValueError

    records = [record("a", 0), record("b", 1), record("c", 2)]
    with pytest.raises(Unavailable):
        await store.consume(GROUP, records, ended, lambda _record, _error: GiveUp(None))
    assert await notes(store) == []
    assert await store.position(GROUP, PLACE) == 0


# The outbox and its relay.


def publish_all(*names: str) -> "Callable[[SqlTransaction], None]":  # noqa: F821
    def work(transaction: SqlTransaction) -> None:
        for name in names:
            transaction.publish(event(name))

    return work


async def test_the_outbox_keeps_the_order_and_every_field(store: SqlStore) -> None:
    await store.transact(publish_all("a", "b"))
    await store.transact(publish_all("c"))
    assert [outgoing.event for outgoing in await store.outgoing(10)] == [event("a"), event("b"), event("c")]
    await store.relayed((await store.outgoing(2))[-1].sequence)
    assert await waiting(store) == ["c"]


async def test_a_sequence_is_never_used_twice(store: SqlStore) -> None:
    await store.transact(publish_all("a"))
    (first,) = await store.outgoing(10)
    await store.relayed(first.sequence)
    await store.transact(publish_all("b"))
    (second,) = await store.outgoing(10)
    assert second.sequence > first.sequence


@contextmanager
def traced(headers: dict[str, str]) -> Iterator[None]:
    token = otel_context.attach(context_of(headers))
    try:
        yield
    finally:
        otel_context.detach(token)


async def test_an_event_carries_the_trace_in_which_it_was_published(store: SqlStore) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with traced({"traceparent": parent}):
        await store.transact(publish_all("a"))
    (outgoing,) = await store.outgoing(1)
    assert outgoing.event.headers == {"traceparent": parent, "a": "b"}
    assert json.dumps(dict(outgoing.event.headers))


async def read_all(log: EventLog, count: int) -> list[Record]:
    async def beginning(_place: TopicPartition) -> int:
        return 0

    reader = await log.reader("test", [ORDERS], beginning)
    found: list[Record] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await reader.fetch(1000, 0.5)
    await reader.close()
    return found


async def test_the_relay_carries_what_a_crash_left_and_what_comes(open_store: OpenStore, log: EventLog) -> None:
    before = open_store()
    await before.transact(publish_all(*(f"{n:04d}" for n in range(700))))
    before.close()
    store = open_store()
    carrying = asyncio.create_task(relay(store, log, QuickClock()))
    await read_all(log, 700)
    await store.transact(publish_all("later"))
    records = await read_all(log, 701)
    async with asyncio.timeout(5):
        while await waiting(store):
            await asyncio.sleep(0.01)
    carrying.cancel()
    await asyncio.wait([carrying])
    assert [record.event.event_id for record in records] == [*(f"{n:04d}" for n in range(700)), "later"]
    assert await waiting(store) == []


async def test_a_crash_between_append_and_forget_publishes_twice_and_the_consumer_drops_one(
    open_store: OpenStore, log: EventLog
) -> None:
    store = open_store()
    await store.transact(publish_all("a", "b"))
    await log.append([outgoing.event for outgoing in await store.outgoing(10)])
    store.close()  # the crash: appended, not forgotten
    store = open_store()
    carrying = asyncio.create_task(relay(store, log, QuickClock()))
    records = await read_all(log, 4)
    carrying.cancel()
    await asyncio.wait([carrying])
    assert [record.event.event_id for record in records] == ["a", "b", "a", "b"]
    await store.consume(GROUP, records, note, never)
    assert await notes(store) == ["a@0", "b@1"]


async def test_the_relay_waits_while_log_or_database_is_away(
    store: SqlStore, log: EventLog, full_disk: FullDisk
) -> None:
    await store.transact(publish_all("a"))
    clock = QuickClock()
    with full_disk():
        carrying = asyncio.create_task(relay(store, log, clock))
        async with asyncio.timeout(10):
            while len(clock.slept) < 3:
                await asyncio.sleep(0.01)
    records = await read_all(log, 1)
    assert not carrying.done()
    carrying.cancel()
    await asyncio.wait([carrying])
    assert records[0].event.event_id == "a"


async def test_times_are_kept_to_the_microsecond(store: SqlStore) -> None:
    times = [datetime(2026, 7, 14, 3, 7, 11, tzinfo=UTC) + timedelta(microseconds=n * 37_037) for n in range(27)]

    def work(transaction: SqlTransaction) -> None:
        for number, time in enumerate(times):
            transaction.publish(Event(ORDERS, "key", "type", b"", f"{number}", time))

    await store.transact(work)
    assert [outgoing.event.time for outgoing in await store.outgoing(100)] == times


async def test_what_another_process_published_in_between_goes_before_what_came_later(open_store: OpenStore) -> None:
    mine, other = open_store(), open_store()
    await mine.transact(publish_all("a"))
    assert await waiting(mine) == ["a"]
    await mine.relayed((await mine.outgoing(10))[-1].sequence)
    await other.transact(publish_all("b"))
    await mine.transact(publish_all("c"))
    assert await waiting(mine) == ["b", "c"]


async def test_what_was_undone_is_not_relayed_in_the_place_of_what_came_instead(store: SqlStore) -> None:
    def work(transaction: SqlTransaction) -> None:
        with contextlib.suppress(Rejected), transaction.savepoint():
            transaction.publish(event("undone"))
            raise Rejected("changed_my_mind", "")
        transaction.publish(event("instead"))

    await store.transact(work)
    assert await waiting(store) == ["instead"]
    with contextlib.suppress(Rejected):
        await store.transact(lambda transaction: [transaction.publish(event("rolled back")), rejected()])
    await store.transact(publish_all("next"))
    assert await waiting(store) == ["instead", "next"]


def rejected() -> None:
    raise Rejected("changed_my_mind", "")


async def test_what_was_relayed_leaves_the_database_with_the_next_that_is_published(open_store: OpenStore) -> None:
    store, beside = open_store(), open_store()
    await store.transact(publish_all("a"))
    await store.relayed((await store.outgoing(1))[0].sequence)
    assert await waiting(beside) == ["a"]  # a crash now would relay it once more
    await store.transact(publish_all("b"))
    assert await waiting(beside) == ["b"]


async def test_what_came_behind_a_gap_is_relayed_though_nothing_else_is_published(
    open_store: OpenStore, log: EventLog
) -> None:
    """The word of another process, or of a commit whose answer was lost, came while what lay before was relayed."""
    store, beside = open_store(), open_store()
    await store.transact(publish_all("a"))
    await beside.transact(publish_all("b"))
    await store.transact(publish_all("c"))
    carrying = asyncio.create_task(relay(store, log, QuickClock()))
    async with asyncio.timeout(30):
        records = await read_all(log, 3)
    carrying.cancel()
    await asyncio.wait([carrying])
    assert [record.event.event_id for record in records] == ["a", "b", "c"]


@pytest.mark.parametrize("end", ["forgets", "closes"])
async def test_what_was_relayed_leaves_the_database_without_news(open_store: OpenStore, end: str) -> None:
    store, beside = open_store(), open_store()
    await store.transact(publish_all("a"))
    await store.relayed((await store.outgoing(1))[0].sequence)
    if end == "closes":
        store.close()
    else:
        await store.forget()
    assert await waiting(beside) == []


async def test_a_commit_whose_answer_was_lost_is_relayed_all_the_same(
    store: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.transact(publish_all("a"))
    await store.relayed((await store.outgoing(1))[0].sequence)
    store.outbox_news.clear()

    @contextmanager
    def unsure(engine: sa.Engine) -> Iterator[sa.Connection]:
        with begin(engine) as connection:
            yield connection
        raise sa.exc.OperationalError("COMMIT", None, sqlite3.OperationalError("disk I/O error"))

    begin = sa.Engine.begin
    monkeypatch.setattr(sa.Engine, "begin", unsure)
    with pytest.raises(Unavailable):
        await store.transact(publish_all("b"))
    monkeypatch.undo()
    async with asyncio.timeout(1):
        await store.outbox_news.wait()
    assert await waiting(store) == ["b"]


async def test_what_follows_a_batch_is_of_its_transaction_and_told_after_the_commit(store: SqlStore) -> None:
    told: list[list[str]] = []

    def follows(transaction: SqlTransaction) -> None:
        note(transaction, record("followed", 9))
        transaction.when_committed(lambda: told.append(["told"]))

    assert await store.consume(GROUP, [record("a", 0)], note, never, follows) is None
    assert await notes(store) == ["a@0", "followed@9"]
    assert told == [["told"]]


async def test_a_batch_whose_follow_up_fails_was_not_applied_and_is_not_told(store: SqlStore) -> None:
    told: list[str] = []

    def fails(transaction: SqlTransaction) -> None:
        transaction.when_committed(lambda: told.append("told"))
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await store.consume(GROUP, [record("a", 0)], note, never, fails)
    assert await notes(store) == []
    assert await store.position(GROUP, PLACE) == 0
    assert told == []


async def test_what_was_undone_is_not_told(store: SqlStore) -> None:
    told: list[str] = []

    def work(transaction: SqlTransaction) -> None:
        with contextlib.suppress(Rejected), transaction.savepoint():
            transaction.when_committed(lambda: told.append("undone"))
            rejected()
        transaction.when_committed(lambda: told.append("done"))

    await store.transact(work)
    assert told == ["done"]
