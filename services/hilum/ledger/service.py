"""Ledger wired: the consumer of every topic, the watch for overdue work, the gRPC server."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import timedelta

from opentelemetry import metrics
from opentelemetry.trace import SpanKind

from hilum import packages
from hilum.eventlog.consumer import Consumer, Handler
from hilum.eventlog.port import Record
from hilum.grpc_serving import GrpcServer, open_door
from hilum.hosting import Platform
from hilum.ledger.adapters.alarms import SqlAlarms
from hilum.ledger.adapters.desk import Desk
from hilum.ledger.adapters.grpc_server import ledger_server
from hilum.ledger.adapters.projection import Projection
from hilum.ledger.adapters.tables import METADATA
from hilum.ledger.adapters.view import GROUP
from hilum.ledger.app import watch_deliveries, watch_overdue
from hilum.ledger.settings import Settings
from hilum.store.patience import PatientStore
from hilum.store.relay import relay
from hilum.store.sql import SqlTransaction
from hilum.telemetry import span

_LOG = logging.getLogger(__name__)
_READY_POLL_SECONDS = 0.05
_GATHER_SECONDS = 0.2  # books may be a little behind; what they are about may not wait for them
_ALARMS = metrics.get_meter("hilum").create_counter(
    "hilum.ledger.overdue_alarms", description="alarms raised for work in progress past its time"
)
_UNDELIVERED = metrics.get_meter("hilum").create_counter(
    "hilum.ledger.undelivered_alarms", description="alarms raised for deliveries that nobody takes"
)


class LedgerService:
    """Does it add up?"""

    name = "ledger"

    def __init__(self, settings: Settings, platform: Platform, installed: Sequence[str]) -> None:
        """``installed`` are the algorithms' names."""
        self._settings = settings
        self._platform = platform
        self._installed = installed
        self.grpc_port = 0
        self.desk: Desk | None = None
        """Where questions are answered, once it serves."""

    async def serve(self, ready: Callable[[], None]) -> None:
        platform = self._platform
        store = platform.open_store(self.name, METADATA)
        try:
            consumer: Consumer[SqlTransaction] = Consumer(
                platform.log, store, GROUP, self._handlers(), platform.clock, gather_seconds=_GATHER_SECONDS
            )
            self.desk = Desk(store, platform, self._installed, self._settings.in_hand_seconds)
            async with open_door(self._door()), asyncio.TaskGroup() as group:
                group.create_task(consumer.run(), name="ledger consumer")
                group.create_task(relay(store, platform.log, platform.clock), name="ledger relay")
                group.create_task(self._watch(PatientStore(store, platform.clock, self.name)), name="ledger watch")
                while consumer.caught_up_at is None:
                    await platform.clock.sleep(_READY_POLL_SECONDS)
                ready()
        finally:
            store.close()

    def _door(self) -> GrpcServer | None:
        if self._settings.grpc_port is None or self.desk is None:
            return None
        server = ledger_server(self.desk, f"{self._settings.grpc_host}:{self._settings.grpc_port}")
        self.grpc_port = server.port
        return server

    def _handlers(self) -> dict[str, Handler[SqlTransaction]]:
        keep = Projection(self._settings.own_applications).handlers

        def traced(topic: str) -> Handler[SqlTransaction]:
            def handle(transaction: SqlTransaction, record: Record) -> None:
                with span(f"ledger keeps {topic}", SpanKind.CONSUMER, headers=record.event.headers):
                    keep[topic](transaction, record)

            return handle

        return {topic: traced(topic) for topic in keep}

    async def _watch(self, store: PatientStore) -> None:
        clock, patience = self._platform.clock, timedelta(seconds=self._settings.undelivered_seconds)
        while True:
            now = clock.now()
            raised, cleared = await store.transact(
                lambda transaction: watch_overdue(SqlAlarms(transaction), now)  # noqa: B023 - awaited in this turn
            )
            stuck = await store.transact(
                lambda transaction: watch_deliveries(SqlAlarms(transaction), now, patience)  # noqa: B023 - as above
            )
            for delivery in stuck:
                _LOG.warning("undelivered: %s to %s: %s", delivery.kind, delivery.destination, delivery.reason)
                _UNDELIVERED.add(1, {"destination": delivery.destination, "kind": delivery.kind})
            for state in raised:
                _LOG.warning("overdue: case %s, %s is %s", state.case_id, state.algorithm, state.disposition)
                _ALARMS.add(1, {"algorithm": state.algorithm})
            if cleared:
                _LOG.info("%d overdue alarms cleared", cleared)
            await clock.sleep(self._settings.watch_seconds)


def build(settings: Settings, platform: Platform) -> LedgerService:
    """Raises `Rejected` when a model package does not hold."""
    installed = sorted({package.name for package in packages.load_all(platform.packages_folder)})
    return LedgerService(settings, platform, installed)
