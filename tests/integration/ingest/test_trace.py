"""One trace from the message to its facts; no attribute says anything of the patient."""

import asyncio

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hilum import telemetry
from hilum.contracts import topics
from hilum.hl7.mllp import encode


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "TRACER", provider.get_tracer("test"))
    return exporter


async def test_each_message_is_one_trace_from_socket_to_order(start, corpus, spans: InMemorySpanExporter) -> None:
    raw = corpus["orm-o01-2.3.1.hl7"]
    other = raw.replace(b"|A001|", b"|A999|")
    async with start() as ingest:
        reader, writer = await asyncio.open_connection("127.0.0.1", ingest.mllp_port)
        writer.write(encode(raw) + encode(other))
        await reader.readuntil(b"\x1c\x0d")
        await ingest.until(topics.ORDERS.name, 2)
        writer.close()
        messages = await ingest.records(topics.MESSAGES.name)
        orders = await ingest.records(topics.ORDERS.name)
    traces = [record.event.headers["traceparent"].split("-")[1] for record in messages]
    assert len(set(traces)) == 2
    assert [record.event.headers["traceparent"].split("-")[1] for record in orders] == traces
    found = spans.get_finished_spans()
    assert sorted(span.name for span in found) == ["ingest digests"] * 2 + ["ingest receives mllp"] * 2
    for span in found:
        parent_is_local = span.name == "ingest digests"
        assert (span.parent is not None) == parent_is_local
        text = str(dict(span.attributes or {}))
        assert not any(secret in text for secret in ("4711", "Example", "A3001", "P1001"))
