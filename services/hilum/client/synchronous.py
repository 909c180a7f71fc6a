"""`SyncHilumClient`: the same, blocking; safe for many threads."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self, TypeVar

import grpc

from hilum.api.intake.v1 import intake_pb2, intake_pb2_grpc
from hilum.api.oversight.v1 import oversight_pb2, oversight_pb2_grpc
from hilum.api.worklist.v1 import worklist_pb2, worklist_pb2_grpc
from hilum.client import models, wire
from hilum.client.wire import Addresses

_T = TypeVar("_T")


class SyncHilumClient:
    """Use as ``with SyncHilumClient() as hilum``; each method is as `HilumClient`'s of the same name."""

    def __init__(
        self,
        addresses: Addresses = wire.HERE,
        *,
        deadline_seconds: float = 10.0,
        reconcile_seconds: float = 120.0,
    ) -> None:
        self._deadline = deadline_seconds
        self._reconcile_deadline = reconcile_seconds
        self._channels = [
            grpc.insecure_channel(address, options=wire.OPTIONS)
            for address in (addresses.intake, addresses.ledger, addresses.oversight)
        ]
        self._intake = intake_pb2_grpc.IntakeServiceStub(self._channels[0])
        self._ledger = worklist_pb2_grpc.LedgerServiceStub(self._channels[1])
        self._oversight = oversight_pb2_grpc.OversightServiceStub(self._channels[2])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for channel in self._channels:
            channel.close()

    def submit(self, message: bytes) -> models.Acknowledgement:
        return wire.acknowledgement(self._call(self._intake.Submit, intake_pb2.SubmitRequest(message=message)))

    def submit_stream(
        self, messages: Iterable[bytes], *, deadline_seconds: float | None = None
    ) -> Iterator[models.Acknowledgement]:
        requests = (intake_pb2.SubmitRequest(message=message) for message in messages)
        try:
            for response in self._intake.SubmitStream(requests, timeout=deadline_seconds or 3600.0):
                yield wire.acknowledgement(response)
        except grpc.RpcError as error:
            raise wire.error_of(error) from error

    def list_cases(self, *, accession_number: str = "", study_instance_uid: str = "") -> Iterator[models.LedgerEntry]:
        token = ""
        while True:
            request = worklist_pb2.ListCasesRequest(
                accession_number=accession_number, study_instance_uid=study_instance_uid, page_token=token
            )
            page = self._call(self._ledger.ListCases, request)
            yield from map(wire.entry, page.entries)
            token = page.next_page_token
            if not token:
                return

    def worklist(self) -> Sequence[models.WorklistEntry]:
        response = self._call(self._ledger.Worklist, worklist_pb2.WorklistRequest())
        return [wire.worklist_entry(one) for one in response.entries]

    def dead_letters(self) -> Sequence[models.DeadLetter]:
        response = self._call(self._ledger.ListDeadLetters, worklist_pb2.ListDeadLettersRequest())
        return [wire.dead_letter(one) for one in response.dead_letters]

    def dead_letter(self, dead_letter_id: str, *, include_payload: bool = False) -> models.DeadLetterDetail:
        request = worklist_pb2.GetDeadLetterRequest(dead_letter_id=dead_letter_id, include_payload=include_payload)
        return wire.dead_letter_detail(self._call(self._ledger.GetDeadLetter, request))

    def replay_dead_letter(self, dead_letter_id: str) -> None:
        request = worklist_pb2.ReplayDeadLetterRequest(dead_letter_id=dead_letter_id)
        self._call(self._ledger.ReplayDeadLetter, request)

    def reconcile(self, receipts: bytes = b"") -> models.Reconciliation:
        request = worklist_pb2.ReconcileRequest(receipts=receipts)
        return wire.reconciliation(self._call(self._ledger.Reconcile, request, self._reconcile_deadline))

    def models(self) -> Sequence[models.Model]:
        response = self._call(self._oversight.ListModels, oversight_pb2.ListModelsRequest())
        return [wire.model(one) for one in response.models]

    def set_model_state(self, name: str, state: str, reason: str) -> int:
        request = oversight_pb2.SetModelStateRequest(name=name, state=state, reason=reason)
        return self._call(self._oversight.SetModelState, request).revision

    def _call(self, method: Callable[..., _T], request: Any, deadline: float | None = None) -> _T:
        try:
            return method(request, timeout=deadline or self._deadline)
        except grpc.RpcError as error:
            raise wire.error_of(error) from error
