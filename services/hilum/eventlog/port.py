"""The event log as a port: durable, partitioned, append-only; Kafka in production, SQLite when embedded."""

import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple, Protocol

from google.protobuf.message import Message

from hilum.contracts.topics import Topic


class Event(NamedTuple):
    """A fact to be appended. ``headers`` carry the W3C trace context (`hilum.telemetry`)."""

    topic: str
    key: str
    type: str
    value: bytes
    event_id: str
    time: datetime
    headers: Mapping[str, str] = MappingProxyType({})


class Record(NamedTuple):
    """An event at its place in the log."""

    event: Event
    partition: int
    offset: int


class TopicPartition(NamedTuple):
    topic: str
    partition: int


class Reader(Protocol):
    """A position in every partition that this reader was given."""

    async def fetch(self, limit: int, wait_seconds: float) -> Sequence[Record]:
        """Up to ``limit`` next records, of several partitions; empty after ``wait_seconds`` without any.

        Within a partition the order is that of the offsets. Each record is returned once, unless
        the reader is moved back by `seek` or by a rebalance.
        """

    def seek(self, partition: TopicPartition, offset: int) -> None:
        """Continue at ``offset``: what was fetched from there on could not be processed."""

    async def close(self) -> None:
        """Give the partitions back."""


StartOffset = Callable[[TopicPartition], Awaitable[int]]


class EventLog(Protocol):
    async def append(self, events: Sequence[Event]) -> None:
        """Append all of ``events`` and return once they are durable.

        Raises `hilum.errors.Unavailable` when they could not be made durable; they may then be in
        the log all the same, which is why consumers drop event IDs that they have seen.
        """

    async def reader(self, group: str, topics: Sequence[str], start: StartOffset) -> Reader:
        """Read ``topics`` as a member of ``group``; ``start`` gives the offset for a partition that is assigned."""

    async def heads(self, topics: Sequence[str]) -> Mapping[TopicPartition, int]:
        """For every partition the offset that the next record will take."""


def partition_of(key: str, partitions: int) -> int:
    """The partition of ``key``: the same for every producer, whatever its process."""
    return zlib.crc32(key.encode()) % partitions


def event_of(topic: Topic, key: str, message: Message, event_id: str, time: datetime) -> Event:
    """``message`` as an event of ``topic``, deterministic in its bytes."""
    return Event(topic.name, key, topic.type, message.SerializeToString(deterministic=True), event_id, time)
