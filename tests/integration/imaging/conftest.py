"""Imaging by its own build on a folder, and real senders beside it."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from datasets.requests import Answer, Request, send
from hilum.contracts import topics
from hilum.contracts.deadletters.v1.deadletters_pb2 import DeadLetter
from hilum.contracts.instances.v1.instances_pb2 import Instance
from hilum.eventlog.port import Event, EventLog
from hilum.eventlog.sqlite import SqliteEventLog
from hilum.hosting import Platform
from hilum.imaging.service import build
from hilum.imaging.settings import Settings
from hilum.objects.files import FileObjects
from hilum.objects.port import Objects
from hilum.site import Site
from hilum.store.sql import open_sqlite
from peers.child import required


@dataclass
class Running:
    """A service that is ready, and what it has made durable."""

    folder: Path
    port: int
    log: EventLog
    objects: Objects

    async def events(self, topic: topics.Topic) -> list[Event]:
        async def start(_place: object) -> int:
            return 0

        reader = await self.log.reader("test", [topic.name], start)
        found: list[Event] = []
        while records := await reader.fetch(1000, 0):
            found += [record.event for record in records]
        await reader.close()
        return found

    async def instances(self) -> list[Instance]:
        return [Instance.FromString(event.value) for event in await self.events(topics.INSTANCES)]

    async def dead_letters(self) -> list[DeadLetter]:
        return [DeadLetter.FromString(event.value) for event in await self.events(topics.DEAD_LETTERS)]

    def stored(self, key: str) -> Dataset:
        return dcmread(self.folder / "objects" / key)

    async def send(self, request: Request) -> Answer:
        """By C-STORE, byte for byte."""
        return await asyncio.to_thread(send, self.port, request)

    async def echoscu(self, *options: str) -> int:
        return (await self._run("echoscu", *options, "127.0.0.1", str(self.port)))[0]

    async def storescu(self, files: Sequence[Path], *options: str) -> "Sent":
        _, printed = await self._run(
            "storescu", "-d", "-nh", *options, "127.0.0.1", str(self.port), *(str(file) for file in files)
        )
        return Sent.read(printed)

    @staticmethod
    async def _run(program: str, *arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            required(program, "dcmtk"),
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ | {"TCP_NODELAY": "1"},
        )
        printed, _ = await asyncio.wait_for(process.communicate(), 100)
        return process.returncode or 0, printed.decode("utf-8", "replace")


@dataclass
class Sent:
    """What dcmtk printed: the DIMSE status by file, in order of sending."""

    statuses: dict[Path, int] = field(default_factory=dict)
    printed: str = ""

    @classmethod
    def read(cls, printed: str) -> "Sent":
        sent = cls(printed=printed)
        current: Path | None = None
        for line in printed.splitlines():
            if found := re.search(r"I: Sending file: (.*)", line):
                current = Path(found[1])
            elif current is not None and (found := re.search(r"D: DIMSE Status\s*: 0x([0-9a-fA-F]{4})", line)):
                sent.statuses[current] = int(found[1], 16)
        return sent


StartImaging = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def imaging(tmp_path: Path) -> StartImaging:
    """``imaging(objects=…, log=…, **settings)``: the service on a free port, over a folder that lasts for the test."""

    @asynccontextmanager
    async def start(
        objects: Callable[[Objects], Objects] = lambda inner: inner,
        log: Callable[[EventLog], EventLog] = lambda inner: inner,
        **settings: Any,
    ) -> AsyncIterator[Running]:
        inner_log = SqliteEventLog(tmp_path / "log.db")
        inner_log.open()
        platform = Platform(
            site=Site(site="test", identifier_authority="HOSP"),
            log=log(inner_log),
            objects=objects(FileObjects(tmp_path / "objects")),
            objects_folder=tmp_path / "objects",
            open_store=lambda name, tables: open_sqlite(tmp_path / f"{name}.db", tables),
            packages_folder=tmp_path,
        )
        service = build(Settings(dicom_port=0, **settings), platform)
        ready = asyncio.Event()
        task = asyncio.create_task(service.serve(ready.set))
        waiting = asyncio.create_task(ready.wait())
        try:
            await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            yield Running(tmp_path, service.dicom_port, inner_log, platform.objects)
        finally:
            waiting.cancel()
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            inner_log.close()

    return start
