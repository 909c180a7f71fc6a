"""Imaging as a service: the storage SCP, and the index that follows the log."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from hilum.contracts import topics
from hilum.eventlog.consumer import Consumer
from hilum.hosting import Platform
from hilum.imaging.adapters.data_sets import Reading
from hilum.imaging.adapters.index import Reads, SqlIndex, through
from hilum.imaging.adapters.journal import GROUP, EventJournal
from hilum.imaging.adapters.lobby import LobbyLimits
from hilum.imaging.adapters.scp import Listening, StorageScp
from hilum.imaging.adapters.tables import METADATA
from hilum.imaging.adapters.threads import InThreads, appending
from hilum.imaging.adapters.transport import Limits
from hilum.imaging.app import Storage
from hilum.imaging.settings import Settings
from hilum.store.relay import relay
from hilum.store.sql import SqlStore, SqlTransaction

# The index may be a little behind: what this process appends is remembered until it is there.
_GATHER_SECONDS = 0.25
_READY_POLL_SECONDS = 0.02


class ImagingService:
    """``dicom_port`` is the bound port, once ready."""

    name = "imaging"

    def __init__(self, settings: Settings, platform: Platform) -> None:
        self._settings = settings
        self._platform = platform
        self.dicom_port = 0

    async def serve(self, ready: Callable[[], None]) -> None:
        site, seconds = self._platform.site, self._settings.answer_seconds
        reading = Reading(site.site, site.identifier_authority, self._settings.max_data_set_bytes)
        loop = asyncio.get_running_loop()
        async with _open_store(self._platform) as store:
            reads = await Reads.of(store)
            try:
                journal = EventJournal(appending(self._platform.log, loop, seconds), site.site)
                storage = Storage(self._platform.objects, SqlIndex(reads.look_up), journal, InThreads(seconds))
                scp = StorageScp(listening(self._settings), storage, reading, self._platform.clock)
                self.dicom_port = scp.start()
                try:
                    ready()
                    await loop.create_future()
                finally:
                    # The loop goes on while associations are drained: their answers need it.
                    await asyncio.shield(asyncio.to_thread(scp.stop))
            finally:
                reads.close()


@asynccontextmanager
async def open_storage(platform: Platform) -> AsyncIterator[Storage]:
    """The use cases on this platform and one event loop, with the index that follows the log."""
    async with _open_store(platform) as store:
        yield Storage(platform.objects, SqlIndex(through(store)), EventJournal(platform.log, platform.site.site))


@asynccontextmanager
async def _open_store(platform: Platform) -> AsyncIterator[SqlStore]:
    """Imaging's state, with the index that follows the log."""
    store = platform.open_store(ImagingService.name, METADATA)
    try:
        consumer: Consumer[SqlTransaction] = Consumer(
            platform.log,
            store,
            GROUP,
            {topics.INSTANCES.name: SqlIndex.project},
            platform.clock,
            gather_seconds=_GATHER_SECONDS,
        )
        async with asyncio.TaskGroup() as group:
            running = [
                group.create_task(relay(store, platform.log, platform.clock), name="imaging relay"),
                group.create_task(consumer.run(), name="imaging consumer"),
            ]
            # What the log holds decides whether an instance is new: it is read to its end first.
            while consumer.caught_up_at is None:
                await platform.clock.sleep(_READY_POLL_SECONDS)
            try:
                yield store
            finally:
                for task in running:
                    task.cancel()
    finally:
        store.close()


def listening(settings: Settings) -> Listening:
    return Listening(
        host=settings.host,
        port=settings.dicom_port,
        ae_title=settings.ae_title,
        require_called_ae_title=settings.require_called_ae_title,
        calling_ae_titles=settings.calling_ae_titles,
        additional_sop_classes=settings.additional_sop_classes,
        max_associations=settings.max_associations,
        association_seconds=settings.association_seconds,
        drain_seconds=settings.drain_seconds,
        limits=Limits(
            pdu_bytes=settings.max_pdu_bytes,
            data_set_bytes=settings.max_data_set_bytes,
            receiving_bytes=settings.max_receiving_bytes,
            pdu_seconds=settings.idle_seconds,
            connections=settings.max_associations,
        ),
        lobby=LobbyLimits(
            seconds=settings.association_seconds,
            connections=settings.half_open,
            per_peer=settings.half_open_per_peer,
        ),
    )


def build(settings: Settings, platform: Platform) -> ImagingService:
    return ImagingService(settings, platform)
