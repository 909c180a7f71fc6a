"""IntakeService as a client sees it that knows nothing but its reflection."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from hilum.contracts import topics
from hilum.hl7.acknowledgement import read_acknowledgement

SERVICE = "hilum.api.intake.v1.IntakeService"


class ReflectedIntake:
    """Messages and methods made from what the server says of itself."""

    def __init__(self, channel: grpc.Channel) -> None:
        database = ProtoReflectionDescriptorDatabase(channel)
        self.services = list(database.get_services())
        pool = descriptor_pool.DescriptorPool(database)
        service = pool.FindServiceByName(SERVICE)
        method = service.FindMethodByName("Submit")
        self._request: Any = message_factory.GetMessageClass(method.input_type)
        response: Any = message_factory.GetMessageClass(method.output_type)
        how = {"request_serializer": self._request.SerializeToString, "response_deserializer": response.FromString}
        self._submit = channel.unary_unary(f"/{SERVICE}/Submit", **how)
        self._stream = channel.stream_stream(f"/{SERVICE}/SubmitStream", **how)

    def submit(self, raw: bytes) -> Any:
        return self._submit(self._request(message=raw), timeout=20)

    def stream(self, messages: list[bytes]) -> list[Any]:
        return list(self._stream(iter([self._request(message=raw) for raw in messages]), timeout=20))


@contextmanager
def client(port: int) -> Iterator[ReflectedIntake]:
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.max_send_message_length", -1)]) as channel:
        yield ReflectedIntake(channel)


def submit(port: int, raw: bytes) -> Any:
    with client(port) as intake:
        return intake.submit(raw)


async def test_a_message_is_acknowledged_once_it_is_durable(start, corpus) -> None:
    raw = corpus["omi-o23-2.5.1.hl7"]
    async with start() as ingest:
        response = await asyncio.to_thread(submit, ingest.grpc_port, raw)
        assert (response.acknowledgement_code, response.message_control_id) == ("AA", "A003")
        assert read_acknowledgement(response.acknowledgement).accepted
        (record,) = await ingest.records(topics.MESSAGES.name)
        assert record.event.event_id == response.event_id
        assert len(await ingest.until(topics.ORDERS.name, 1)) == 1


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("bad-no-patient-id.hl7", grpc.StatusCode.INVALID_ARGUMENT, "required_field_missing"),
        ("bad-type.hl7", grpc.StatusCode.FAILED_PRECONDITION, "message_type_unsupported"),
        ("bad-bytes.hl7", grpc.StatusCode.INVALID_ARGUMENT, "header_missing"),
    ],
)
async def test_a_refusal_is_a_status_that_carries_the_acknowledgement(start, corpus, name, status, reason) -> None:
    async with start() as ingest:
        with pytest.raises(grpc.RpcError) as caught:
            await asyncio.to_thread(submit, ingest.grpc_port, corpus[name])
        error: Any = caught.value
        assert error.code() == status
        assert error.details().startswith(f"{reason}: ")
        metadata = dict(error.trailing_metadata())
        assert b"MSA|A" in metadata["hl7-acknowledgement-bin"]
        (letter,) = await ingest.dead_letters(1)
        assert letter.reason == reason


async def test_a_log_that_does_not_take_it_is_unavailable(start, corpus) -> None:
    async with start() as ingest:
        ingest.log.failing = True
        with pytest.raises(grpc.RpcError) as caught:
            await asyncio.to_thread(submit, ingest.grpc_port, corpus["adt-a01-2.3.hl7"])
        error: Any = caught.value
        assert error.code() == grpc.StatusCode.UNAVAILABLE
        assert await ingest.messages() == []


async def test_a_stream_answers_each_in_order_and_a_refusal_does_not_end_it(start, corpus) -> None:
    names = ["adt-a01-2.3.hl7", "bad-type.hl7", "orm-o01-2.3.1.hl7"]

    def stream(port: int) -> list[Any]:
        with client(port) as intake:
            return intake.stream([corpus[name] for name in names])

    async with start() as ingest:
        responses = await asyncio.to_thread(stream, ingest.grpc_port)
        assert [response.acknowledgement_code for response in responses] == ["AA", "AR", "AA"]
        assert [response.message_control_id for response in responses] == ["A020", "A053", "A001"]
        assert responses[1].reason == "message_type_unsupported"


async def test_a_message_over_the_limit_is_refused_and_kept_in_part(start, corpus) -> None:
    async with start(message_bytes=4096) as ingest:
        with pytest.raises(grpc.RpcError) as caught:
            await asyncio.to_thread(submit, ingest.grpc_port, corpus["adt-a01-2.3.hl7"] + b"x" * 10_000)
        error: Any = caught.value
        assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
        (letter,) = await ingest.dead_letters(1)
        assert letter.reason == "message_too_large"


async def test_health_and_reflection_answer(start) -> None:
    def ask(port: int) -> tuple[list[str], list[int]]:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            health = health_pb2_grpc.HealthStub(channel)
            states = [health.Check(health_pb2.HealthCheckRequest(service=name)).status for name in ("", SERVICE)]
            return ReflectedIntake(channel).services, states

    async with start() as ingest:
        services, states = await asyncio.to_thread(ask, ingest.grpc_port)
        assert SERVICE in services
        assert "grpc.health.v1.Health" in services
        assert states == [health_pb2.HealthCheckResponse.SERVING] * 2
