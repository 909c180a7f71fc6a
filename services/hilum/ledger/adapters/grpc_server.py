"""LedgerService over gRPC, with health and reflection. Every refusal has its status and coded reason."""

import base64
import binascii
from datetime import UTC, datetime
from typing import Any, TypeVar

from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from hilum.api.worklist.v1 import worklist_pb2 as pb
from hilum.api.worklist.v1 import worklist_pb2_grpc as pb_grpc
from hilum.errors import Rejected
from hilum.grpc_serving import Context, GrpcServer, answer
from hilum.ledger.adapters import documents
from hilum.ledger.adapters.desk import Desk
from hilum.ledger.domain.receipts import parse_receipts
from hilum.ledger.ports import Selection

SERVICE = pb.DESCRIPTOR.services_by_name["LedgerService"]
_NOT_FOUND = frozenset({"dead_letter_unknown"})
_PRECONDITION = frozenset({"dead_letter_final"})
_PAGE = 200
_LARGEST_PAGE = 1000
_MESSAGE_BYTES = 16 * 1024 * 1024
_MessageT = TypeVar("_MessageT", bound=Message)


class LedgerServicer(pb_grpc.LedgerServiceServicer):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ListCases(self, request: pb.ListCasesRequest, context: Context) -> pb.ListCasesResponse:  # noqa: N802
        page = await answer(context, self._cases(request))
        token = _token(page.after) if page.after is not None else ""
        entries = [_message(pb.LedgerEntry, documents.entry(one)) for one in page.entries]
        return pb.ListCasesResponse(entries=entries, next_page_token=token)

    async def _cases(self, request: pb.ListCasesRequest) -> Any:
        if not 0 <= request.page_size <= _LARGEST_PAGE:
            raise Rejected("page_size", f"page_size must lie between 0 and {_LARGEST_PAGE}")
        selection = Selection(
            accession_number=request.accession_number,
            study_instance_uid=request.study_instance_uid,
            limit=request.page_size or _PAGE,
            after=_place(request.page_token) if request.page_token else None,
        )
        return await self._desk.entries(selection)

    async def Worklist(self, _request: pb.WorklistRequest, context: Context) -> pb.WorklistResponse:  # noqa: N802
        found = await answer(context, self._desk.worklist())
        entries = [_message(pb.WorklistEntry, documents.worklist_entry(one)) for one in found]
        return pb.WorklistResponse(entries=entries)

    async def ListDeadLetters(  # noqa: N802
        self, _request: pb.ListDeadLettersRequest, context: Context
    ) -> pb.ListDeadLettersResponse:
        found = await answer(context, self._desk.dead_letters())
        letters = [_message(pb.DeadLetterView, documents.dead_letter(one)) for one in found]
        return pb.ListDeadLettersResponse(dead_letters=letters)

    async def GetDeadLetter(  # noqa: N802
        self, request: pb.GetDeadLetterRequest, context: Context
    ) -> pb.GetDeadLetterResponse:
        letter = await answer(context, self._desk.dead_letter(request.dead_letter_id), _NOT_FOUND)
        return pb.GetDeadLetterResponse(
            dead_letter=_message(pb.DeadLetterView, documents.dead_letter(letter)),
            type=letter.type,
            event_id=letter.event_id,
            payload=letter.payload if request.include_payload else b"",
        )

    async def ReplayDeadLetter(  # noqa: N802
        self, request: pb.ReplayDeadLetterRequest, context: Context
    ) -> pb.ReplayDeadLetterResponse:
        await answer(context, self._desk.replay(request.dead_letter_id), _NOT_FOUND, _PRECONDITION)
        return pb.ReplayDeadLetterResponse()

    async def Reconcile(self, request: pb.ReconcileRequest, context: Context) -> pb.ReconcileResponse:  # noqa: N802
        found = await answer(context, self._reconcile(request))
        return _message(pb.ReconcileResponse, documents.reconciliation(found))

    async def _reconcile(self, request: pb.ReconcileRequest) -> Any:
        if not request.receipts:
            return await self._desk.reconcile(None)
        try:
            lines = request.receipts.decode().splitlines()
        except UnicodeDecodeError as error:
            raise Rejected("receipts_unreadable", "the receipts are not UTF-8") from error
        return await self._desk.reconcile(parse_receipts(lines))


def ledger_server(desk: Desk, address: str) -> GrpcServer:
    """Raises `Unavailable` (`port_taken`)."""

    def register(server: Any) -> None:
        pb_grpc.add_LedgerServiceServicer_to_server(LedgerServicer(desk), server)

    return GrpcServer(SERVICE, register, address, message_bytes=_MESSAGE_BYTES)


def _message(kind: type[_MessageT], document: dict[str, Any]) -> _MessageT:
    return ParseDict(document, kind())


def _token(after: tuple[datetime, str]) -> str:
    return base64.urlsafe_b64encode(f"{after[0].isoformat()} {after[1]}".encode()).decode()


def _place(token: str) -> tuple[datetime, str]:
    try:
        opened, case_id = base64.urlsafe_b64decode(token.encode()).decode().split(" ")
        return datetime.fromisoformat(opened).astimezone(UTC), case_id
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise Rejected("page_token", "this page token was not given out by the ledger") from error
