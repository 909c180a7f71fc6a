"""IntakeService over gRPC: the same core as MLLP, with health and reflection."""

from collections.abc import AsyncIterator
from typing import Any

import grpc

from hilum.api.intake.v1 import intake_pb2, intake_pb2_grpc
from hilum.grpc_serving import Context, GrpcServer
from hilum.hl7.mllp import FramingFault
from hilum.ingest.app import Intake, Receipt

SERVICE = intake_pb2.DESCRIPTOR.services_by_name["IntakeService"]
ACKNOWLEDGEMENT_KEY = "hl7-acknowledgement-bin"
"""Trailing metadata that carries the HL7 acknowledgement of a refused message."""
_STATUS = {"AE": grpc.StatusCode.INVALID_ARGUMENT, "AR": grpc.StatusCode.FAILED_PRECONDITION}
_TRANSPORT = "grpc"


class IntakeServicer(intake_pb2_grpc.IntakeServiceServicer):
    """Every refusal has its status; its text is the coded reason, never content."""

    def __init__(self, intake: Intake, message_bytes: int) -> None:
        self._intake = intake
        self._limit = message_bytes

    async def Submit(  # noqa: N802
        self, request: intake_pb2.SubmitRequest, context: Context
    ) -> intake_pb2.SubmitResponse:
        receipt = await self._receive(request.message)
        outcome = receipt.outcome
        if outcome.code != "AA":
            context.set_trailing_metadata([(ACKNOWLEDGEMENT_KEY, receipt.acknowledgement)])
            status = _STATUS[outcome.code] if receipt.kept else grpc.StatusCode.UNAVAILABLE
            await context.abort(status, f"{outcome.reason}: {outcome.text}")
        return _response(receipt)

    async def SubmitStream(  # noqa: N802
        self, requests: AsyncIterator[intake_pb2.SubmitRequest], _context: Context
    ) -> AsyncIterator[intake_pb2.SubmitResponse]:
        async for request in requests:
            yield _response(await self._receive(request.message))

    async def _receive(self, raw: bytes) -> Receipt:
        if len(raw) > self._limit:
            fault = FramingFault("message_too_large", f"the message exceeds {self._limit} bytes", raw[: self._limit])
            return await self._intake.refuse(fault, _TRANSPORT)
        return await self._intake.receive(raw, _TRANSPORT)


def intake_server(intake: Intake, address: str, message_bytes: int, calls: int, drain_seconds: float) -> GrpcServer:
    """Raises Unavailable ``port_taken``."""

    def register(server: Any) -> None:
        intake_pb2_grpc.add_IntakeServiceServicer_to_server(IntakeServicer(intake, message_bytes), server)

    limit = message_bytes + 64 * 1024
    return GrpcServer(SERVICE, register, address, message_bytes=limit, calls=calls, drain_seconds=drain_seconds)


def _response(receipt: Receipt) -> intake_pb2.SubmitResponse:
    return intake_pb2.SubmitResponse(
        acknowledgement=receipt.acknowledgement,
        acknowledgement_code=receipt.outcome.code,
        message_control_id=receipt.message_control_id,
        event_id=receipt.event_id,
        reason=receipt.outcome.reason,
    )
