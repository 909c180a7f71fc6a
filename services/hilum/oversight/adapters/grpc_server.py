"""OversightService over gRPC, with health and reflection. Every refusal has its status and coded reason."""

from typing import Any

from hilum.api.oversight.v1 import oversight_pb2 as pb
from hilum.api.oversight.v1 import oversight_pb2_grpc as pb_grpc
from hilum.grpc_serving import Context, GrpcServer, answer
from hilum.oversight.adapters.desk import Desk, document

SERVICE = pb.DESCRIPTOR.services_by_name["OversightService"]
_NOT_FOUND = frozenset({"model_unknown"})


class OversightServicer(pb_grpc.OversightServiceServicer):
    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def ListModels(self, _request: pb.ListModelsRequest, context: Context) -> pb.ListModelsResponse:  # noqa: N802
        found = await answer(context, self._desk.models())
        return pb.ListModelsResponse(models=[pb.ModelView(**document(model)) for model in found])

    async def SetModelState(  # noqa: N802
        self, request: pb.SetModelStateRequest, context: Context
    ) -> pb.SetModelStateResponse:
        policy = await answer(context, self._desk.set_state(request.name, request.state, request.reason), _NOT_FOUND)
        return pb.SetModelStateResponse(revision=policy.revision)


def oversight_server(desk: Desk, address: str) -> GrpcServer:
    """Raises `Unavailable` (`port_taken`)."""

    def register(server: Any) -> None:
        pb_grpc.add_OversightServiceServicer_to_server(OversightServicer(desk), server)

    return GrpcServer(SERVICE, register, address, message_bytes=1024 * 1024)
