"""`HilumClient`: for asyncio."""

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Sequence
from typing import TYPE_CHECKING, Self, TypeVar

import grpc
import grpc.aio

from hilum.api.intake.v1 import intake_pb2, intake_pb2_grpc
from hilum.api.oversight.v1 import oversight_pb2, oversight_pb2_grpc
from hilum.api.worklist.v1 import worklist_pb2, worklist_pb2_grpc
from hilum.client import models, wire
from hilum.client.wire import Addresses

if TYPE_CHECKING:  # the asynchronous stubs exist for type checkers only
    from hilum.api.intake.v1.intake_pb2_grpc import IntakeServiceAsyncStub
    from hilum.api.oversight.v1.oversight_pb2_grpc import OversightServiceAsyncStub
    from hilum.api.worklist.v1.worklist_pb2_grpc import LedgerServiceAsyncStub

_T = TypeVar("_T")


class HilumClient:
    """Use as ``async with HilumClient() as hilum``. Channels connect when first used and reconnect by themselves."""

    def __init__(
        self,
        addresses: Addresses = wire.HERE,
        *,
        deadline_seconds: float = 10.0,
        reconcile_seconds: float = 120.0,
    ) -> None:
        """``deadline_seconds`` bounds each call; `reconcile` reads every stored image and has its own."""
        self._deadline = deadline_seconds
        self._reconcile_deadline = reconcile_seconds
        self._channels = [
            grpc.aio.insecure_channel(address, options=wire.OPTIONS)
            for address in (addresses.intake, addresses.ledger, addresses.oversight)
        ]
        self._intake: IntakeServiceAsyncStub = intake_pb2_grpc.IntakeServiceStub(self._channels[0])
        self._ledger: LedgerServiceAsyncStub = worklist_pb2_grpc.LedgerServiceStub(self._channels[1])
        self._oversight: OversightServiceAsyncStub = oversight_pb2_grpc.OversightServiceStub(self._channels[2])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        for channel in self._channels:
            await channel.close()

    async def submit(self, message: bytes) -> models.Acknowledgement:
        """One HL7 v2 message; returns once it is durable. Raises `Rejected` where MLLP would answer AE or AR."""
        request = intake_pb2.SubmitRequest(message=message)
        return wire.acknowledgement(await _call(self._intake.Submit(request, timeout=self._deadline)))

    async def submit_stream(
        self, messages: AsyncIterable[bytes], *, deadline_seconds: float | None = None
    ) -> AsyncIterator[models.Acknowledgement]:
        """One acknowledgement a message, in order; a refused one does not end the stream.

        ``deadline_seconds`` bounds the whole stream (None: an hour).
        """

        async def requests() -> AsyncIterator[intake_pb2.SubmitRequest]:
            async for message in messages:
                yield intake_pb2.SubmitRequest(message=message)

        try:
            async for response in self._intake.SubmitStream(requests(), timeout=deadline_seconds or 3600.0):
                yield wire.acknowledgement(response)
        except grpc.RpcError as error:
            raise wire.error_of(error) from error

    async def list_cases(
        self, *, accession_number: str = "", study_instance_uid: str = ""
    ) -> AsyncIterator[models.LedgerEntry]:
        """One entry a study and algorithm, oldest case first; pages are fetched as they are needed."""
        token = ""
        while True:
            request = worklist_pb2.ListCasesRequest(
                accession_number=accession_number, study_instance_uid=study_instance_uid, page_token=token
            )
            page = await _call(self._ledger.ListCases(request, timeout=self._deadline))
            for entry in page.entries:
                yield wire.entry(entry)
            token = page.next_page_token
            if not token:
                return

    async def worklist(self) -> Sequence[models.WorklistEntry]:
        """Unread studies, the most urgent first."""
        response = await _call(self._ledger.Worklist(worklist_pb2.WorklistRequest(), timeout=self._deadline))
        return [wire.worklist_entry(one) for one in response.entries]

    async def dead_letters(self) -> Sequence[models.DeadLetter]:
        request = worklist_pb2.ListDeadLettersRequest()
        response = await _call(self._ledger.ListDeadLetters(request, timeout=self._deadline))
        return [wire.dead_letter(one) for one in response.dead_letters]

    async def dead_letter(self, dead_letter_id: str, *, include_payload: bool = False) -> models.DeadLetterDetail:
        """Raises `Rejected` (`dead_letter_unknown`). The payload may identify a patient."""
        request = worklist_pb2.GetDeadLetterRequest(dead_letter_id=dead_letter_id, include_payload=include_payload)
        return wire.dead_letter_detail(await _call(self._ledger.GetDeadLetter(request, timeout=self._deadline)))

    async def replay_dead_letter(self, dead_letter_id: str) -> None:
        """Raises `Rejected` (`dead_letter_unknown`), `Duplicate` (`dead_letter_replayed`)."""
        request = worklist_pb2.ReplayDeadLetterRequest(dead_letter_id=dead_letter_id)
        await _call(self._ledger.ReplayDeadLetter(request, timeout=self._deadline))

    async def reconcile(self, receipts: bytes = b"") -> models.Reconciliation:
        """``receipts``: JSON lines that the peers wrote; empty compares none."""
        request = worklist_pb2.ReconcileRequest(receipts=receipts)
        return wire.reconciliation(await _call(self._ledger.Reconcile(request, timeout=self._reconcile_deadline)))

    async def models(self) -> Sequence[models.Model]:
        response = await _call(self._oversight.ListModels(oversight_pb2.ListModelsRequest(), timeout=self._deadline))
        return [wire.model(one) for one in response.models]

    async def set_model_state(self, name: str, state: str, reason: str) -> int:
        """``state``: live, silent or off. The revision of the policy that now holds."""
        request = oversight_pb2.SetModelStateRequest(name=name, state=state, reason=reason)
        return (await _call(self._oversight.SetModelState(request, timeout=self._deadline))).revision


async def _call(call: Awaitable[_T]) -> _T:
    try:
        return await call
    except grpc.RpcError as error:
        raise wire.error_of(error) from error
