"""The PACS as a destination: what is queued goes over one association, as it was rendered (PS3.4 B)."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO

from pydicom import dcmread

from hilum.dicom.scu import Peer, StoreOutcome, store
from hilum.errors import HilumError
from hilum.integration.adapters.documents import Documents
from hilum.integration.adapters.failures import outcome_of
from hilum.integration.adapters.render_jobs import ImageJob
from hilum.integration.adapters.renderer import Renderer
from hilum.integration.domain.attempt import DeliveryRecord, Landed, Outcome, Proof, Refused
from hilum.integration.domain.intended_use import statable
from hilum.integration.ports import Assignment


@dataclass(frozen=True)
class PacsLink:
    """The archive, and the zone that result objects are dated in."""

    peer: Peer
    timezone: str


class Pacs:
    """`hilum.integration.ports.Peer` over DIMSE."""

    batch = 16

    def __init__(self, link: PacsLink, documents: Documents, renderer: Renderer) -> None:
        self._link = link
        self._documents = documents
        self._renderer = renderer

    def render(self, assignment: Assignment) -> bytes | None:  # noqa: ARG002 - its documents take long
        return None

    async def deliver(self, assignments: Sequence[Assignment]) -> Sequence[tuple[DeliveryRecord, Outcome]]:
        done: list[tuple[DeliveryRecord, Outcome]] = []
        ready: list[tuple[DeliveryRecord, bytes]] = []
        for assignment in assignments:
            try:
                ready.append(await self._document(assignment))
            except HilumError as error:
                done.append((assignment.record, outcome_of(error)))
        if ready:
            outcomes = await asyncio.to_thread(self._send, [data for _, data in ready])
            done += [(record, outcome) for (record, _), outcome in zip(ready, outcomes, strict=True)]
        return done

    async def close(self) -> None:
        """Each association ends with its batch."""

    async def _document(self, assignment: Assignment) -> tuple[DeliveryRecord, bytes]:
        record = assignment.record

        async def render() -> bytes:
            return await self._renderer.render(
                ImageJob(
                    record.delivery.kind,
                    statable(assignment.result),
                    assignment.case,
                    self._link.timezone,
                    record.id,
                )
            )

        return await self._documents.of(record, render)

    def _send(self, files: Sequence[bytes]) -> list[Outcome]:
        try:
            stored = store(self._link.peer, [dcmread(BytesIO(data)) for data in files])
        except HilumError as error:
            return [outcome_of(error)] * len(files)
        return [_outcome(one) for one in stored]


def _outcome(stored: StoreOutcome) -> Outcome:
    """0000H and the warnings Bxxx are stored; else the status' own remedy (PS3.4 B.2.3)."""
    proofs: tuple[Proof, ...] = (Proof("sop_instance_uid", stored.sop_instance_uid),)
    if stored.status is not None:
        proofs += (Proof("dimse_status", f"{stored.status:04X}"),)
    if stored.stored:
        return Landed(proofs)
    if stored.error is None:
        return Refused("pacs_refused", proofs)
    outcome = outcome_of(stored.error)
    return Refused(outcome.reason, proofs) if isinstance(outcome, Refused) else outcome
