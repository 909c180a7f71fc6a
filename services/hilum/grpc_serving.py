"""gRPC servers of one kind: bound limits, health, reflection, draining; and the status of each of our errors."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from hilum.errors import Duplicate, Fault, HilumError, Overloaded, Rejected, Unavailable

_STATUS: dict[type[HilumError], grpc.StatusCode] = {
    Rejected: grpc.StatusCode.INVALID_ARGUMENT,
    Duplicate: grpc.StatusCode.ALREADY_EXISTS,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    Fault: grpc.StatusCode.INTERNAL,
}
_T = TypeVar("_T")

Context = grpc.aio.ServicerContext[Any, Any]


async def answer(
    context: Context,
    work: Awaitable[_T],
    not_found: frozenset[str] = frozenset(),
    failed_precondition: frozenset[str] = frozenset(),
) -> _T:
    """What ``work`` gives; a `HilumError` ends the call by its class, or as its code is told of in the sets."""
    try:
        return await work
    except HilumError as error:
        status = _STATUS[type(error)]
        if error.code in not_found:
            status = grpc.StatusCode.NOT_FOUND
        elif error.code in failed_precondition:
            status = grpc.StatusCode.FAILED_PRECONDITION
        await context.abort(status, str(error))


class GrpcServer:
    """The listening server; `port` is the bound one."""

    def __init__(
        self,
        service: ServiceDescriptor,
        register: Callable[[grpc.aio.Server], None],
        address: str,
        *,
        message_bytes: int,
        calls: int | None = None,
        drain_seconds: float = 5.0,
    ) -> None:
        """``address`` is host:port; a port of 0 takes a free one. ``calls`` bounds those served at once.

        Raises Unavailable ``port_taken``.
        """
        self._service = service.full_name
        self._drain_seconds = drain_seconds
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=calls,
            options=[
                ("grpc.max_receive_message_length", message_bytes),
                ("grpc.max_send_message_length", message_bytes),
                ("grpc.so_reuseport", 0),  # a second server on the port must fail, not share it
                ("grpc.max_connection_age_ms", 30 * 60 * 1000),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
            ],
        )
        self._health = health_aio.HealthServicer()
        register(self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        health = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        reflection.enable_server_reflection((self._service, health, reflection.SERVICE_NAME), self._server)
        try:
            self.port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise Unavailable("port_taken", f"{service.name} cannot listen for gRPC on {address}") from error

    async def start(self) -> None:
        await self._server.start()
        for name in ("", self._service):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """Tell the health checks, take nothing new, and let what is in hand finish."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._drain_seconds)


@asynccontextmanager
async def open_door(server: GrpcServer | None) -> AsyncIterator[None]:
    """``server`` answers for as long as this is held; None where a site keeps the door shut."""
    if server is None:
        yield
        return
    await server.start()
    try:
        yield
    finally:
        await server.stop()
