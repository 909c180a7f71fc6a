"""The EHR as a destination: one transaction a result, one in flight, read back when in doubt."""

import json
from collections.abc import Sequence

from hilum.errors import HilumError
from hilum.fhir.client import FhirClient, Json, Written
from hilum.fhir.systems import token
from hilum.integration.adapters.documents import Documents
from hilum.integration.adapters.failures import outcome_of
from hilum.integration.adapters.fhir_site import FhirSite
from hilum.integration.adapters.render_jobs import ReportJob
from hilum.integration.adapters.renderer import Renderer
from hilum.integration.domain.attempt import (
    PATIENT_AMBIGUOUS,
    PATIENT_UNKNOWN,
    DeliveryRecord,
    Held,
    Landed,
    Outcome,
    Proof,
)
from hilum.integration.domain.case import Patient
from hilum.integration.domain.intended_use import statable
from hilum.integration.ports import Assignment


class _PatientHeld(Exception):
    """The EHR does not know exactly one patient by our identifiers."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Ehr:
    """`hilum.integration.ports.Peer` over FHIR R4."""

    batch = 1

    def __init__(
        self, client: FhirClient, site: FhirSite, documents: Documents, renderer: Renderer, *, creates_patients: bool
    ) -> None:
        self._client = client
        self._site = site
        self._documents = documents
        self._renderer = renderer
        self._creates_patients = creates_patients

    def render(self, assignment: Assignment) -> bytes | None:  # noqa: ARG002 - its documents take long
        return None

    async def deliver(self, assignments: Sequence[Assignment]) -> Sequence[tuple[DeliveryRecord, Outcome]]:
        return [await self._deliver(assignment) for assignment in assignments]

    async def close(self) -> None:
        """The HTTP client is the service's."""

    async def _deliver(self, assignment: Assignment) -> tuple[DeliveryRecord, Outcome]:
        record, case = assignment.record, assignment.case

        async def render() -> bytes:
            patient = await self._patient(case.patient)
            return await self._renderer.render(ReportJob(statable(assignment.result), case, self._site, patient))

        try:
            record, bundle = await self._documents.of(record, render)
            if record.in_doubt:
                held = await self._read_back(bundle)
                if held is not None:
                    return record, Landed(held)
            written = await self._client.transaction(bundle, record.id)
        except _PatientHeld as held_back:
            return record, Held(held_back.reason)
        except HilumError as error:
            return record, outcome_of(error)
        return record, Landed((Proof("http_status", "200"), *map(_proof, written)))

    async def _patient(self, patient: Patient) -> str | None:
        """The server's reference of exactly one patient; None where there is none and the site lets us create it.

        Every identifier is asked for: two that lead to two patients tell that one of them is wrong.
        """
        tokens = self._site.patient_tokens(patient)
        known: set[str] = set()
        for system, value in tokens:
            found = await self._client.search("Patient", {"identifier": token(system, value)}, limit=2)
            known |= {str(one["id"]) for one in found}
        if len(known) > 1:
            raise _PatientHeld(PATIENT_AMBIGUOUS)
        if known:
            return f"Patient/{known.pop()}"
        if self._creates_patients and tokens:
            return None
        raise _PatientHeld(PATIENT_UNKNOWN)

    async def _read_back(self, bundle: bytes) -> tuple[Proof, ...] | None:
        """The proofs, where the server already has each resource that ``bundle`` puts, as it puts it."""
        proofs = [Proof("read_back", "identifier")]
        for resource in _put(bundle):
            kind, own = resource["resourceType"], resource["identifier"][0]
            found = await self._client.search(kind, {"identifier": token(own["system"], own["value"])}, limit=2)
            if len(found) != 1 or found[0].get("issued") != resource.get("issued"):
                return None
            version = str(found[0].get("meta", {}).get("versionId", ""))
            proofs.append(_proof(Written(200, kind, str(found[0]["id"]), version)))
        return tuple(proofs)


def _put(bundle: bytes) -> list[Json]:
    """The resources that a bundle puts by identifier."""
    return [entry["resource"] for entry in json.loads(bundle)["entry"] if entry["request"]["method"] == "PUT"]


def _proof(written: Written) -> Proof:
    version = f"/_history/{written.version}" if written.version else ""
    return Proof("fhir_reference", f"{written.resource_type}/{written.id}{version}")
