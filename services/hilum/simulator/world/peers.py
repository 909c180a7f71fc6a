"""The hospital around Hilum in a seeded world: a RIS on the wire, an EHR and an archive, each with manners by chance.

The RIS is spoken to over MLLP by the real client. The EHR and the archive stand where their clients do: what they are
given is what would be sent, and they answer as those clients would report it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from hilum.errors import HilumError, Unavailable
from hilum.ids import derived_uid
from hilum.integration.adapters.dispatcher import Route
from hilum.integration.adapters.documents import Documents
from hilum.integration.adapters.failures import outcome_of
from hilum.integration.adapters.hospital import destinations_of, hl7_site
from hilum.integration.adapters.mllp_client import MllpClient
from hilum.integration.adapters.ris import Ris, RisLink
from hilum.integration.domain.attempt import DeliveryRecord, Landed, Outcome, Persistence, Proof
from hilum.integration.ports import Assignment
from hilum.simulator.receipts import Receipts
from hilum.simulator.script import Act, Script, Step
from hilum.site import Site

PATIENCE = Persistence(200, timedelta(seconds=1))
_WRONGS = (Act.SILENT, Act.DROP_BEFORE, Act.DROP_AFTER, Act.WRONG_ID, Act.REFUSE)


Arrived = Callable[[str, DeliveryRecord, bytes], None]


class Manners(Script):
    """How a peer behaves: ``wrong`` is how often it does something else than serve."""

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self._chance = chance
        self.wrong = 0.0
        self.slow = 0.01

    def next(self) -> Step:
        wait = self._chance.random() * self.slow
        if self._chance.random() >= self.wrong:
            return Step(Act.SERVE, wait)
        return Step(self._chance.choice(_WRONGS), wait, "AR")


class SimulatedPeer:
    """`hilum.integration.ports.Peer`: an EHR or an archive.

    ``arrived`` is told of each document as it comes: the peer, the delivery, the bytes.
    """

    batch = 4

    def __init__(self, name: str, receipts: Receipts, manners: Manners, arrived: Arrived) -> None:
        self.name = name
        self.receipts = receipts
        self.manners = manners
        self._arrived = arrived
        self.documents: Documents | None = None

    def at(self, documents: Documents) -> "SimulatedPeer":
        """The same peer, seen from a process that renders by ``documents``."""
        seen = SimulatedPeer(self.name, self.receipts, self.manners, self._arrived)
        seen.documents = documents
        return seen

    def render(self, assignment: Assignment) -> bytes | None:  # noqa: ARG002 - its documents take long
        return None

    async def deliver(self, assignments: Sequence[Assignment]) -> Sequence[tuple[DeliveryRecord, Outcome]]:
        return [await self._deliver(assignment) for assignment in assignments]

    async def close(self) -> None:
        """Nothing is held open."""

    async def _deliver(self, assignment: Assignment) -> tuple[DeliveryRecord, Outcome]:
        record = assignment.record
        assert self.documents is not None

        async def render() -> bytes:
            return _bundle(assignment) if self.name == "ehr" else _file(assignment)

        try:
            record, data = await self.documents.of(record, render)
            return record, await self._exchange(record, data)
        except HilumError as error:
            return record, outcome_of(error)

    async def _exchange(self, record: DeliveryRecord, data: bytes) -> Outcome:
        step = self.manners.next()
        await asyncio.sleep(step.delay_seconds)
        away, doubtful = (
            ("fhir_unreachable", "fhir_timeout") if self.name == "ehr" else ("connection_failed", "no_answer")
        )
        if step.act is Act.REFUSE:
            raise Unavailable(away, "by chance")
        if step.act is not Act.DROP_BEFORE:
            self._arrived(self.name, record, data)
            identity = _resource(record.id) if self.name == "ehr" else derived_uid("object", record.id)
            self.receipts.record("resource" if self.name == "ehr" else "instance", identity, data)
        if step.act is not Act.SERVE:
            raise Unavailable(doubtful, "by chance")
        if self.name == "ehr":
            return Landed((Proof("fhir_reference", f"DiagnosticReport/{record.id}"), Proof("http_status", "200")))
        return Landed((Proof("sop_instance_uid", identity), Proof("dimse_status", "0000")))


@dataclass
class SimulatedHospital:
    """`hilum.integration.adapters.hospital.Hospital`."""

    site: Site
    ehr: SimulatedPeer
    pacs: SimulatedPeer

    def __post_init__(self) -> None:
        self.destinations = destinations_of(self.site, timedelta(seconds=5))

    @asynccontextmanager
    async def open(self, documents: Documents) -> AsyncIterator[Sequence[Route]]:
        ris, ehr, pacs = self.destinations
        assert self.site.ris is not None
        client = MllpClient(self.site.ris.host, self.site.ris.port, self.site.ris.acknowledgement_timeout_seconds)
        yield (
            Route(ris, Ris(client, RisLink(ris.strategy, hl7_site(self.site)), documents), PATIENCE),
            Route(ehr, self.ehr.at(documents), PATIENCE),
            Route(pacs, self.pacs.at(documents), PATIENCE),
        )


def _resource(delivery_id: str) -> str:
    return f"DiagnosticReport?urn:world|{delivery_id}"


def _bundle(assignment: Assignment) -> bytes:
    """What a rendering depends on is in it: a second rendering of a later state would be other bytes."""
    resource = {
        "resourceType": "DiagnosticReport",
        "identifier": [{"system": "urn:world", "value": assignment.record.id}],
        "issued": _stated(assignment),
    }
    entry = {"resource": resource, "request": {"method": "PUT", "url": "DiagnosticReport"}}
    return json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": [entry]}).encode()


def _file(assignment: Assignment) -> bytes:
    uid = derived_uid("object", assignment.record.id).encode()
    uid += b"\0" * (len(uid) % 2)
    meta = b"\x02\x00\x03\x00UI" + len(uid).to_bytes(2, "little") + uid
    return (
        b"\0" * 128
        + b"DICM\x02\x00\x00\x00UL\x04\x00"
        + len(meta).to_bytes(4, "little")
        + meta
        + _stated(assignment).encode()
    )


def _stated(assignment: Assignment) -> str:
    case = assignment.case
    return f"{case.case_id} version {case.version} result {assignment.result.result_id}"
