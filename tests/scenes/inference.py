"""One installation that serves the bright-spot package, for tests of inference and of what follows it."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from hilum.contracts import topics
from hilum.contracts.findings.v1 import findings_pb2
from hilum.contracts.tasks.v1 import tasks_pb2
from hilum.eventlog.port import Record, event_of
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.hosting import Platform
from hilum.inference.service import InferenceService, build
from hilum.inference.settings import Settings
from hilum.objects.files import FileObjects
from hilum.site import Site
from hilum.store.sql import open_sqlite
from scenes.images import make_image
from scenes.models import write_package

NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
MODEL = "bright-spot"
WAIT_SECONDS = 30


class World:
    """One installation with the bright-spot package; services may be started on it, one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.objects = FileObjects(folder / "objects")
        self.log = SqliteEventLog(folder / "log.db")
        write_package(folder / "models" / MODEL)

    def platform(self) -> Platform:
        return Platform(
            site=Site(site="here"),
            log=self.log,
            objects=self.objects,
            objects_folder=self.folder / "objects",
            open_store=lambda service, tables: open_sqlite(self.folder / "state" / f"{service}.db", tables),
            packages_folder=self.folder / "models",
        )

    @asynccontextmanager
    async def running(self, **settings: Any) -> AsyncIterator[InferenceService]:
        service = build(Settings(**({"grpc_port": 0} | settings)), self.platform())
        ready = asyncio.Event()
        serving = asyncio.create_task(service.serve(ready.set))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_SECONDS)
        waiting.cancel()
        if serving.done():
            await serving
        try:
            yield service
        finally:
            serving.cancel()
            with suppress(asyncio.CancelledError):
                await serving

    def image(self, name: str, *, bright: bool) -> str:
        """A stored image, with or without a bright spot; returns its key."""
        pixels = np.zeros((100, 200), np.uint16)
        pixels[50:, 125:175] = 4095 if bright else 100
        pixels[0, 0] = 4095
        key = f"instances/1.2/{name}.dcm"
        self.objects.put(key, make_image(100, 200, PixelData=pixels.tobytes(), WindowCenter=2048, WindowWidth=4096))
        return key

    async def send(
        self,
        number: int,
        key: str,
        urgency: str = "routine",
        event: str = "",
        headers: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> None:
        task = tasks_pb2.Task(
            task_id=f"task-{number}",
            case_id=f"case-{number}",
            site="here",
            study_instance_uid="1.2",
            algorithm=MODEL,
            algorithm_version="1.0.0",
            inputs=[tasks_pb2.Input(sop_instance_uid="1.2.3", sop_class_uid="1.2.4", object_key=key)],
            urgency=urgency,
        )
        task.created_at.FromDatetime(NOW)
        for field, value in changes.items():
            setattr(task, field, value)
        sent = event_of(topics.TASKS[urgency], task.case_id, task, event or f"event-{number}", NOW)
        await self.log.append([sent._replace(headers=headers or {})])

    async def results(self, count: int) -> list[findings_pb2.Result]:
        """The results in the log once there are ``count``, and a moment more for any beyond."""
        records = await self.records(topics.FINDINGS.name, count)
        return [findings_pb2.Result.FromString(record.event.value) for record in records]

    async def dead_letters(self, count: int) -> list[Record]:
        return await self.records(topics.DEAD_LETTERS.name, count)

    async def records(self, topic: str, count: int) -> list[Record]:
        async def start(_: object) -> int:
            return 0

        reader = await self.log.reader("test", [topic], start)
        found: list[Record] = []
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while len(found) < count:
                    found += await reader.fetch(100, 0.2)
            found += await reader.fetch(100, 0.5)
        finally:
            await reader.close()
        return found


@asynccontextmanager
async def channel_to(service: InferenceService) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{service.grpc_port}") as channel:
        yield channel
