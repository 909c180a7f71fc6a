"""OversightService over gRPC, with health and reflection. Every refusal has its status and coded reason."""

from collections.abc import Awaitable
from typing import Any, TypeVar

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from hilum.api.oversight.v1 import oversight_pb2 as pb
from hilum.api.oversight.v1 import oversight_pb2_grpc as pb_grpc
from hilum.errors import Duplicate, Fault, HilumError, Overloaded, Rejected, Unavailable
from hilum.oversight.adapters.desk import Desk, document

SERVICE = pb.DESCRIPTOR.services_by_name["OversightService"].full_name
_NOT_FOUND = frozenset({"model_unknown"})
_STATUS: dict[type[HilumError], grpc.StatusCode] = {
    Rejected: grpc.StatusCode.INVALID_ARGUMENT,
    Duplicate: grpc.StatusCode.ALREADY_EXISTS,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    Fault: grpc.StatusCode.INTERNAL,
}
_DRAIN_SECONDS = 5.0
_Context = grpc.aio.ServicerContext[Any, Any]
_T = TypeVar("_T")


class OversightServicer(pb_grpc.OversightServiceServicer):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ListModels(self, _request: pb.ListModelsRequest, context: _Context) -> pb.ListModelsResponse:  # noqa: N802
        found = await _answer(context, self._desk.models())
        return pb.ListModelsResponse(models=[pb.ModelView(**document(model)) for model in found])

    async def SetModelState(  # noqa: N802
        self, request: pb.SetModelStateRequest, context: _Context
    ) -> pb.SetModelStateResponse:
        policy = await _answer(context, self._desk.set_state(request.name, request.state, request.reason))
        return pb.SetModelStateResponse(revision=policy.revision)


class OversightServer:
    """The listening server; `port` is the bound one. Raises `Unavailable` (`port_taken`)."""

    def __init__(self, desk: Desk, address: str) -> None:
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", 1024 * 1024),
                ("grpc.so_reuseport", 0),  # a second server on the port must fail, not share it
                ("grpc.max_connection_age_ms", 30 * 60 * 1000),
                ("grpc.keepalive_time_ms", 60_000),
            ],
        )
        self._health = health_aio.HealthServicer()
        pb_grpc.add_OversightServiceServicer_to_server(OversightServicer(desk), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise Unavailable("port_taken", f"oversight cannot listen for gRPC on {address}") from error

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
