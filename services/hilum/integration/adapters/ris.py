"""The RIS as a destination: one message in flight, its acknowledgement judged (HL7 v2.5.1 2.9.2)."""

from collections.abc import Sequence
from dataclasses import dataclass

from hilum.errors import HilumError, Rejected
from hilum.hl7.acknowledgement import Acknowledgement, read_acknowledgement
from hilum.integration.adapters.documents import Documents
from hilum.integration.adapters.failures import outcome_of
from hilum.integration.adapters.hl7_rendering import Hl7Site, message_control_id, render_priority
from hilum.integration.adapters.mllp_client import MllpClient
from hilum.integration.domain.attempt import DeliveryRecord, Failed, Landed, Outcome, Proof, Refused
from hilum.integration.domain.intended_use import statable
from hilum.integration.domain.plan import Strategy
from hilum.integration.ports import Assignment

# Table 0119: an order response may accept the message and yet be unable to do what the order asks.
_UNABLE = frozenset({"UA", "UC", "UD", "UF", "UH", "UM", "UR", "UX"})


@dataclass(frozen=True)
class RisLink:
    """How this site's RIS takes a priority."""

    strategy: Strategy
    site: Hl7Site


class Ris:
    """`hilum.integration.ports.Peer` over MLLP."""

    batch = 1

    def __init__(self, client: MllpClient, link: RisLink, documents: Documents) -> None:
        self._client = client
        self._link = link
        self._documents = documents

    async def deliver(self, assignments: Sequence[Assignment]) -> Sequence[tuple[DeliveryRecord, Outcome]]:
        return [await self._deliver(assignment) for assignment in assignments]

    async def close(self) -> None:
        await self._client.close()

    def render(self, assignment: Assignment) -> bytes | None:
        record, result, link = assignment.record, statable(assignment.result), self._link
        return render_priority(result, assignment.case, link.site, link.strategy, record.id, record.planned_at)

    async def _deliver(self, assignment: Assignment) -> tuple[DeliveryRecord, Outcome]:
        record = assignment.record

        async def render() -> bytes:
            return self.render(assignment) or b""

        try:
            record, message = await self._documents.of(record, render, assignment.document)
        except HilumError as error:
            return record, outcome_of(error)
        outcome = await self._exchanged(record, message)
        if assignment.document is not None:
            await self._documents.store(record, message)
        return record, outcome

    async def _exchanged(self, record: DeliveryRecord, message: bytes) -> Outcome:
        try:
            answer = await self._client.exchange(message)
        except HilumError as error:
            return outcome_of(error)
        return await self._judge(record, answer)

    async def _judge(self, record: DeliveryRecord, answer: bytes) -> Outcome:
        """An answer to another message, or to none, is not believed: the connection is dropped, the doubt kept."""
        sent = message_control_id(record.id)
        try:
            acknowledgement = read_acknowledgement(answer)
        except Rejected:
            await self._client.close()
            return Failed("ris_bad_answer", in_doubt=True)
        if acknowledgement.message_control_id != sent:
            await self._client.close()
            return Failed("ris_wrong_control_id", in_doubt=True)
        return _outcome(sent, acknowledgement)


def _outcome(sent: str, acknowledgement: Acknowledgement) -> Outcome:
    """AA and CA: stored. AE and CR: never send this again. AR and CE: not now (standards of 2.9.2.2, 2.9.3)."""
    code = acknowledgement.code
    proofs = (
        Proof("message_control_id", sent),
        Proof("acknowledgement_code", code),
        *(Proof("error_condition", condition) for condition in acknowledgement.conditions),
    )
    unable = next((control for control in acknowledgement.order_controls if control in _UNABLE), "")
    if code in ("AA", "CA") and unable:
        return Refused(f"ris_{unable.lower()}", (*proofs, Proof("order_control", unable)))
    if code in ("AA", "CA"):
        return Landed(proofs)
    if code in ("AE", "CR"):
        return Refused(f"ris_{code.lower()}", proofs)
    return Failed(f"ris_{code.lower()}", proofs=proofs)
