"""The event log of the seeded world: Kafka's promises, and each way in which it may break them lawfully.

An append is on its way, then written, then synced; only then is it acknowledged and readable. A power failure drops
what was written and not synced, or a part of it. An answer may be lost: the events are then in the log all the same.
A group's partitions move between its readers; one that does not know it yet is a zombie.
"""

import asyncio
import contextvars
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from hilum.contracts import topics
from hilum.errors import Unavailable
from hilum.eventlog.port import Event, Record, StartOffset, TopicPartition, partition_of
from hilum.simulator.world.history import History
from hilum.simulator.world.loop import CURRENT, Process, SimulatedLoop

PARTITIONS = 4
_SESSION_SECONDS = 1.0


@dataclass
class LogWeather:
    """``refuses``: the log is away. ``answer_lost``: an append is durable, and its sender is not told."""

    latency: float = 0.004
    refuses: float = 0.0
    answer_lost: float = 0.0
    away: bool = False


@dataclass(eq=False)
class _Append:
    events: Sequence[Event]
    done: "asyncio.Future[None]"


class SimulatedLog:
    """`hilum.eventlog.port.EventLog`. ``durable`` is told of every event the moment that nothing can undo it."""

    def __init__(
        self,
        loop: SimulatedLoop,
        chance: Random,
        weather: LogWeather,
        history: History,
        durable: Callable[[Event], None],
    ) -> None:
        self._loop = loop
        self._chance = chance
        self.weather = weather
        self._history = history
        self._durable = durable
        self.partitions: dict[TopicPartition, list[Record]] = {
            TopicPartition(topic.name, number): [] for topic in topics.ALL for number in range(PARTITIONS)
        }
        self._written: list[_Append] = []  # not synced yet
        self._groups: dict[str, list[SimulatedReader]] = {}

    async def append(self, events: Sequence[Event]) -> None:
        await self._travel()
        if self._refused():
            raise Unavailable("log_unavailable", "the log is away")
        append = _Append(tuple(events), self._loop.create_future())
        self._written.append(append)
        self._loop.call_at(
            self._loop.time() + self._chance.random() * self.weather.latency,
            self._sync,
            append,
            context=_nobodys(),
        )
        await append.done
        if self._chance.random() < self.weather.answer_lost:
            await self._travel()
            raise Unavailable("log_unavailable", "no answer came")
        await self._travel()

    def power_failure(self) -> None:
        """What was not synced is gone, except that a part may have reached the platter."""
        written, self._written = self._written, []
        kept = self._chance.randint(0, len(written))
        for number, append in enumerate(written):
            if number < kept:
                self._commit(append.events)
            if not append.done.done():
                append.done.set_exception(Unavailable("log_unavailable", "the log lost its power"))
                append.done.exception()  # its asker may have died with it: nobody need look

    async def reader(self, group: str, names: Sequence[str], start: StartOffset) -> "SimulatedReader":
        await self._travel()
        if self._refused():
            raise Unavailable("log_unavailable", "the log is away")
        reader = SimulatedReader(self, group, tuple(names), start, CURRENT.get())
        self._groups.setdefault(group, []).append(reader)
        self.rebalance(group)
        return reader

    async def heads(self, names: Sequence[str]) -> Mapping[TopicPartition, int]:
        await self._travel()
        return {place: len(records) for place, records in self.partitions.items() if place.topic in names}

    def rebalance(self, group: str) -> None:
        """Share the partitions out among the members that live. One that is paused keeps what it had: a zombie."""
        members = [one for one in self._groups.get(group, []) if one.lives]
        self._groups[group] = members
        awake = [one for one in members if not one.sleeps]
        if not awake:
            return
        for number, place in enumerate(self.partitions):
            for position, one in enumerate(awake):
                one.assign(place, mine=place.topic in one.topics and number % len(awake) == position)

    def miss(self, group: str) -> None:
        """A member died: it is missed a while later, and others get its partitions."""
        self._loop.call_at(self._loop.time() + _SESSION_SECONDS, self.rebalance, group, context=_nobodys())

    def leave(self, reader: "SimulatedReader") -> None:
        members = self._groups.get(reader.group, [])
        if reader in members:
            members.remove(reader)
            self.rebalance(reader.group)

    async def fetched(self) -> None:
        """The way to the log and back. Raises `Unavailable` when it is away."""
        await self._travel()
        if self._refused():
            raise Unavailable("log_unavailable", "the log is away")

    def _sync(self, append: _Append) -> None:
        if append not in self._written:
            return  # lost with the power
        self._written.remove(append)
        self._commit(append.events)
        if not append.done.done():
            append.done.set_result(None)

    def _commit(self, events: Sequence[Event]) -> None:
        for event in events:
            place = TopicPartition(event.topic, partition_of(event.key, PARTITIONS))
            records = self.partitions[place]
            records.append(Record(event, place.partition, len(records)))
            digest = hashlib.sha256(event.value).hexdigest()[:16]
            self._history.note("durable", event.topic, event.event_id, digest)
            self._durable(event)
        for readers in self._groups.values():
            for reader in readers:
                reader.news.set()

    async def _travel(self) -> None:
        await asyncio.sleep(self._chance.random() * self.weather.latency)

    def _refused(self) -> bool:
        return self.weather.away or self._chance.random() < self.weather.refuses


class SimulatedReader:
    """`hilum.eventlog.port.Reader`."""

    def __init__(
        self, log: SimulatedLog, group: str, names: tuple[str, ...], start: StartOffset, process: Process | None
    ) -> None:
        self._log = log
        self.group = group
        self.topics = names
        self._start = start
        self._process = process
        self._offsets: dict[TopicPartition, int | None] = {}
        self.news = asyncio.Event()
        self._closed = False
        self._turn = 0
        if process is not None:
            process.at_death.append(lambda: log.miss(group))

    @property
    def lives(self) -> bool:
        return not self._closed and (self._process is None or self._process.alive)

    @property
    def sleeps(self) -> bool:
        return self._process is not None and self._process.paused

    def assign(self, place: TopicPartition, *, mine: bool) -> None:
        if mine:
            self._offsets.setdefault(place, None)
        else:
            self._offsets.pop(place, None)
        self.news.set()

    async def fetch(self, limit: int, wait_seconds: float) -> Sequence[Record]:
        await self._log.fetched()
        for place in [place for place, offset in self._offsets.items() if offset is None]:
            offset = await self._start(place)
            if self._offsets.get(place, 0) is None:
                self._offsets[place] = offset
        self.news.clear()
        records = self._take(limit)
        if not records and wait_seconds:
            try:
                async with asyncio.timeout(wait_seconds):
                    await self.news.wait()
            except TimeoutError:
                return []
            records = self._take(limit)
        return records

    def seek(self, partition: TopicPartition, offset: int) -> None:
        if partition in self._offsets:
            self._offsets[partition] = offset

    async def close(self) -> None:
        self._closed = True
        self._log.leave(self)

    def _take(self, limit: int) -> list[Record]:
        """From each partition in turn, beginning with another one each time."""
        self._turn += 1
        places = sorted(place for place, offset in self._offsets.items() if offset is not None)
        if not places:
            return []
        first = self._turn % len(places)
        taken: list[Record] = []
        for place in (*places[first:], *places[:first]):
            offset = self._offsets[place]
            assert offset is not None
            found = self._log.partitions[place][offset : offset + limit - len(taken)]
            self._offsets[place] = offset + len(found)
            taken += found
        return taken


def _nobodys() -> "contextvars.Context":
    """The log is a process of its own: it goes on when its asker dies."""
    return contextvars.Context()
