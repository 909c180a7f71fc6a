"""Ingest wired: the MLLP listener, the gRPC server, and the consumer that turns messages into facts."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from functools import partial

from opentelemetry.trace import SpanKind

from hilum import telemetry
from hilum.contracts import topics
from hilum.eventlog.consumer import Consumer
from hilum.eventlog.port import Record
from hilum.grpc_serving import GrpcServer, open_door
from hilum.hosting import Platform
from hilum.ingest.adapters.grpc_server import intake_server
from hilum.ingest.adapters.mllp_connection import MllpLimits
from hilum.ingest.adapters.mllp_listener import MllpListener
from hilum.ingest.adapters.precedence import Precedence
from hilum.ingest.adapters.state import EventLogRaw, OutboxOutlet, SqlSightings, forget_sightings, kept_message
from hilum.ingest.adapters.tables import METADATA
from hilum.ingest.app import Digestion, Intake
from hilum.ingest.domain.feeds import FeedProfile, Feeds
from hilum.ingest.settings import Settings
from hilum.site import Site
from hilum.store.patience import PatientStore
from hilum.store.relay import relay
from hilum.store.sql import SqlTransaction

_FORGET_SECONDS = 3600.0


class IngestService:
    """What did the hospital tell us?"""

    name = "ingest"

    def __init__(self, settings: Settings, platform: Platform, feeds: Feeds) -> None:
        self._settings = settings
        self._platform = platform
        self._digestion = Digestion(feeds)
        site = platform.site
        self._precedence = Precedence(platform.clock)
        raw_log = EventLogRaw(site.site, site.revision, platform.log, platform.objects)
        self._intake = Intake(feeds, raw_log, platform.clock, platform.ids, site.processing_id, self._precedence)
        limits = MllpLimits(
            message_bytes=settings.message_bytes,
            connections=settings.connections,
            idle_seconds=settings.idle_seconds,
            write_seconds=settings.write_seconds,
            stray_bytes=settings.stray_bytes,
            drain_seconds=settings.drain_seconds,
        )
        self._listener = MllpListener(self._intake, settings.mllp_host, settings.mllp_port, limits)
        self.grpc_port = 0

    @property
    def mllp_port(self) -> int:
        """The bound port, once ready."""
        return self._listener.port

    async def serve(self, ready: Callable[[], None]) -> None:
        platform = self._platform
        store = platform.open_store(self.name, METADATA)
        try:
            consumer = Consumer(platform.log, store, self.name, {topics.MESSAGES.name: self._digest}, platform.clock)
            async with open_door(self._door()):
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(relay(store, platform.log, platform.clock), name="ingest relay")
                        group.create_task(consumer.run(), name="ingest consumer")
                        group.create_task(
                            self._forget(PatientStore(store, platform.clock, self.name)), name="ingest forgets"
                        )
                        await self._listener.start()
                        ready()
                finally:
                    await self._listener.stop()
        finally:
            store.close()

    def _door(self) -> GrpcServer | None:
        settings = self._settings
        if settings.grpc_port is None:
            return None
        address = f"{settings.grpc_host}:{settings.grpc_port}"
        server = intake_server(self._intake, address, settings.message_bytes, settings.calls, settings.drain_seconds)
        self.grpc_port = server.port
        return server

    def _digest(self, transaction: SqlTransaction, record: Record) -> None:
        self._precedence.give_way(record.event.time)
        with telemetry.span("ingest digests", SpanKind.CONSUMER, headers=record.event.headers):
            message = kept_message(record, self._platform.objects)
            self._digestion.digest(message, SqlSightings(transaction), OutboxOutlet(transaction))

    async def _forget(self, store: PatientStore) -> None:
        """Repeats are known for so many days; beyond that the table must not grow."""
        keep = timedelta(days=self._settings.remember_days)
        while True:
            before = self._platform.clock.now() - keep
            await store.transact(partial(forget_sightings, before=before))
            await self._platform.clock.sleep(_FORGET_SECONDS)


def feeds_of(site: Site, own_application: str) -> Feeds:
    """The site file's feeds. Raises Rejected that lists every fault."""
    profiles = [
        FeedProfile(
            feed.sending_application,
            feed.sending_facility,
            feed.default_charset,
            feed.identifier_authority,
            feed.paths,
        )
        for feed in site.feeds
    ]
    return Feeds(
        site.site,
        site.zone,
        profiles,
        processing_id=site.processing_id,
        identifier_authority=site.identifier_authority,
        own_application=own_application,
    )


def build(settings: Settings, platform: Platform) -> IngestService:
    """Raises Rejected that lists every fault of the site's feeds."""
    return IngestService(settings, platform, feeds_of(platform.site, settings.application))
