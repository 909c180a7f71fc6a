"""What only real brokers can show: their loss, their refusals, a group that is shared out anew, compaction."""

import asyncio
import contextlib
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hilum.contracts import topics
from hilum.contracts.topics import Topic
from hilum.errors import Fault, Unavailable
from hilum.eventlog.consumer import Consumer
from hilum.eventlog.kafka.log import KafkaEventLog
from hilum.eventlog.kafka.settings import KafkaSettings
from hilum.eventlog.kafka.topics import LARGEST_BYTES, configuration
from hilum.eventlog.port import Event, Record, TopicPartition
from hilum.hosting import SystemClock
from hilum.store.sql import SqlStore, SqlTransaction, open_sqlite
from peers.kafka import Kafka
from scenes.adapters import NOTES, TABLES

pytestmark = pytest.mark.production
AT = datetime(2026, 7, 14, 3, 7, 11, 333_333, UTC)
ORDERS = topics.ORDERS
OpenKafka = Callable[..., KafkaEventLog]


def event(name: str, key: str = "feed", topic: Topic = ORDERS, value: bytes = b"value") -> Event:
    return Event(topic.name, key, "hilum.Type", value, name, AT)


async def beginning(_place: TopicPartition) -> int:
    return 0


@pytest.fixture
def open_on() -> Iterator[OpenKafka]:
    """Opens logs with topics of the test's own, and closes them."""
    prefix = f"t-{uuid.uuid4().hex[:12]}-"
    opened: list[KafkaEventLog] = []

    def open_one(
        cluster: Kafka, wanted: Sequence[Topic] = (ORDERS,), partitions: int = 4, **settings: Any
    ) -> KafkaEventLog:
        told = {"brokers": cluster.addresses, "topic_prefix": prefix, "append_seconds": 20} | settings
        log = KafkaEventLog(KafkaSettings(**told), SystemClock(), wanted, partitions)
        log.open()
        opened.append(log)
        return log

    yield open_one
    for log in opened:
        log.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    store = open_sqlite(tmp_path / "service.db", TABLES)
    yield store
    store.close()


async def all_of(log: KafkaEventLog, topic: Topic = ORDERS) -> list[Record]:
    """Every record, from each partition's beginning to its end."""
    heads = await log.heads([topic.name])
    reader = await log.reader(f"all-{uuid.uuid4().hex}", [topic.name], beginning)
    found: list[Record] = []
    try:
        async with asyncio.timeout(30):
            while records := await reader.fetch(500, 0):
                found += records
    finally:
        await reader.close()
    for place, head in heads.items():
        assert max((r.offset + 1 for r in found if r.partition == place.partition), default=0) >= head
    return found


async def notes(store: SqlStore) -> list[str]:
    return await store.transact(
        lambda transaction: list(
            transaction.connection.execute(sa.select(NOTES.c.text).order_by(sa.text("rowid"))).scalars()
        )
    )


def note(transaction: SqlTransaction, record: Record) -> None:
    transaction.connection.execute(NOTES.insert().values(text=record.event.event_id))


@contextlib.asynccontextmanager
async def consuming(log: KafkaEventLog, store: SqlStore) -> AsyncIterator[None]:
    consumer = Consumer(log, store, "service", {ORDERS.name: note}, SystemClock())
    async with asyncio.TaskGroup() as group:
        task = group.create_task(consumer.run())
        yield
        task.cancel()


async def until(condition: Callable[[], Any], seconds: float = 40) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def administrator(settings: KafkaSettings) -> AsyncIterator[Any]:
    from aiokafka.admin import AIOKafkaAdminClient

    admin = AIOKafkaAdminClient(bootstrap_servers=list(settings.brokers))
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


class Feed:
    """Appends one event after another, again where it was refused, and remembers what was acknowledged."""

    def __init__(self, log: KafkaEventLog, key: str) -> None:
        self._log = log
        self._key = key
        self.acknowledged: list[str] = []
        self.refused = 0

    async def run(self) -> None:
        number = 0
        while True:
            name = f"{self._key}-{number:06d}"
            try:
                await self._log.append([event(name, self._key)])
            except Unavailable:
                self.refused += 1
                continue
            self.acknowledged.append(name)
            number += 1


@contextlib.asynccontextmanager
async def feeding(log: KafkaEventLog) -> AsyncIterator[list[Feed]]:
    feeds = [Feed(log, f"feed-{number}") for number in range(6)]
    tasks = [asyncio.create_task(feed.run()) for feed in feeds]
    try:
        yield feeds
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(end, asyncio.CancelledError) for end in ended), ended


def check(feeds: Sequence[Feed], records: Sequence[Record]) -> None:
    """Acknowledged is in the log, in the order in which it was; each partition's offsets have no gap."""
    places: dict[int, list[int]] = {}
    for record in records:
        places.setdefault(record.partition, []).append(record.offset)
    assert all(offsets == list(range(len(offsets))) for offsets in places.values())
    for feed in feeds:
        found = [r.event.event_id for r in records if r.event.event_id.rpartition("-")[0] == feed._key]
        first = list(dict.fromkeys(found))
        assert first[: len(feed.acknowledged)] == feed.acknowledged
        assert len(first) <= len(feed.acknowledged) + 1  # one may be on its way when the feed ends


async def grown(feeds: Sequence[Feed], by: int) -> None:
    """Return when each has ``by`` acknowledgements more than now."""
    wanted = {feed._key: len(feed.acknowledged) + by for feed in feeds}

    async def have() -> bool:
        return all(len(feed.acknowledged) >= wanted[feed._key] for feed in feeds)

    await until(have)


async def test_the_loss_of_any_broker_loses_nothing_and_stops_nothing(three_brokers: Kafka, open_on: OpenKafka) -> None:
    log = open_on(three_brokers)
    async with feeding(log) as feeds:
        await grown(feeds, 50)
        for broker in three_brokers.brokers:
            broker.kill()
            await grown(feeds, 50)
            broker.start()
            await asyncio.to_thread(three_brokers.wait_until_ready)
            await grown(feeds, 50)
    assert sum(feed.refused for feed in feeds) == 0
    check(feeds, await all_of(log))


async def leader_of(log: KafkaEventLog, record: Record) -> int:
    """The number of the broker that leads the partition of ``record``."""
    async with administrator(log._settings) as admin:
        (topic,) = await admin.describe_topics([log._settings.topic_prefix + record.event.topic])
    (leader,) = (place["leader"] for place in topic["partitions"] if place["partition"] == record.partition)
    return int(leader)


async def test_one_replica_is_not_enough_to_acknowledge(three_brokers: Kafka, open_on: OpenKafka) -> None:
    """The leader answers, and alone it would have taken the event; those that follow it stand still."""
    log = open_on(three_brokers, append_seconds=4)
    await log.append([event("before")])
    leader = await leader_of(log, (await all_of(log))[0])
    with contextlib.ExitStack() as away:
        for broker in three_brokers.brokers:
            if broker.number != leader:
                away.enter_context(broker.frozen())
        async with asyncio.timeout(8):
            with pytest.raises(Unavailable):
                await log.append([event("meanwhile")])
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(Unavailable):
                await log.append([event("after")])
                break
    names = list(dict.fromkeys(record.event.event_id for record in await all_of(log)))
    assert [name for name in names if name != "meanwhile"] == ["before", "after"]


async def test_what_was_acknowledged_outlives_the_death_of_every_broker(
    three_brokers: Kafka, open_on: OpenKafka
) -> None:
    log = open_on(three_brokers, append_seconds=3)
    async with feeding(log) as feeds:
        await grown(feeds, 100)
        for broker in three_brokers.brokers:
            broker.kill()
        await asyncio.sleep(4)
        assert all(feed.refused for feed in feeds)
        for broker in three_brokers.brokers:
            broker.start()
        await asyncio.to_thread(three_brokers.wait_until_ready)
        await grown(feeds, 20)
    check(feeds, await all_of(log))


async def test_a_group_shared_out_anew_applies_each_record_once(
    three_brokers: Kafka, open_on: OpenKafka, store: SqlStore
) -> None:
    """Members join, leave and die while events come in, and each batch's offsets are fenced in the database."""
    log = open_on(three_brokers)
    told = [event(f"{number:05d}", f"key-{number % 16}") for number in range(3000)]

    async def feed() -> None:
        for start in range(0, len(told), 20):
            await log.append(told[start : start + 20])
            await asyncio.sleep(0.02)

    async def all_there() -> bool:
        return len(await notes(store)) >= len(told)

    async with asyncio.TaskGroup() as group:
        feeding = group.create_task(feed())
        async with consuming(open_on(three_brokers), store):
            await asyncio.sleep(1)
            async with consuming(open_on(three_brokers), store):
                await asyncio.sleep(1)
            await asyncio.sleep(0.5)
            async with consuming(open_on(three_brokers), store), consuming(open_on(three_brokers), store):
                await feeding
                await until(all_there)
    found = await notes(store)
    assert sorted(found) == [told_.event_id for told_ in told]
    for key in range(16):
        mine = [name for name in found if int(name) % 16 == key]
        assert mine == sorted(mine)


async def test_members_of_a_group_share_its_partitions(one_broker: Kafka, open_on: OpenKafka) -> None:
    log = open_on(one_broker, one_broker=True)
    await log.append([event(f"{number}", f"key-{number}") for number in range(100)])
    readers = await asyncio.gather(*(log.reader("group", [ORDERS.name], beginning) for _ in range(2)))
    seen: list[set[int]] = [set(), set()]

    async def settled() -> bool:
        """Both have partitions, and no partition is both's."""
        for reader, mine in zip(readers, seen, strict=True):
            mine.clear()
            for number in range(4):
                reader.seek(TopicPartition(ORDERS.name, number), 0)
            mine.update(record.partition for record in await reader.fetch(100, 0.5))
        return all(seen) and not seen[0] & seen[1] and seen[0] | seen[1] == {0, 1, 2, 3}

    await until(settled)
    await readers[0].close()

    async def inherited() -> bool:
        return {record.partition for record in await readers[1].fetch(100, 0.5)} >= seen[0]

    await until(inherited)
    await readers[1].close()


async def test_a_compacted_topic_is_read_to_its_end(one_broker: Kafka, open_on: OpenKafka) -> None:
    log = open_on(one_broker, (topics.STUDIES,), 1, one_broker=True)
    settings = log._settings
    quick = configuration(topics.STUDIES, settings) | {"segment.ms": "200", "min.cleanable.dirty.ratio": "0.01"}
    await alter(settings, topics.STUDIES, quick)
    for number in range(200):
        await log.append([event(f"{number:03d}", f"case-{number % 3}", topics.STUDIES)])

    async def compacted() -> bool:
        await log.append([event(f"tail-{uuid.uuid4().hex}", "tail", topics.STUDIES)])  # closes the segment
        await asyncio.sleep(0.5)
        return len(await all_of(log, topics.STUDIES)) < 100

    await until(compacted, 60)
    names = [record.event.event_id for record in await all_of(log, topics.STUDIES)]
    assert {"197", "198", "199"} <= set(names)


async def alter(settings: KafkaSettings, topic: Topic, wanted: dict[str, str]) -> None:
    from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

    async with administrator(settings) as admin:
        resource = ConfigResource(ConfigResourceType.TOPIC, settings.topic_prefix + topic.name, wanted)
        (answer,) = await admin.alter_configs([resource])
        assert all(code == 0 for code, *_ in answer.resources), answer


async def test_a_log_that_may_forget_is_refused_with_all_that_is_wrong(
    three_brokers: Kafka, open_on: OpenKafka
) -> None:
    log = open_on(three_brokers, (ORDERS, topics.STUDIES))
    await alter(log._settings, ORDERS, {"min.insync.replicas": "1", "unclean.leader.election.enable": "true"})
    await alter(log._settings, topics.STUDIES, {"cleanup.policy": "delete", "min.insync.replicas": "2"})
    with pytest.raises(Fault) as refused:
        open_on(three_brokers, (ORDERS, topics.STUDIES), 12)
    assert refused.value.code == "log_misconfigured"
    for fault in (
        "orders: 4 partitions where 12 are fixed",
        "orders: min.insync.replicas is 1 where 2 is required",
        "orders: unclean.leader.election.enable is true where false is required",
        "orders: message.timestamp.type is CreateTime where LogAppendTime is required",
        "studies: cleanup.policy is delete where compact is required",
    ):
        assert fault in refused.value.text


def test_one_broker_is_refused_unless_it_is_asked_for(one_broker: Kafka, open_on: OpenKafka) -> None:
    with pytest.raises(Fault) as refused:
        open_on(one_broker)
    assert refused.value.code == "log_misconfigured"
    open_on(one_broker, one_broker=True)
    with pytest.raises(Fault) as refused:
        open_on(one_broker)
    assert "1 replicas where 3 are required" in refused.value.text
    assert "min.insync.replicas is 1 where 2 is required" in refused.value.text


def test_a_cluster_that_is_away_is_unavailable(free_port: Callable[[], int]) -> None:
    log = KafkaEventLog(KafkaSettings(brokers=(f"127.0.0.1:{free_port()}",)), SystemClock())
    with pytest.raises(Unavailable):
        log.open()
    with pytest.raises(Unavailable):
        log.append_blocking([event("a")], 1)
    log.close()


async def test_threads_and_loops_append_side_by_side(one_broker: Kafka, open_on: OpenKafka) -> None:
    log = open_on(one_broker, one_broker=True)

    def blocking(name: str) -> None:
        for number in range(50):
            log.append_blocking([event(f"{name}-{number}", name)], 10)

    def looping(name: str) -> None:
        async def run() -> None:
            await asyncio.gather(*(log.append([event(f"{name}-{number}", name)]) for number in range(50)))

        asyncio.run(run())

    threads = [
        threading.Thread(target=work, args=(f"{work.__name__}{n}",)) for work in (blocking, looping) for n in "ab"
    ]
    for thread in threads:
        thread.start()
    await asyncio.gather(*(log.append([event(f"here-{number}", "here")]) for number in range(50)))
    await asyncio.to_thread(lambda: [thread.join() for thread in threads])
    records = await all_of(log)
    assert len(records) == len({record.event.event_id for record in records}) == 250
    for name in ("blockinga", "here"):
        mine = [record.event.event_id for record in records if record.event.key == name]
        assert mine == [f"{name}-{number}" for number in range(50)]


async def test_what_waits_is_bounded_and_a_closed_log_says_so(one_broker: Kafka, open_on: OpenKafka) -> None:
    log = open_on(one_broker, one_broker=True, append_seconds=2, append_mebibytes=1)
    with one_broker.brokers[0].frozen():
        appends = [asyncio.create_task(log.append([event(f"{n}", value=bytes(400_000))])) for n in range(5)]
        await asyncio.wait(appends, timeout=5)
    codes = sorted(end.code for end in await asyncio.gather(*appends, return_exceptions=True) if hasattr(end, "code"))
    assert codes == ["log_busy"] * 3 + ["log_slow"] * 2
    await log.append([event("after")])
    log.close()
    with pytest.raises(Unavailable) as closed:
        await log.append([event("b")])
    assert closed.value.code == "log_closed"
    with pytest.raises(Unavailable):
        await log.heads([ORDERS.name])


async def test_an_event_too_large_is_a_fault_and_harms_no_other(one_broker: Kafka, open_on: OpenKafka) -> None:
    log = open_on(one_broker, one_broker=True)
    with pytest.raises(Fault) as refused:
        await log.append([event("a"), event("b", value=bytes(LARGEST_BYTES))])
    assert refused.value.code == "event_too_large"
    await log.append([event("c", value=bytes(LARGEST_BYTES - 1000)), event("d")])
    assert {record.event.event_id for record in await all_of(log)} == {"c", "d"}


async def test_what_another_program_wrote_is_given_to_the_consumer_to_park(
    one_broker: Kafka, open_on: OpenKafka
) -> None:
    from aiokafka import AIOKafkaProducer

    log = open_on(one_broker, one_broker=True)
    producer = AIOKafkaProducer(bootstrap_servers=list(one_broker.addresses))
    await producer.start()
    name = log._settings.topic_prefix + ORDERS.name
    await producer.send_and_wait(name, None, key=b"\xff", headers=[("x", b"\xfe")])
    await producer.stop()
    (record,) = await all_of(log)
    (again,) = await all_of(log)
    assert record == again
    assert record.event.event_id
    assert (record.event.type, record.event.value, record.event.time.tzinfo) == ("", b"", UTC)


async def test_records_deleted_before_they_were_read_are_a_fault(one_broker: Kafka, open_on: OpenKafka) -> None:
    from aiokafka.admin.records_to_delete import RecordsToDelete
    from aiokafka.structs import TopicPartition as KafkaPlace

    log = open_on(one_broker, partitions=1, one_broker=True)
    await log.append([event(f"{number}") for number in range(10)])
    place = KafkaPlace(log._settings.topic_prefix + ORDERS.name, 0)
    async with administrator(log._settings) as admin:
        await admin.delete_records({place: RecordsToDelete(before_offset=6)})

    async def third(_place: TopicPartition) -> int:
        return 3

    with pytest.raises(Fault) as lost:
        await log.reader("group", [ORDERS.name], third)
    assert lost.value.code == "log_lost"
    assert [record.offset for record in await all_of(log)] == [6, 7, 8, 9]  # a new group begins with what there is


def sign_in(cluster: Kafka, folder: Path, **changes: Any) -> dict[str, Any]:
    """The settings for the secured listener, the password in a file."""
    secured = cluster.secured
    assert secured is not None
    (folder / "password").write_text(changes.get("password", secured.password))
    tls = {"ca_file": secured.ca_file, "certificate_file": secured.certificate_file, "key_file": secured.key_file}
    return {
        "brokers": (secured.address,),
        "one_broker": True,
        "tls": tls | changes.get("tls", {}),
        "sasl": {"username": secured.username, "password_file": folder / "password"},
    }


async def test_the_log_is_kept_over_mutual_tls_with_a_password(
    secured_broker: Kafka, open_on: OpenKafka, tmp_path: Path
) -> None:
    log = open_on(secured_broker, **sign_in(secured_broker, tmp_path))
    await log.append([event("a")])
    assert [record.event.event_id for record in await all_of(log)] == ["a"]


@pytest.mark.parametrize("without", ["password", "certificate", "authority"])
def test_who_cannot_prove_it_is_not_let_in(
    secured_broker: Kafka, open_on: OpenKafka, tmp_path: Path, without: str
) -> None:
    told = sign_in(secured_broker, tmp_path, password="wrong") if without == "password" else None
    if told is None:
        missing = ("certificate_file", "key_file") if without == "certificate" else ("ca_file",)
        told = sign_in(secured_broker, tmp_path, tls=dict.fromkeys(missing))
    with pytest.raises(Unavailable):
        open_on(secured_broker, **told)
