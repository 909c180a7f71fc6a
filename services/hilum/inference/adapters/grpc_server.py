"""The Open Inference Protocol v2 over gRPC, with health and reflection."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from hilum import __version__
from hilum.grpc_serving import Context, GrpcServer, answer
from hilum.inference.adapters.tensors import fill_response, tensors_of
from hilum.inference.app import Inference
from hilum.inference.engines.port import Tensor, TensorSpec
from hilum.inference.ports import LoadedModel
from hilum.openinference import open_inference_grpc_pb2 as pb
from hilum.openinference import open_inference_grpc_pb2_grpc as pb_grpc

SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
_NOT_FOUND = frozenset({"model_unknown", "version_unknown"})
_LARGE = 64 * 1024  # bytes from which converting a message leaves the event loop
_PLATFORM = "onnx_onnxv1"
_T = TypeVar("_T")


class InferenceServicer(pb_grpc.GRPCInferenceServiceServicer):
    """Each method answers from the core; every refusal has its status and coded reason."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    async def ServerLive(self, _request: pb.ServerLiveRequest, _context: Context) -> pb.ServerLiveResponse:  # noqa: N802
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(  # noqa: N802
        self, _request: pb.ServerReadyRequest, _context: Context
    ) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=True)

    async def ModelReady(self, request: pb.ModelReadyRequest, _context: Context) -> pb.ModelReadyResponse:  # noqa: N802
        versions = self._inference.versions(request.name)
        ready = request.version in versions if request.version else bool(versions)
        return pb.ModelReadyResponse(ready=ready)

    async def ServerMetadata(  # noqa: N802
        self, _request: pb.ServerMetadataRequest, _context: Context
    ) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name="hilum", version=__version__)

    async def ModelMetadata(  # noqa: N802
        self, request: pb.ModelMetadataRequest, context: Context
    ) -> pb.ModelMetadataResponse:
        model = await answer(context, self._model(request.name, request.version), _NOT_FOUND)
        return pb.ModelMetadataResponse(
            name=model.key.name,
            versions=self._inference.versions(model.key.name),
            platform=_PLATFORM,
            inputs=[_metadata(spec) for spec in model.inputs],
            outputs=[_metadata(spec) for spec in model.outputs],
        )

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:  # noqa: N802
        large = request.ByteSize() > _LARGE
        model, outputs = await answer(context, self._infer(request, aside=large), _NOT_FOUND)
        response = pb.ModelInferResponse(model_name=model.key.name, model_version=model.key.version, id=request.id)
        raw = bool(request.raw_input_contents)
        await _convert(lambda: fill_response(response, model.outputs, outputs, raw=raw), aside=large)
        return response

    async def _model(self, name: str, version: str) -> LoadedModel:
        return self._inference.model(name, version)

    async def _infer(self, request: pb.ModelInferRequest, *, aside: bool) -> tuple[LoadedModel, Mapping[str, Tensor]]:
        model = self._inference.model(request.model_name, request.model_version)
        tensors = await _convert(lambda: tensors_of(request), aside=aside)
        return model, await self._inference.infer(model, tensors, [output.name for output in request.outputs])


def inference_server(inference: Inference, address: str, message_bytes: int, drain_seconds: float) -> GrpcServer:
    """Raises Unavailable ``port_taken``."""

    def register(server: Any) -> None:
        pb_grpc.add_GRPCInferenceServiceServicer_to_server(InferenceServicer(inference), server)

    return GrpcServer(SERVICE, register, address, message_bytes=message_bytes, drain_seconds=drain_seconds)


async def _convert(work: Callable[[], _T], *, aside: bool) -> _T:
    return await asyncio.to_thread(work) if aside else work()


def _metadata(spec: TensorSpec) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(name=spec.name, datatype=spec.datatype, shape=spec.shape)
