"""A running ingest service on a log, a store and objects of its own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from hilum.contracts import topics
from hilum.contracts.deadletters.v1.deadletters_pb2 import DeadLetter
from hilum.contracts.messages.v1.messages_pb2 import RawMessage
from hilum.embedded import Options, open_platform
from hilum.errors import Unavailable
from hilum.eventlog.port import Event, Record, TopicPartition
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.hosting import Platform
from hilum.ingest.service import IngestService, build
from hilum.ingest.settings import Settings
from hilum.site import Site

CORPUS = Path(__file__).resolve().parents[2] / "corpus" / "hl7"


@pytest.fixture(scope="session")
def corpus() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(CORPUS.glob("*.hl7"))}


class FailingLog(SqliteEventLog):
    """A log that can be told to take nothing, or to be slow: it waits while ``open_gate`` is clear."""

    failing = False
    open_gate: asyncio.Event | None = None

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.reached = asyncio.Event()
        """Set once something waits at the gate."""

    async def append(self, events: Sequence[Event]) -> None:
        if self.failing:
            raise Unavailable("log_unavailable", "the test says so")
        if self.open_gate is not None:
            self.reached.set()
            await self.open_gate.wait()
        await super().append(events)


@dataclass
class Ingest:
    """The service, where it keeps things, and how to read them."""

    service: IngestService
    platform: Platform
    log: FailingLog

    @property
    def mllp_port(self) -> int:
        return self.service.mllp_port

    @property
    def grpc_port(self) -> int:
        return self.service.grpc_port

    async def records(self, topic: str) -> list[Record]:
        """Everything that the topic holds now."""

        async def start(_place: TopicPartition) -> int:
            return 0

        reader = await self.log.reader("test", (topic,), start)
        found: list[Record] = []
        while batch := await reader.fetch(500, 0.0):
            found.extend(batch)
        await reader.close()
        return found

    async def until(self, topic: str, count: int) -> list[Record]:
        """Wait until the topic holds ``count`` records."""
        for _ in range(400):
            found = await self.records(topic)
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"{topic} holds {len(found)} records, not {count}")

    async def messages(self) -> list[RawMessage]:
        found = await self.records(topics.MESSAGES.name)
        return [RawMessage.FromString(record.event.value) for record in found]

    async def dead_letters(self, count: int) -> list[DeadLetter]:
        found = await self.until(topics.DEAD_LETTERS.name, count)
        return [DeadLetter.FromString(record.event.value) for record in found]


Start = Callable[..., Any]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """``async with start(site=..., **settings) as ingest``."""

    @asynccontextmanager
    async def running(site: Site | None = None, **settings: Any) -> AsyncIterator[Ingest]:
        options = Options(state=tmp_path)
        platform, log = open_platform(options, site or Site(site="north", timezone="Europe/Berlin"))
        log.close()
        failing = FailingLog(tmp_path / "log.db")
        failing.open()
        platform = replace(platform, log=failing)
        service = build(Settings(**{"mllp_port": 0, "grpc_port": 0, **settings}), platform)
        ready = asyncio.Event()
        task = asyncio.create_task(service.serve(ready.set))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            waiting.cancel()
            task.result()
        try:
            yield Ingest(service, platform, failing)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            failing.close()

    return running
