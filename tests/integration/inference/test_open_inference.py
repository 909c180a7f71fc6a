"""The Open Inference Protocol, with messages known by reflection alone, as grpcurl does it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from hilum.errors import Unavailable
from scenes.inference import MODEL, WAIT_SECONDS, World, channel_to


class Reflected:
    """A client that knows nothing of the service but its name."""

    def __init__(self, channel: grpc.aio.Channel, pool: descriptor_pool.DescriptorPool) -> None:
        self._channel = channel
        self._methods = pool.FindServiceByName("inference.GRPCInferenceService").methods_by_name  # type: ignore[no-untyped-call]

    @classmethod
    async def over(cls, channel: grpc.aio.Channel) -> "Reflected":
        ask = reflection_pb2.ServerReflectionRequest(file_containing_symbol="inference.GRPCInferenceService")
        pool = descriptor_pool.DescriptorPool()
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([ask]))
        async for answer in stream:
            for serialised in answer.file_descriptor_response.file_descriptor_proto:
                pool.Add(descriptor_pb2.FileDescriptorProto.FromString(serialised))  # type: ignore[no-untyped-call]
        return cls(channel, pool)

    def message(self, method: str, **fields: Any) -> Any:
        return message_factory.GetMessageClass(self._methods[method].input_type)(**fields)

    async def call(self, method: str, request: Any = None, **fields: Any) -> Any:
        descriptor = self._methods[method]
        request = self.message(method, **fields) if request is None else request
        answer = message_factory.GetMessageClass(descriptor.output_type)
        unary = self._channel.unary_unary(
            f"/inference.GRPCInferenceService/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )
        return await unary(request, timeout=WAIT_SECONDS)


@pytest.fixture
async def client(world: World) -> AsyncIterator[Reflected]:
    async with world.running() as service, channel_to(service) as channel:
        yield await Reflected.over(channel)


def image_request(client: Reflected, values: Any, *, raw: bool, **fields: Any) -> Any:
    tensor: dict[str, Any] = {"name": "image", "datatype": "FP32", "shape": list(values.shape)}
    if raw:
        return client.message(
            "ModelInfer", model_name=MODEL, inputs=[tensor], raw_input_contents=[values.tobytes()], **fields
        )
    tensor["contents"] = {"fp32_contents": values.reshape(-1).tolist()}
    return client.message("ModelInfer", model_name=MODEL, inputs=[tensor], **fields)


async def test_the_server_tells_what_it_is_and_what_it_serves(client: Reflected) -> None:
    assert (await client.call("ServerLive")).live
    assert (await client.call("ServerReady")).ready
    assert (await client.call("ServerMetadata")).name == "hilum"
    assert (await client.call("ModelReady", name=MODEL)).ready
    assert (await client.call("ModelReady", name=MODEL, version="1.0.0")).ready
    assert not (await client.call("ModelReady", name=MODEL, version="9.0.0")).ready
    assert not (await client.call("ModelReady", name="unheard-of")).ready
    metadata = await client.call("ModelMetadata", name=MODEL)
    assert list(metadata.versions) == ["1.0.0"]
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in metadata.inputs] == [
        ("image", "FP32", [-1, 1, 64, 64])
    ]
    assert {tensor.name for tensor in metadata.outputs} == {"prob", "cam"}


@pytest.mark.parametrize("raw", [True, False])
async def test_a_batch_is_inferred_by_raw_and_by_typed_contents(client: Reflected, raw: bool) -> None:
    values = np.zeros((2, 1, 64, 64), np.float32)
    values[1] = 1
    answer = await client.call("ModelInfer", image_request(client, values, raw=raw, id="abc"))
    assert (answer.model_name, answer.model_version, answer.id) == (MODEL, "1.0.0", "abc")
    shapes = {output.name: list(output.shape) for output in answer.outputs}
    assert shapes == {"prob": [2, 1], "cam": [2, 1, 8, 8]}
    place = [output.name for output in answer.outputs].index("prob")
    contents = answer.outputs[place].contents.fp32_contents
    prob = np.frombuffer(answer.raw_output_contents[place], "<f4") if raw else np.array(contents)
    assert prob == pytest.approx([0.018, 0.982], abs=1e-3)


async def test_only_the_outputs_that_are_asked_for_are_given(client: Reflected) -> None:
    request = image_request(client, np.zeros((1, 1, 64, 64), np.float32), raw=True, outputs=[{"name": "prob"}])
    assert [output.name for output in (await client.call("ModelInfer", request)).outputs] == ["prob"]


async def status_of(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), (caught.value.details() or "").partition(":")[0]


async def test_every_refusal_has_its_status_and_coded_reason(client: Reflected) -> None:
    image = np.zeros((1, 1, 64, 64), np.float32)
    invalid, missing = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND

    async def infer(values: Any = image, **changes: Any) -> tuple[grpc.StatusCode, str]:
        request = image_request(client, values, raw=True)
        request.MergeFrom(client.message("ModelInfer", **changes))
        return await status_of(client.call("ModelInfer", request))

    assert await infer(model_name="unheard-of") == (missing, "model_unknown")
    assert await infer(model_version="9.0.0") == (missing, "version_unknown")
    assert await infer(outputs=[{"name": "other"}]) == (invalid, "tensor_name")
    assert await infer(raw_input_contents=[b""]) == (invalid, "tensor_contents")
    assert await infer(np.zeros((1, 1, 32, 32), np.float32)) == (invalid, "tensor_shape")
    assert await infer(np.full((1, 1, 64, 64), np.inf, np.float32)) == (invalid, "tensor_value")
    assert await status_of(client.call("ModelInfer", model_name=MODEL)) == (invalid, "tensor_name")
    assert await status_of(client.call("ModelMetadata", name="unheard-of")) == (missing, "model_unknown")


async def test_a_message_beyond_the_limit_is_refused_and_the_next_is_served(client: Reflected) -> None:
    huge = np.zeros((1100, 1, 64, 64), np.float32)
    status, _ = await status_of(client.call("ModelInfer", image_request(client, huge, raw=True)))
    assert status is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await client.call("ServerLive")).live


async def test_health_says_serving_for_the_server_and_for_the_service(world: World) -> None:
    async with world.running() as service, channel_to(service) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for name in ("", "inference.GRPCInferenceService"):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=name), timeout=WAIT_SECONDS)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_too_many_that_wait_are_told_to_back_off(world: World) -> None:
    async with world.running(requests_waiting=1) as service, channel_to(service) as channel:
        client = await Reflected.over(channel)
        image = np.zeros((1, 1, 64, 64), np.float32)
        os.kill(service.workers.pids[0], signal.SIGSTOP)
        try:
            calls = [
                asyncio.create_task(client.call("ModelInfer", image_request(client, image, raw=True))) for _ in range(3)
            ]
            done, _ = await asyncio.wait(calls, timeout=WAIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            assert await status_of(done.pop()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "engine_busy")
        finally:
            os.kill(service.workers.pids[0], signal.SIGCONT)
        answers = await asyncio.gather(*calls, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert {answer.code() for answer in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert len(refused) < len(answers)  # who could wait was served once the worker went on


async def test_a_caller_that_goes_away_leaves_the_worker_in_order(world: World) -> None:
    async with world.running() as service, channel_to(service) as channel:
        client = await Reflected.over(channel)
        pids = service.workers.pids
        values = np.zeros((64, 1, 64, 64), np.float32)
        for _ in range(5):
            call = asyncio.create_task(client.call("ModelInfer", image_request(client, values, raw=True)))
            await asyncio.sleep(0.005)
            call.cancel()
        one = np.ones((1, 1, 64, 64), np.float32)
        answer = await client.call("ModelInfer", image_request(client, one, raw=True))
        assert answer.outputs[0].shape[0] == 1
        assert service.workers.pids == pids


async def test_a_port_that_is_taken_stops_the_start(world: World) -> None:
    async with world.running() as service:
        with pytest.raises(Unavailable, match="port_taken"):
            async with world.running(grpc_port=service.grpc_port):
                pass
