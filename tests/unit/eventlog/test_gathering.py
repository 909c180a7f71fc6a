"""Consumers in no hurry: what comes while records gather is one batch."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from hilum.errors import Unavailable
from hilum.eventlog.consumer import Consumer, Stop
from hilum.eventlog.port import Event, Record, StartOffset, TopicPartition

NOW = datetime(2026, 1, 1, tzinfo=UTC)
END = -1
AWAY = -2


class World:
    """A log, its reader, an inbox and a clock: ``steps`` tell what was done, ``fetches`` what each fetch gives."""

    def __init__(self, *fetches: int) -> None:
        self.steps: list[str] = []
        self.fetches = [*fetches, END]

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.steps.append(f"sleep {seconds}")

    async def append(self, events: Sequence[Event]) -> None: ...

    async def reader(self, group: str, topics: Sequence[str], start: StartOffset) -> "World":
        return self

    async def heads(self, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
        return {}

    async def fetch(self, limit: int, wait_seconds: float) -> Sequence[Record]:
        count = self.fetches.pop(0)
        if count == END:
            raise asyncio.CancelledError
        if count == AWAY:
            raise Unavailable("log_unavailable", "")
        return [Record(Event("t", "k", "y", b"", str(number), NOW), 0, number) for number in range(count)]

    def seek(self, partition: TopicPartition, offset: int) -> None: ...

    async def close(self) -> None: ...

    async def position(self, group: str, place: TopicPartition) -> int:
        return 0

    async def consume(self, group: str, records: Sequence[Record], *_: Any) -> Stop | None:
        self.steps.append(f"batch {len(records)}")
        return None


async def steps(*fetches: int) -> list[str]:
    world = World(*fetches)
    consumer: Consumer[Any] = Consumer(world, world, "g", {"t": lambda *_: None}, world, gather_seconds=0.25)
    with pytest.raises(asyncio.CancelledError):
        await consumer.run()
    return world.steps


async def test_with_a_few_records_more_are_waited_for() -> None:
    assert await steps(0, 3, 1, 0, 1, 0) == ["sleep 0.25", "batch 4", "sleep 0.25", "batch 1"]


async def test_a_backlog_is_read_without_a_pause() -> None:
    assert await steps(0, 64, 64, 10, 0) == ["batch 64", "batch 64", "sleep 0.25", "batch 10"]


async def test_a_start_that_reads_to_the_end_does_not_pause() -> None:
    assert await steps(64, 3) == ["batch 64", "batch 3"]


async def test_what_was_read_is_kept_while_the_log_is_away() -> None:
    assert await steps(0, 3, AWAY, 0) == ["sleep 0.25", "batch 3"]
