"""The trace that began with the message ends with the RIS' acknowledgement, and says nothing of the patient."""

from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from hilum import telemetry
from hilum.contracts import topics
from hilum.eventlog.port import Event, TopicPartition
from hilum.simulator.ris import Ris
from scenes.system import case_message, integration, make_site, result_message


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "TRACER", provider.get_tracer("test"))
    return exporter


async def test_the_acknowledgement_is_in_the_trace_of_the_result(spans: InMemorySpanExporter, tmp_path: Path) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    ris = Ris()
    await ris.start()
    try:
        async with integration(tmp_path, make_site(ris={"port": ris.port})) as system:
            await system.say_case(case_message())
            with telemetry.continued({"traceparent": f"00-{trace}-b7ad6b7169203331-01"}):
                await system.say_result(result_message())
            assert (await system.ended("priority"))["priority"].state == "landed"
            headers = [event.headers["traceparent"].split("-")[1] for event in await _deliveries(system.log)]
    finally:
        await ris.stop()
    (delivered,) = [span for span in spans.get_finished_spans() if span.name == "deliver priority"]
    assert delivered.context is not None
    assert f"{delivered.context.trace_id:032x}" == trace
    assert (delivered.attributes or {})["hilum.outcome"] == "landed"
    assert headers == [trace, trace]
    said = str([dict(span.attributes or {}) for span in spans.get_finished_spans()])
    assert not any(secret in said for secret in ("PAT-001", "Testperson", "ACC-1001"))


async def _deliveries(log: object) -> list[Event]:
    async def start(_: TopicPartition) -> int:
        return 0

    reader = await log.reader("trace", (topics.DELIVERIES.name,), start)  # type: ignore[attr-defined]
    try:
        return [record.event for record in await reader.fetch(64, 1.0)]
    finally:
        await reader.close()
