"""Hilum's doors for messages and images on free ports over a new folder, and what its log holds afterwards."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from hilum.contracts import topics
from hilum.embedded import Options, Running, running
from hilum.eventlog.port import Event, TopicPartition
from hilum.eventlog.sqlite import SqliteEventLog


@asynccontextmanager
async def doors(folder: Path) -> AsyncIterator[Running]:
    """Ingest and imaging as `hilum serve` builds them, with the settings and the site of a first start."""
    options = Options(state=folder, mllp_port=0, dicom_port=0, grpc_port=0, http_port=0, services=("ingest", "imaging"))
    async with running(options) as system:
        yield system


async def events(folder: Path, topic: topics.Topic) -> list[Event]:
    """Everything that the log under ``folder`` holds of ``topic``; while the system runs or after."""
    log = SqliteEventLog(folder / "log.db")
    log.open()
    try:

        async def first(_place: TopicPartition) -> int:
            return 0

        reader = await log.reader("corpora", (topic.name,), first)
        found: list[Event] = []
        while records := await reader.fetch(1000, 0.0):
            found += [record.event for record in records]
        await reader.close()
        return found
    finally:
        log.close()
