"""The Open Inference Protocol v2 over gRPC, with health and reflection."""

import asyncio
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health_aio
from grpc_reflection.v1alpha import reflection

from hilum import __version__
from hilum.errors import Duplicate, Fault, HilumError, Overloaded, Rejected, Unavailable
from hilum.inference.adapters.tensors import fill_response, tensors_of
from hilum.inference.app import Inference
from hilum.inference.engines.port import TensorSpec
from hilum.openinference import open_inference_grpc_pb2 as pb
from hilum.openinference import open_inference_grpc_pb2_grpc as pb_grpc

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
_NOT_FOUND = frozenset({"model_unknown", "version_unknown"})
_STATUS: dict[type[HilumError], grpc.StatusCode] = {
    Rejected: grpc.StatusCode.INVALID_ARGUMENT,
    Duplicate: grpc.StatusCode.ALREADY_EXISTS,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Unavailable: grpc.StatusCode.UNAVAILABLE,
    Fault: grpc.StatusCode.INTERNAL,
}
_LARGE = 64 * 1024  # bytes from which converting a message leaves the event loop
_PLATFORM = "onnx_onnxv1"
_T = TypeVar("_T")
_Context = grpc.aio.ServicerContext[Any, Any]


class InferenceServicer(pb_grpc.GRPCInferenceServiceServicer):
    """Each method answers from the core; every refusal has its status and coded reason."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def ServerLive(self, _request: pb.ServerLiveRequest, _context: _Context) -> pb.ServerLiveResponse:  # noqa: N802
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(  # noqa: N802
        self, _request: pb.ServerReadyRequest, _context: _Context
    ) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=True)

    async def ModelReady(self, request: pb.ModelReadyRequest, _context: _Context) -> pb.ModelReadyResponse:  # noqa: N802
        versions = self._inference.versions(request.name)
        ready = request.version in versions if request.version else bool(versions)
        return pb.ModelReadyResponse(ready=ready)

    async def ServerMetadata(  # noqa: N802
        self, _request: pb.ServerMetadataRequest, _context: _Context
    ) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name="hilum", version=__version__)

    async def ModelMetadata(  # noqa: N802
        self, request: pb.ModelMetadataRequest, context: _Context
    ) -> pb.ModelMetadataResponse:
        try:
            model = self._inference.model(request.name, request.version)
        except HilumError as error:
            await _abort(context, error)
        return pb.ModelMetadataResponse(
            name=model.key.name,
            versions=self._inference.versions(model.key.name),
            platform=_PLATFORM,
            inputs=[_metadata(spec) for spec in model.inputs],
            outputs=[_metadata(spec) for spec in model.outputs],
        )

    async def ModelInfer(self, request: pb.ModelInferRequest, context: _Context) -> pb.ModelInferResponse:  # noqa: N802
        large = request.ByteSize() > _LARGE
        try:
            model = self._inference.model(request.model_name, request.model_version)
            tensors = await _convert(lambda: tensors_of(request), aside=large)
            names = [output.name for output in request.outputs]
            outputs = await self._inference.infer(model, tensors, names)
        except HilumError as error:
            await _abort(context, error)
        response = pb.ModelInferResponse(model_name=model.key.name, model_version=model.key.version, id=request.id)
        raw = bool(request.raw_input_contents)
        await _convert(lambda: fill_response(response, model.outputs, outputs, raw=raw), aside=large)
        return response


class InferenceServer:
    """The listening server; `port` is the bound one after `start`."""

    def __init__(self, inference: Inference, address: str, message_bytes: int, drain_seconds: float) -> None:
        """``address`` is host:port; a port of 0 takes a free one. Raises Unavailable ``port_taken``."""
        self._drain_seconds = drain_seconds
        self._server = grpc.aio.server(
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
        pb_grpc.add_GRPCInferenceServiceServicer_to_server(InferenceServicer(inference), self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._server)
        self.port = _bound(self._server, address)

    async def start(self) -> None:
        await self._server.start()
        for name in ("", SERVICE):
            await self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    async def stop(self) -> None:
        """Tell the health checks, take nothing new, and let what is in hand finish."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(self._drain_seconds)


def _bound(server: grpc.aio.Server, address: str) -> int:
    try:
        port = server.add_insecure_port(address)
    except RuntimeError as error:
        raise Unavailable("port_taken", f"inference cannot listen on {address}") from error
    if port == 0:
        raise Unavailable("port_taken", f"inference cannot listen on {address}")
    return port


async def _abort(context: _Context, error: HilumError) -> NoReturn:
    status = grpc.StatusCode.NOT_FOUND if error.code in _NOT_FOUND else _STATUS[type(error)]
    await context.abort(status, str(error))


async def _convert(work: Callable[[], _T], *, aside: bool) -> _T:
    return await asyncio.to_thread(work) if aside else work()


def _metadata(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)
