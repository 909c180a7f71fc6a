"""Integration wired: the projection's consumer, the rendering process, a dispatcher a destination."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta

import httpx
from opentelemetry.trace import SpanKind

from hilum import telemetry
from hilum.contracts import topics
from hilum.contracts.cases.v1 import cases_pb2
from hilum.contracts.findings.v1 import findings_pb2
from hilum.contracts.policies.v1 import policies_pb2
from hilum.dicom.scu import Peer as DicomPeer
from hilum.eventlog.consumer import Consumer, Handler
from hilum.eventlog.port import Record
from hilum.fhir.client import FhirClient
from hilum.hosting import Platform
from hilum.integration.adapters.dispatcher import Dispatcher, Route
from hilum.integration.adapters.documents import Documents
from hilum.integration.adapters.ehr import Ehr
from hilum.integration.adapters.fhir_site import FhirSite
from hilum.integration.adapters.hl7_rendering import Hl7Site
from hilum.integration.adapters.mllp_client import MllpClient
from hilum.integration.adapters.pacs import Pacs, PacsLink
from hilum.integration.adapters.render_worker import Setup
from hilum.integration.adapters.renderer import Renderer
from hilum.integration.adapters.ris import Ris, RisLink
from hilum.integration.adapters.state import SqlTransactions
from hilum.integration.adapters.tables import METADATA
from hilum.integration.app import apply_case, plan_result
from hilum.integration.domain.attempt import Persistence
from hilum.integration.domain.plan import Destination, Peer, Strategy
from hilum.integration.domain.priority import PriorityPolicy
from hilum.integration.settings import Settings
from hilum.packages import load_all
from hilum.store.relay import relay
from hilum.store.sql import SqlTransaction


class IntegrationService:
    """Did it land where they look?"""

    name = "integration"

    def __init__(self, settings: Settings, platform: Platform) -> None:
        self._settings = settings
        self._platform = platform
        self._packages = {(p.name, p.version): p for p in load_all(platform.packages_folder)}
        self.renderer = Renderer(
            Setup(str(platform.objects_folder.resolve()), settings.worker_memory_mib * 1024 * 1024),
            settings.render_seconds,
        )
        self._destinations = _destinations(platform, settings)

    async def serve(self, ready: Callable[[], None]) -> None:
        platform = self._platform
        silenced = frozenset(a.name for a in platform.site.algorithms or () if a.state != "live")
        store = platform.open_store(self.name, METADATA)
        async with AsyncExitStack() as stack:
            stack.callback(store.close)
            stack.push_async_callback(self.renderer.close)
            transactions = SqlTransactions(store, self._packages, silenced)
            await transactions.recover(platform.clock.now())
            http = await stack.enter_async_context(self._http())
            documents = Documents(platform.objects, transactions)
            consumer: Consumer[SqlTransaction]
            dispatchers = [
                Dispatcher(route, transactions, platform.clock, lambda: consumer.caught_up_at)
                for route in self._routes(documents, http)
            ]
            handlers = self._handlers(transactions, dispatchers)
            consumer = Consumer(platform.log, store, self.name, handlers, platform.clock)
            async with asyncio.TaskGroup() as group:
                group.create_task(consumer.run(), name="integration consumer")
                group.create_task(relay(store, platform.log, platform.clock), name="integration relay")
                for dispatcher in dispatchers:
                    group.create_task(dispatcher.run(), name="integration dispatcher")
                ready()

    def _handlers(
        self, transactions: SqlTransactions, dispatchers: list[Dispatcher]
    ) -> dict[str, Handler[SqlTransaction]]:
        clock, destinations = self._platform.clock, self._destinations
        loop = asyncio.get_running_loop()

        def wake() -> None:
            # The claims that follow run in the store's one thread, after this transaction.
            for dispatcher in dispatchers:
                loop.call_soon_threadsafe(dispatcher.wake)

        def on_case(transaction: SqlTransaction, record: Record) -> None:
            message = cases_pb2.CaseState.FromString(record.event.value)
            state = transactions.state(transaction)
            if state.put_case(message):
                apply_case(state, message.case_id, destinations, clock.now())
                wake()

        def on_result(transaction: SqlTransaction, record: Record) -> None:
            message = findings_pb2.Result.FromString(record.event.value)
            if message.outcome != "resulted":
                return
            state = transactions.state(transaction)
            known = state.put_result(message, telemetry.headers_of_current_context())
            if known is not None:
                plan_result(state, known, destinations, clock.now())
                wake()

        def on_policy(transaction: SqlTransaction, record: Record) -> None:
            transactions.state(transaction).put_policy(policies_pb2.Policy.FromString(record.event.value))

        def traced(topic: str, handle: Handler[SqlTransaction]) -> Handler[SqlTransaction]:
            def heard(transaction: SqlTransaction, record: Record) -> None:
                with telemetry.span(f"integration hears {topic}", SpanKind.CONSUMER, headers=record.event.headers):
                    handle(transaction, record)

            return heard

        heard = {topics.STUDIES: on_case, topics.FINDINGS: on_result, topics.POLICIES: on_policy}
        return {topic.name: traced(topic.name, handle) for topic, handle in heard.items()}

    def _http(self) -> httpx.AsyncClient:
        ehr = self._platform.site.ehr
        return httpx.AsyncClient(timeout=ehr.timeout_seconds if ehr else 10.0, trust_env=False)

    def _routes(self, documents: Documents, http: httpx.AsyncClient) -> list[Route]:
        site, by_peer = self._platform.site, {d.peer: d for d in self._destinations}
        routes = []
        if site.ris is not None:
            client = MllpClient(site.ris.host, site.ris.port, site.ris.acknowledgement_timeout_seconds)
            link = RisLink(by_peer[Peer.RIS].strategy, _hl7_site(self._platform))
            patience = Persistence(site.ris.attempts, timedelta(seconds=site.ris.retry_seconds))
            routes.append(Route(by_peer[Peer.RIS], Ris(client, link, documents), patience))
        if site.ehr is not None:
            fhir = FhirClient(site.ehr.url, http, self._platform.clock)
            patience = Persistence(site.ehr.attempts, timedelta(seconds=site.ehr.retry_seconds))
            ehr = Ehr(
                fhir,
                _fhir_site(self._platform, self._settings),
                documents,
                self.renderer,
                creates_patients=site.ehr.create_missing_patients,
            )
            routes.append(Route(by_peer[Peer.EHR], ehr, patience))
        if site.pacs is not None:
            called = DicomPeer(
                site.pacs.host,
                site.pacs.port,
                site.pacs.ae_title,
                self._settings.calling_ae_title,
                site.pacs.timeout_seconds,
            )
            patience = Persistence(site.pacs.attempts, timedelta(seconds=site.pacs.retry_seconds))
            pacs = Pacs(PacsLink(called, site.timezone), documents, self.renderer)
            routes.append(Route(by_peer[Peer.PACS], pacs, patience))
        return routes


def _destinations(platform: Platform, settings: Settings) -> tuple[Destination, ...]:
    """The site file's peers; each is named by what it is."""
    site, found = platform.site, []
    if site.ris is not None:
        policy = PriorityPolicy(
            max_staleness=timedelta(seconds=settings.max_staleness_seconds),
            overwrites=frozenset(site.ris.overwrite_priorities),
            reported=frozenset(site.ris.suppress_at_report_status),
        )
        found.append(Destination("ris", Peer.RIS, Strategy(site.ris.strategy), policy=policy))
    if site.ehr is not None:
        found.append(Destination("ehr", Peer.EHR))
    if site.pacs is not None:
        found.append(Destination("pacs", Peer.PACS))
    return tuple(found)


def _hl7_site(platform: Platform) -> Hl7Site:
    site = platform.site
    assert site.ris is not None
    return Hl7Site(
        receiving_application=site.ris.receiving_application,
        receiving_facility=site.ris.receiving_facility,
        facility=site.site.upper(),
        zone=site.zone,
        processing_id=site.processing_id,
        feed_charsets={(f.sending_application, f.sending_facility): f.default_charset for f in site.feeds},
    )


def _fhir_site(platform: Platform, settings: Settings) -> FhirSite:
    site = platform.site
    assert site.ehr is not None
    return FhirSite(
        organisation=settings.organisation or site.site,
        systems=dict(site.ehr.patient_identifier_system),
        patient_system=site.ehr.default_patient_identifier_system,
        own_authority=site.identifier_authority,
        accession_system=site.ehr.accession_identifier_system,
    )


def build(settings: Settings, platform: Platform) -> IntegrationService:
    """Raises Rejected when a package does not hold."""
    return IntegrationService(settings, platform)
