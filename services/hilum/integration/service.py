"""Integration wired: the projection's consumer, and a dispatcher a destination."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta

from opentelemetry.trace import SpanKind

from hilum import telemetry
from hilum.contracts import topics
from hilum.contracts.cases.v1 import cases_pb2
from hilum.contracts.findings.v1 import findings_pb2
from hilum.contracts.policies.v1 import policies_pb2
from hilum.eventlog.consumer import Consumer, Handler
from hilum.eventlog.port import Record
from hilum.hosting import Platform
from hilum.integration.adapters.contracts import Packages
from hilum.integration.adapters.dispatcher import Dispatcher
from hilum.integration.adapters.documents import Documents
from hilum.integration.adapters.hospital import Hospital, Sending, SitePeers
from hilum.integration.adapters.state import SqlTransactions
from hilum.integration.adapters.tables import METADATA
from hilum.integration.app import apply_case, plan_result
from hilum.integration.settings import Settings
from hilum.packages import load_all
from hilum.store.patience import PatientStore
from hilum.store.relay import relay
from hilum.store.sql import SqlTransaction


class IntegrationService:
    """Did it land where they look?"""

    name = "integration"

    def __init__(self, platform: Platform, packages: Packages, hospital: Hospital) -> None:
        self._platform = platform
        self._packages = packages
        self.hospital = hospital

    async def serve(self, ready: Callable[[], None]) -> None:
        platform = self._platform
        silenced = frozenset(a.name for a in platform.site.algorithms or () if a.state != "live")
        store = platform.open_store(self.name, METADATA)
        async with AsyncExitStack() as stack:
            stack.callback(store.close)
            transactions = SqlTransactions(PatientStore(store, platform.clock, self.name), self._packages, silenced)
            await transactions.recover(platform.clock.now())
            routes = await stack.enter_async_context(self.hospital.open(Documents(platform.objects, transactions)))
            consumer: Consumer[SqlTransaction]
            holder = platform.ids.new()
            dispatchers = [
                Dispatcher(route, transactions, platform.clock, lambda: consumer.caught_up_at, holder)
                for route in routes
            ]
            handlers, claims = self._handlers(transactions, dispatchers)
            consumer = Consumer(platform.log, store, self.name, handlers, platform.clock, after=claims)
            async with asyncio.TaskGroup() as group:
                group.create_task(consumer.run(), name="integration consumer")
                group.create_task(relay(store, platform.log, platform.clock), name="integration relay")
                for dispatcher in dispatchers:
                    group.create_task(dispatcher.run(), name="integration dispatcher")
                ready()

    def _handlers(
        self, transactions: SqlTransactions, dispatchers: list[Dispatcher]
    ) -> tuple[dict[str, Handler[SqlTransaction]], Callable[[SqlTransaction], None]]:
        """What applies each topic's records, and what follows in the transaction of a batch."""
        clock, destinations = self._platform.clock, self.hospital.destinations
        changed = False  # by the open transaction

        def claims(transaction: SqlTransaction) -> None:
            nonlocal changed
            if changed:
                for dispatcher in dispatchers:
                    dispatcher.claim_with(transactions.state(transaction), transaction.when_committed)
            changed = False

        def on_case(transaction: SqlTransaction, record: Record) -> None:
            nonlocal changed
            message = cases_pb2.CaseState.FromString(record.event.value)
            state = transactions.state(transaction)
            if state.put_case(message) and apply_case(state, message.case_id, destinations, clock.now()):
                changed = True

        def on_result(transaction: SqlTransaction, record: Record) -> None:
            nonlocal changed
            message = findings_pb2.Result.FromString(record.event.value)
            if message.outcome != "resulted":
                return
            state = transactions.state(transaction)
            known = state.put_result(message, telemetry.headers_of_current_context())
            if known is not None:
                plan_result(state, known, destinations, clock.now())
                changed = True

        def on_policy(transaction: SqlTransaction, record: Record) -> None:
            transactions.state(transaction).put_policy(policies_pb2.Policy.FromString(record.event.value))

        def traced(topic: str, handle: Handler[SqlTransaction]) -> Handler[SqlTransaction]:
            def heard(transaction: SqlTransaction, record: Record) -> None:
                with telemetry.span(f"integration hears {topic}", SpanKind.CONSUMER, headers=record.event.headers):
                    handle(transaction, record)

            return heard

        heard = {topics.STUDIES: on_case, topics.FINDINGS: on_result, topics.POLICIES: on_policy}
        return {topic.name: traced(topic.name, handle) for topic, handle in heard.items()}, claims


def build(settings: Settings, platform: Platform) -> IntegrationService:
    """Raises Rejected when a package does not hold."""
    packages = {(p.name, p.version): p for p in load_all(platform.packages_folder)}
    sending = Sending(
        organisation=settings.organisation,
        calling_ae_title=settings.calling_ae_title,
        render_seconds=settings.render_seconds,
        worker_memory_bytes=settings.worker_memory_mib * 1024 * 1024,
        max_staleness=timedelta(seconds=settings.max_staleness_seconds),
    )
    return IntegrationService(platform, packages, SitePeers(sending, platform))
