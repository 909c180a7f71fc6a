"""IntakeService over gRPC: the same core as MLLP, with health and reflection."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from hilum.api.intake.v1 import intake_pb2, intake_pb2_grpc
from hilum.errors import Unavailable
from hilum.hl7.mllp import FramingFault
from hilum.ingest.app import Intake, Receipt

SERVICE = intake_pb2.DESCRIPTOR.services_by_name["IntakeService"].full_name
ACKNOWLEDGEMENT_KEY = "hl7-acknowledgement-bin"
"""Trailing metadata that carries the HL7 acknowledgement of a refused message."""
_STATUS = {"AE": grpc.StatusCode.INVALID_ARGUMENT, "AR": grpc.StatusCode.FAILED_PRECONDITION}
_TRANSPORT = "grpc"
_Context = grpc.aio.ServicerContext[Any, Any]


class IntakeServicer(intake_pb2_grpc.IntakeServiceServicer):
    """Every refusal has its status; its text is the coded reason, never content."""

    def __init__(self, intake: Intake, message_bytes: int) -> None:
        self._intake = intake
        self._limit = message_bytes

    async def Submit(  # noqa: N802
        self, request: intake_pb2.SubmitRequest, context: _Context
    ) -> intake_pb2.SubmitResponse:
        receipt = await self._receive(request.message)
        outcome = receipt.outcome
        if outcome.code != "AA":
            context.set_trailing_metadata([(ACKNOWLEDGEMENT_KEY, receipt.acknowledgement)])
            status = _STATUS[outcome.code] if receipt.kept else grpc.StatusCode.UNAVAILABLE
            await context.abort(status, f"{outcome.reason}: {outcome.text}")
        return _response(receipt)

    async def SubmitStream(  # noqa: N802
        self, requests: AsyncIterator[intake_pb2.SubmitRequest], _context: _Context
    ) -> AsyncIterator[intake_pb2.SubmitResponse]:
        async for request in requests:
            yield _response(await self._receive(request.message))

    async def _receive(self, raw: bytes) -> Receipt:
        if len(raw) > self._limit:
            fault = FramingFault("message_too_large", f"the message exceeds {self._limit} bytes", raw[: self._limit])
            return await self._intake.refuse(fault, _TRANSPORT)
        return await self._intake.receive(raw, _TRANSPORT)


class IntakeServer:
    """The listening server; `port` is the bound one."""

    def __init__(self, intake: Intake, address: str, message_bytes: int, calls: int, drain_seconds: float) -> None:
        """Binds ``address`` (host:port; port 0 takes a free one). Raises Unavailable ``port_taken``."""
        self._drain_seconds = drain_seconds
        limit = message_bytes + 64 * 1024
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=calls,
            options=[
                ("grpc.max_receive_message_length", limit),
                ("grpc.max_send_message_length", limit),
                ("grpc.so_reuseport", 0),  # a second server on the port must fail, not share it
                ("grpc.max_connection_age_ms", 30 * 60 * 1000),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        self._health = health_aio.HealthServicer()
        servicer = IntakeServicer(intake, message_bytes)
        intake_pb2_grpc.add_IntakeServiceServicer_to_server(servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise Unavailable("port_taken", f"ingest cannot listen for gRPC on {address}") from error

    async def start(self) -> None:
        await self._server.start()
        for name in ("", SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """Tell the health checks, take nothing new, and let what is in hand finish."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._drain_seconds)


def _response(receipt: Receipt) -> intake_pb2.SubmitResponse:
    return intake_pb2.SubmitResponse(
        acknowledgement=receipt.acknowledgement,
        acknowledgement_code=receipt.outcome.code,
        message_control_id=receipt.message_control_id,
        event_id=receipt.event_id,
        reason=receipt.outcome.reason,
    )
