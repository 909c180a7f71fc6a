"""A log whose readers are in no hurry: what comes meanwhile is one transaction instead of many.

The index need not be up to date within a moment, because what this process appends is remembered until it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hilum.clock import Clock
from hilum.eventlog.port import Event, EventLog, Reader, Record, StartOffset, TopicPartition

_SECONDS = 0.25


def gathering(log: EventLog, clock: Clock) -> EventLog:
    """``log``, read at most every quarter of a second, unless there is more than one fetch takes."""
    return _Log(log, clock)


@dataclass(frozen=True)
class _Log:
    inner: EventLog
    clock: Clock

    async def append(self, events: Sequence[Event]) -> None:
        await self.inner.append(events)

    async def reader(self, group: str, topics: Sequence[str], start: StartOffset) -> Reader:
        return _Reader(await self.inner.reader(group, topics, start), self.clock)

    async def heads(self, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
        return await self.inner.heads(topics)


class _Reader:
    def __init__(self, inner: Reader, clock: Clock) -> None:
        self._inner = inner
        self._clock = clock
        self._gather = False

    async def fetch(self, limit: int, wait_seconds: float) -> Sequence[Record]:
        """A fetch that does not wait does not gather either."""
        if self._gather and wait_seconds:
            await self._clock.sleep(_SECONDS)
        records = await self._inner.fetch(limit, wait_seconds)
        self._gather = 0 < len(records) < limit
        return records

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self._inner.seek(partition, offset)

    async def close(self) -> None:
        await self._inner.close()
