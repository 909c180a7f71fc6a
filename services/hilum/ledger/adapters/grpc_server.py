"""LedgerService over gRPC, with health and reflection. Every refusal has its status and coded reason."""

import base64
import binascii
from collections.abc import Awaitable
from datetime import UTC, datetime
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from hilum.api.worklist.v1 import worklist_pb2 as pb
from hilum.api.worklist.v1 import worklist_pb2_grpc as pb_grpc
from hilum.errors import Duplicate, Fault, HilumError, Overloaded, Rejected, Unavailable
from hilum.ledger.adapters import documents
from hilum.ledger.adapters.desk import Desk
from hilum.ledger.domain.receipts import parse_receipts
from hilum.ledger.ports import Selection

SERVICE = pb.DESCRIPTOR.services_by_name["LedgerService"].full_name
_NOT_FOUND = frozenset({"dead_letter_unknown"})
_STATUS: dict[type[HilumError], grpc.StatusCode] = {
    Rejected: grpc.StatusCode.INVALID_ARGUMENT,
    Duplicate: grpc.StatusCode.ALREADY_EXISTS,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    Fault: grpc.StatusCode.INTERNAL,
}
_PAGE = 200
_LARGEST_PAGE = 1000
_MESSAGE_BYTES = 16 * 1024 * 1024
_DRAIN_SECONDS = 5.0
_Context = grpc.aio.ServicerContext[Any, Any]
_T = TypeVar("_T")
_MessageT = TypeVar("_MessageT", bound=Message)


class LedgerServicer(pb_grpc.LedgerServiceServicer):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ListCases(self, request: pb.ListCasesRequest, context: _Context) -> pb.ListCasesResponse:  # noqa: N802
        page = await _answer(context, self._cases(request))
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

    async def Worklist(self, _request: pb.WorklistRequest, context: _Context) -> pb.WorklistResponse:  # noqa: N802
        found = await _answer(context, self._desk.worklist())
        entries = [_message(pb.WorklistEntry, documents.worklist_entry(one)) for one in found]
        return pb.WorklistResponse(entries=entries)

    async def ListDeadLetters(  # noqa: N802
        self, _request: pb.ListDeadLettersRequest, context: _Context
    ) -> pb.ListDeadLettersResponse:
        found = await _answer(context, self._desk.dead_letters())
        letters = [_message(pb.DeadLetterView, documents.dead_letter(one)) for one in found]
        return pb.ListDeadLettersResponse(dead_letters=letters)

    async def GetDeadLetter(  # noqa: N802
        self, request: pb.GetDeadLetterRequest, context: _Context
    ) -> pb.GetDeadLetterResponse:
        letter = await _answer(context, self._desk.dead_letter(request.dead_letter_id))
        return pb.GetDeadLetterResponse(
            dead_letter=_message(pb.DeadLetterView, documents.dead_letter(letter)),
            type=letter.type,
            event_id=letter.event_id,
            payload=letter.payload if request.include_payload else b"",
        )

    async def ReplayDeadLetter(  # noqa: N802
        self, request: pb.ReplayDeadLetterRequest, context: _Context
    ) -> pb.ReplayDeadLetterResponse:
        await _answer(context, self._desk.replay(request.dead_letter_id))
        return pb.ReplayDeadLetterResponse()

    async def Reconcile(self, request: pb.ReconcileRequest, context: _Context) -> pb.ReconcileResponse:  # noqa: N802
        found = await _answer(context, self._reconcile(request))
        return _message(pb.ReconcileResponse, documents.reconciliation(found))

    async def _reconcile(self, request: pb.ReconcileRequest) -> Any:
        if not request.receipts:
            return await self._desk.reconcile(None)
        try:
            lines = request.receipts.decode().splitlines()
        except UnicodeDecodeError as error:
            raise Rejected("receipts_unreadable", "the receipts are not UTF-8") from error
        return await self._desk.reconcile(parse_receipts(lines))


class LedgerServer:
    """The listening server; `port` is the bound one. Raises `Unavailable` (`port_taken`)."""

    def __init__(self, desk: Desk, address: str) -> None:
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", _MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MESSAGE_BYTES),
                ("grpc.so_reuseport", 0),  # a second server on the port must fail, not share it
                ("grpc.max_connection_age_ms", 30 * 60 * 1000),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        self._health = health_aio.HealthServicer()
        pb_grpc.add_LedgerServiceServicer_to_server(LedgerServicer(desk), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise Unavailable("port_taken", f"the ledger cannot listen for gRPC on {address}") from error

    async def start(self) -> None:
        await self._server.start()
        for name in ("", SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        await self._health.enter_graceful_shutdown()
        await self._server.stop(_DRAIN_SECONDS)


async def _answer(context: _Context, work: Awaitable[_T]) -> _T:
    try:
        return await work
    except HilumError as error:
        status = grpc.StatusCode.NOT_FOUND if error.code in _NOT_FOUND else _STATUS[type(error)]
        await context.abort(status, str(error))


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
