"""Readers in no hurry: what comes within a quarter of a second is one batch."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from hilum.eventlog.port import Event, Record, StartOffset, TopicPartition
from hilum.imaging.adapters.gathering import gathering

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class World:
    """A log, its reader and a clock: ``steps`` tell what was done, ``batches`` what fetches give."""

    def __init__(self, *batches: int) -> None:
        self.steps: list[str] = []
        self.batches = [*batches]

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
        count = self.batches.pop(0)
        self.steps.append(f"fetch {count}")
        return [Record(Event("t", "k", "y", b"", str(number), NOW), 0, number) for number in range(count)]

    def seek(self, partition: TopicPartition, offset: int) -> None: ...

    async def close(self) -> None: ...


async def start(_place: TopicPartition) -> int:
    return 0


async def fetched(world: World, wait_seconds: float) -> list[str]:
    reader = await gathering(world, world).reader("g", ["t"], start)
    while world.batches:
        await reader.fetch(64, wait_seconds)
    return world.steps


async def test_after_a_few_records_more_are_waited_for() -> None:
    assert await fetched(World(0, 3, 1, 0, 1), 0.5) == [
        "fetch 0",
        "fetch 3",
        "sleep 0.25",
        "fetch 1",
        "sleep 0.25",
        "fetch 0",
        "fetch 1",
    ]


async def test_a_backlog_is_read_without_a_pause() -> None:
    assert await fetched(World(64, 64, 10), 0.5) == ["fetch 64", "fetch 64", "fetch 10"]


async def test_a_start_that_reads_to_the_end_does_not_pause() -> None:
    assert await fetched(World(3, 1), 0.0) == ["fetch 3", "fetch 1"]
