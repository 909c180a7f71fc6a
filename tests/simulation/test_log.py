"""The log of the seeded world keeps what a log promises, and breaks what a log may break."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from random import Random

import pytest

from hilum.contracts import topics
from hilum.errors import Unavailable
from hilum.eventlog.port import Event, Record, TopicPartition
from hilum.simulator.world.history import History
from hilum.simulator.world.log import LogWeather, SimulatedLog
from hilum.simulator.world.loop import Process, SimulatedLoop

_AT = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def loop() -> Iterator[SimulatedLoop]:
    loop = SimulatedLoop(Random(1))
    yield loop
    loop.close()


@pytest.fixture
def log(loop: SimulatedLoop) -> SimulatedLog:
    return SimulatedLog(loop, Random(2), LogWeather(), History(loop), lambda _: None)


def event(name: str) -> Event:
    return Event(topics.ORDERS.name, name, topics.ORDERS.type, name.encode(), name, _AT)


def held(log: SimulatedLog) -> set[str]:
    return {record.event.event_id for records in log.partitions.values() for record in records}


async def first(_place: TopicPartition) -> int:
    return 0


def names(records: Sequence[Record]) -> set[str]:
    return {record.event.event_id for record in records}


def test_an_append_that_returned_is_read(loop: SimulatedLoop, log: SimulatedLog) -> None:
    async def life() -> set[str]:
        await log.append([event(str(number)) for number in range(20)])
        reader = await log.reader("group", [topics.ORDERS.name], first)
        return names(await reader.fetch(100, 0.0))

    assert loop.run_until_complete(life()) == {str(number) for number in range(20)}


def test_a_power_failure_takes_what_was_not_synced_and_nothing_else(loop: SimulatedLoop, log: SimulatedLog) -> None:
    async def life() -> tuple[int, int]:
        await log.append([event("safe")])
        log.weather.latency = 1.0
        appends = [asyncio.create_task(log.append([event(str(number))])) for number in range(40)]
        await asyncio.sleep(1.0)
        log.power_failure()
        after = held(log)
        done = await asyncio.gather(*appends, return_exceptions=True)
        told = {str(number) for number, one in enumerate(done) if one is None}
        assert "safe" in after
        assert told <= held(log)  # acknowledged is durable
        return len(told), sum(isinstance(one, Unavailable) for one in done)

    told, lost = loop.run_until_complete(life())
    assert told
    assert lost


def test_a_lost_answer_leaves_the_event(loop: SimulatedLoop, log: SimulatedLog) -> None:
    async def life() -> None:
        log.weather.answer_lost = 1.0
        with pytest.raises(Unavailable):
            await log.append([event("a")])

    loop.run_until_complete(life())
    assert held(log) == {"a"}


def test_the_partitions_of_a_member_that_died_pass_on(loop: SimulatedLoop, log: SimulatedLog) -> None:
    process = Process("one")

    async def joined() -> None:
        reader = await log.reader("group", [topics.ORDERS.name], first)
        await reader.fetch(100, 1000.0)

    async def life() -> set[str]:
        task = loop.start(process, joined())
        await asyncio.sleep(1)
        reader = await log.reader("group", [topics.ORDERS.name], first)
        await log.append([event(str(number)) for number in range(20)])
        mine = names(await reader.fetch(100, 0.0))
        assert 0 < len(mine) < 20
        process.kill()
        await asyncio.sleep(5)
        mine |= names(await reader.fetch(100, 0.0))
        process.alive = True
        process.go_on(loop)
        task.cancel()
        await asyncio.wait({task})
        return mine

    assert loop.run_until_complete(life()) == {str(number) for number in range(20)}
