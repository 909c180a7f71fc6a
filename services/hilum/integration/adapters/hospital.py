"""The hospital's peers as destinations: the site file's RIS, EHR and PACS, each behind the client that speaks to it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import httpx

from hilum.dicom.scu import Peer as DicomPeer
from hilum.fhir.client import FhirClient
from hilum.hosting import Platform
from hilum.integration.adapters.dispatcher import Route
from hilum.integration.adapters.documents import Documents
from hilum.integration.adapters.ehr import Ehr
from hilum.integration.adapters.fhir_site import FhirSite
from hilum.integration.adapters.hl7_rendering import Hl7Site
from hilum.integration.adapters.mllp_client import MllpClient
from hilum.integration.adapters.pacs import Pacs, PacsLink
from hilum.integration.adapters.render_worker import Setup
from hilum.integration.adapters.renderer import Renderer
from hilum.integration.adapters.ris import Ris, RisLink
from hilum.integration.domain.attempt import Persistence
from hilum.integration.domain.plan import Destination, Peer, Strategy
from hilum.integration.domain.priority import PriorityPolicy
from hilum.site import Site


class Hospital(Protocol):
    """Where results go."""

    @property
    def destinations(self) -> tuple[Destination, ...]: ...

    def open(self, documents: Documents) -> AbstractAsyncContextManager[Sequence[Route]]:
        """A route for each destination, for as long as it is held."""


@dataclass(frozen=True)
class Sending:
    """How results are made and sent; see `hilum.integration.settings`."""

    organisation: str
    calling_ae_title: str
    render_seconds: float
    worker_memory_bytes: int
    max_staleness: timedelta


class SitePeers:
    """`Hospital` as the site file describes it; images and reports are rendered in a process of their own."""

    def __init__(self, sending: Sending, platform: Platform) -> None:
        self._sending = sending
        self._platform = platform
        self.destinations = destinations_of(platform.site, sending.max_staleness)
        self.renderer = Renderer(
            Setup(str(platform.objects_folder.resolve()), sending.worker_memory_bytes), sending.render_seconds
        )

    @asynccontextmanager
    async def open(self, documents: Documents) -> AsyncIterator[Sequence[Route]]:
        ehr = self._platform.site.ehr
        try:
            async with httpx.AsyncClient(timeout=ehr.timeout_seconds if ehr else 10.0, trust_env=False) as http:
                yield self._routes(documents, http)
        finally:
            await self.renderer.close()

    def _routes(self, documents: Documents, http: httpx.AsyncClient) -> list[Route]:
        site, by_peer = self._platform.site, {d.peer: d for d in self.destinations}
        routes = []
        if site.ris is not None:
            client = MllpClient(site.ris.host, site.ris.port, site.ris.acknowledgement_timeout_seconds)
            link = RisLink(by_peer[Peer.RIS].strategy, hl7_site(site))
            patience = Persistence(site.ris.attempts, timedelta(seconds=site.ris.retry_seconds))
            routes.append(Route(by_peer[Peer.RIS], Ris(client, link, documents), patience))
        if site.ehr is not None:
            fhir = FhirClient(site.ehr.url, http, self._platform.clock)
            patience = Persistence(site.ehr.attempts, timedelta(seconds=site.ehr.retry_seconds))
            ehr = Ehr(
                fhir,
                _fhir_site(site, self._sending.organisation),
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
                self._sending.calling_ae_title,
                site.pacs.timeout_seconds,
            )
            patience = Persistence(site.pacs.attempts, timedelta(seconds=site.pacs.retry_seconds))
            pacs = Pacs(PacsLink(called, site.timezone), documents, self.renderer)
            routes.append(Route(by_peer[Peer.PACS], pacs, patience))
        return routes


def destinations_of(site: Site, max_staleness: timedelta) -> tuple[Destination, ...]:
    """The site file's peers; each is named by what it is."""
    found = []
    if site.ris is not None:
        policy = PriorityPolicy(
            max_staleness=max_staleness,
            overwrites=frozenset(site.ris.overwrite_priorities),
            reported=frozenset(site.ris.suppress_at_report_status),
        )
        found.append(Destination("ris", Peer.RIS, Strategy(site.ris.strategy), policy=policy))
    if site.ehr is not None:
        found.append(Destination("ehr", Peer.EHR))
    if site.pacs is not None:
        found.append(Destination("pacs", Peer.PACS))
    return tuple(found)


def hl7_site(site: Site) -> Hl7Site:
    assert site.ris is not None
    return Hl7Site(
        receiving_application=site.ris.receiving_application,
        receiving_facility=site.ris.receiving_facility,
        facility=site.site.upper(),
        zone=site.zone,
        processing_id=site.processing_id,
        feed_charsets={(f.sending_application, f.sending_facility): f.default_charset for f in site.feeds},
    )


def _fhir_site(site: Site, organisation: str) -> FhirSite:
    assert site.ehr is not None
    return FhirSite(
        organisation=organisation or site.site,
        systems=dict(site.ehr.patient_identifier_system),
        patient_system=site.ehr.default_patient_identifier_system,
        own_authority=site.identifier_authority,
        accession_system=site.ehr.accession_identifier_system,
    )
