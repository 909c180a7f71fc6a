"""`hilum.eventlog.port.EventLog`: what every log keeps to."""

import asyncio
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from hilum.contracts import topics
from hilum.errors import Fault, Unavailable
from hilum.eventlog.port import Event, EventLog, Reader, Record, TopicPartition
from scenes.adapters import OpenLog
from scenes.logs import Logs

AT = datetime(2026, 10, 25, 0, 30, 0, 123_457, UTC)
ORDERS, REPORTS = topics.ORDERS.name, topics.REPORTS.name


def event(number: int, key: str = "feed", topic: str = ORDERS, value: bytes = b"value") -> Event:
    return Event(topic, key, "a.type", value, f"event-{number}", AT + timedelta(microseconds=number), {"a": "b"})


async def beginning(_place: TopicPartition) -> int:
    return 0


async def read(reader: Reader, count: int) -> list[Record]:
    found: list[Record] = []
    async with asyncio.timeout(10):
        while len(found) < count:
            found += await reader.fetch(100, 0.5)
    return found


async def all_of(log: EventLog, count: int, topic: Sequence[str] = (ORDERS,)) -> list[Record]:
    reader = await log.reader("group", topic, beginning)
    try:
        return await read(reader, count)
    finally:
        await reader.close()


async def test_what_is_read_is_what_was_appended(log: EventLog) -> None:
    told = [
        Event(ORDERS, "site|A|Ünïcode", "type", bytes(range(256)), "id", AT, {"traceparent": "00-ab", "ü": "é"}),
        Event(ORDERS, "", "type", b"", "id 2", datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC)),
    ]
    await log.append(told)
    found = {record.event.event_id: record.event for record in await all_of(log, 2)}
    assert [found["id"], found["id 2"]] == told


@pytest.mark.parametrize("microsecond", [0, 1, 123_457, 333_333, 999_999])
async def test_times_are_kept_to_the_microsecond(log: EventLog, microsecond: int) -> None:
    told = Event(ORDERS, "key", "type", b"", "id", datetime(2026, 7, 14, 3, 7, 11, microsecond, UTC))
    await log.append([told])
    (record,) = await all_of(log, 1)
    assert record.event.time == told.time


async def test_one_key_is_one_partition_in_order_without_gaps(log: EventLog) -> None:
    for number in range(30):
        await log.append([event(number), event(1000 + number, key=f"key-{number}")])
    records = [record for record in await all_of(log, 60) if record.event.key == "feed"]
    assert [record.event.event_id for record in records] == [f"event-{number}" for number in range(30)]
    assert len({record.partition for record in records}) == 1
    places: dict[int, list[int]] = {}
    for record in await all_of(log, 60):
        places.setdefault(record.partition, []).append(record.offset)
    assert all(offsets == list(range(len(offsets))) for offsets in places.values())
    assert len(places) > 1


async def test_concurrent_appends_are_each_there_once(log: EventLog) -> None:
    await asyncio.gather(*(log.append([event(number, f"key-{number % 7}")]) for number in range(300)))
    found = Counter(record.event.event_id for record in await all_of(log, 300))
    assert found == Counter(f"event-{number}" for number in range(300))


async def test_a_large_batch_is_taken_whole(log: EventLog) -> None:
    await log.append([event(number, f"key-{number % 11}") for number in range(10_000)])
    assert sum((await log.heads([ORDERS])).values()) == 10_000
    assert len({record.event.event_id for record in await all_of(log, 10_000)}) == 10_000


async def test_a_large_event_is_taken_whole(log: EventLog) -> None:
    value = bytes(range(256)) * 40_000
    await log.append([event(1, value=value)])
    assert (await all_of(log, 1))[0].event.value == value


async def test_each_of_several_readers_sees_each_record_once(log: EventLog) -> None:
    readers = [await log.reader(f"group-{number}", [ORDERS], beginning) for number in range(3)]
    for number in range(40):
        await log.append([event(number, f"key-{number}")])
    for reader in readers:
        found = Counter(record.event.event_id for record in await read(reader, 40))
        assert found == Counter(f"event-{number}" for number in range(40))
        assert await reader.fetch(10, 0) == []
        await reader.close()


async def test_a_reader_sees_only_its_topics(log: EventLog) -> None:
    await log.append([event(1), event(2, topic=REPORTS)])
    assert [record.event.event_id for record in await all_of(log, 1, [REPORTS])] == ["event-2"]


async def test_a_reader_begins_where_it_is_told(log: EventLog) -> None:
    await log.append([event(number) for number in range(10)])
    place = TopicPartition(ORDERS, (await all_of(log, 10))[0].partition)

    async def start(asked: TopicPartition) -> int:
        return 7 if asked == place else 0

    reader = await log.reader("group", [ORDERS], start)
    assert [record.offset for record in await read(reader, 3)] == [7, 8, 9]
    await reader.close()


async def test_seek_reads_again_from_there(log: EventLog) -> None:
    await log.append([event(number) for number in range(6)])
    reader = await log.reader("group", [ORDERS], beginning)
    first = await read(reader, 6)
    reader.seek(TopicPartition(ORDERS, first[0].partition), 4)
    assert [record.event.event_id for record in await read(reader, 2)] == ["event-4", "event-5"]
    await reader.close()


async def test_a_fetch_takes_no_more_than_its_limit(log: EventLog) -> None:
    await log.append([event(number, f"key-{number}") for number in range(20)])
    reader = await log.reader("group", [ORDERS], beginning)
    assert len(await reader.fetch(7, 1)) == 7
    await reader.close()


async def test_a_busy_partition_starves_no_other(log: EventLog) -> None:
    await log.append([event(number) for number in range(500)])
    busy = (await all_of(log, 500))[0].partition
    others = [event(1000 + number, f"key-{number}") for number in range(12)]
    await log.append(others)
    for _ in range(12):  # a broker may chance to give the others first
        reader = await log.reader("group", [ORDERS], beginning)
        early = [record for _ in range(6) for record in await reader.fetch(10, 1)]
        await reader.close()
        assert any(record.partition != busy for record in early)


async def test_heads_are_the_offsets_that_come_next(log: EventLog) -> None:
    before = await log.heads([ORDERS])
    assert set(before.values()) == {0}
    await log.append([event(1), event(2), event(3, topic=REPORTS)])
    after = await log.heads([ORDERS])
    assert sum(after.values()) == 2
    assert {place.topic for place in after} == {ORDERS}


async def test_a_waiting_reader_is_woken_by_an_append(log: EventLog) -> None:
    reader = await log.reader("group", [ORDERS], beginning)
    waiting = asyncio.create_task(reader.fetch(10, 20))
    await asyncio.sleep(0.05)
    begun = time.monotonic()
    await log.append([event(1)])
    assert len(await waiting) == 1
    assert time.monotonic() - begun < 2
    await reader.close()


async def test_a_fetch_without_news_returns_empty_in_time(log: EventLog) -> None:
    reader = await log.reader("group", [ORDERS], beginning)
    begun = time.monotonic()
    assert await reader.fetch(10, 0.3) == []
    assert 0.25 < time.monotonic() - begun < 3
    await reader.close()


async def test_a_cancelled_fetch_takes_nothing(log: EventLog) -> None:
    await log.append([event(number) for number in range(5)])
    reader = await log.reader("group", [ORDERS], beginning)
    records: list[Record] = []
    cancelled = 0
    for _ in range(20):
        fetching = asyncio.create_task(reader.fetch(2, 1))
        await asyncio.sleep(0)  # it has begun to read
        fetching.cancel()
        await asyncio.wait([fetching])
        cancelled += fetching.cancelled()
        if not fetching.cancelled():  # it had them at hand
            records += fetching.result()
    assert cancelled
    records += await read(reader, 5 - len(records))
    assert [record.offset for record in records] == [0, 1, 2, 3, 4]
    await reader.close()


async def test_a_cancelled_append_disturbs_no_other(log: EventLog) -> None:
    appends = [asyncio.create_task(log.append([event(number)])) for number in range(20)]
    await asyncio.sleep(0)
    for append in appends[::2]:
        append.cancel()
    await asyncio.wait(appends)
    assert all(append.exception() is None for append in appends[1::2])
    kept = {record.event.event_id for record in await all_of(log, 10)}
    assert kept >= {f"event-{number}" for number in range(1, 20, 2)}


async def test_another_handles_appends_are_seen(open_log: OpenLog, log: EventLog) -> None:
    other = open_log()
    reader = await log.reader("group", [ORDERS], beginning)
    await asyncio.gather(
        *(side.append([event(number + start)]) for number in range(25) for start, side in ((0, log), (100, other)))
    )
    records = await read(reader, 50)
    assert sorted(record.offset for record in records) == list(range(50))
    assert len({record.event.event_id for record in records}) == 50
    await reader.close()


KILLED = """
import asyncio, os, signal
from datetime import UTC, datetime
from hilum.eventlog.port import Event

async def main():
    for number in range(10):
        await log.append([Event("orders", "feed", "type", b"v", f"e{number}", datetime.now(UTC))])
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_what_was_acknowledged_outlives_the_process(logs: Logs) -> None:
    program = [sys.executable, "-c", logs.program + KILLED]
    ended = await asyncio.to_thread(subprocess.run, program, check=False, timeout=60)
    assert ended.returncode == -9
    assert [record.event.event_id for record in await all_of(logs.open(), 10)] == [f"e{n}" for n in range(10)]


async def test_a_log_that_cannot_write_says_unavailable_and_recovers(logs: Logs, log: EventLog) -> None:
    await log.append([event(1)])
    with logs.refusing():
        appends = await asyncio.gather(*(log.append([event(n)]) for n in range(2, 5)), return_exceptions=True)
    assert all(isinstance(ended, Unavailable) for ended in appends)
    await log.append([event(5)])
    count = sum((await log.heads([ORDERS])).values())
    records = await all_of(log, count)
    found = [record.event.event_id for record in records]
    refused = [] if not logs.refused_may_land else ["event-2", "event-3", "event-4"]
    assert [name for name in found if name not in refused] == ["event-1", "event-5"]
    assert sorted(found) == found
    assert [record.offset for record in records] == list(range(count))


@pytest.mark.parametrize(
    "bad",
    [
        Event(ORDERS, "\ud800", "type", b"", "id", AT),
        Event(ORDERS, "key", "type", b"", "id \udfff", AT),
        Event(ORDERS, "key", "type", b"", "id", AT.replace(tzinfo=None)),
        Event(ORDERS, "key", "type", b"", "id", AT, {"a": b"bytes"}),  # type: ignore[dict-item]
    ],
    ids=["key", "event_id", "naive time", "header"],
)
async def test_an_unstorable_event_is_refused_and_harms_no_other(log: EventLog, bad: Event) -> None:
    good = asyncio.create_task(log.append([event(1)]))
    with pytest.raises(Fault) as refused:
        await log.append([event(2), bad])
    assert refused.value.code == "event_malformed"
    await good
    await log.append([event(3)])
    assert [record.event.event_id for record in await all_of(log, 2)] == ["event-1", "event-3"]


async def test_a_log_shorter_than_what_was_read_of_it_is_a_fault(log: EventLog) -> None:
    async def start(_place: TopicPartition) -> int:
        return 9

    with pytest.raises(Fault) as lost:
        await log.reader("group", [ORDERS], start)
    assert lost.value.code == "log_lost"


async def test_nothing_appended_is_nothing_done(log: EventLog) -> None:
    await log.append([])
    assert set((await log.heads([ORDERS])).values()) == {0}
