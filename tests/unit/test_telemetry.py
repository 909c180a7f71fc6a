"""One trace across services; nothing of a patient in it."""

from collections.abc import Iterator

import pytest
from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from hilum import telemetry
from hilum.errors import HilumError, Rejected

PARENT = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "TRACER", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


def test_a_span_is_the_child_of_the_headers_context(spans: InMemorySpanExporter) -> None:
    with telemetry.span("hears", SpanKind.CONSUMER, PARENT, {"hilum.case_id": "c"}):
        headers = telemetry.headers_of_current_context()
    (span,) = spans.get_finished_spans()
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == "b7ad6b7169203331"
    assert headers["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")
    assert headers["traceparent"] != PARENT["traceparent"]
    assert dict(span.attributes or {}) == {"hilum.case_id": "c"}


def test_empty_headers_begin_a_trace_of_their_own(spans: InMemorySpanExporter) -> None:
    with telemetry.span("outer"), telemetry.span("inner", headers={}):
        pass
    inner, outer = spans.get_finished_spans()
    assert inner.parent is None
    assert inner.context is not None
    assert outer.context is not None
    assert inner.context.trace_id != outer.context.trace_id


def test_without_a_provider_the_trace_is_handed_on_unchanged() -> None:
    with telemetry.span("hears", headers=PARENT):
        assert telemetry.headers_of_current_context() == PARENT


def test_continued_runs_under_the_headers_context() -> None:
    with telemetry.continued(PARENT):
        assert telemetry.headers_of_current_context() == PARENT
    assert telemetry.headers_of_current_context() == {}


@pytest.mark.parametrize("header", ["", "nonsense", "00-" + "0" * 32 + "-" + "0" * 16 + "-01", "ff-" + "a" * 400])
def test_a_header_that_is_no_trace_context_is_ignored(header: str) -> None:
    with telemetry.continued({"traceparent": header, "tracestate": "a=" + "x" * 1000}):
        assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize(
    ("error", "code"),
    [(ValueError("cannot parse DOE^JANE"), "unexpected:ValueError"), (Rejected("bad_name", "told"), "bad_name")],
)
def test_an_error_marks_the_span_by_its_code_and_quotes_nothing(
    spans: InMemorySpanExporter, error: Exception | HilumError, code: str
) -> None:
    with pytest.raises(type(error)), telemetry.span("hears"):
        raise error
    (span,) = spans.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == code
    assert "DOE" not in _everything(span)
    assert span.events == ()


def _everything(span: ReadableSpan) -> str:
    return span.to_json()


def test_a_flood_of_messages_is_no_flood_of_traces_and_what_follows_is_whole(
    spans: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 5.0
    provider = TracerProvider(ParentBased(telemetry.AtMost(3, lambda: now)))
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(telemetry, "TRACER", provider.get_tracer("test"))

    def message() -> None:
        with telemetry.span("receives"):
            headers = telemetry.headers_of_current_context()
        with telemetry.span("digests", headers=headers):
            pass

    for _ in range(10):
        message()
    assert len(spans.get_finished_spans()) == 6  # three traces of two
    now = 6.0
    message()
    names = [span.name for span in spans.get_finished_spans()]
    assert names == ["receives", "digests"] * 4
    provider.shutdown()


def test_a_tally_is_read_when_metrics_are_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    reader = InMemoryMetricReader()
    monkeypatch.setattr(metrics, "get_meter", MeterProvider([reader]).get_meter)
    tally = telemetry.Tally("things", ("code", "reason"), "what is counted")
    for code in ("AA", "AE", "AA"):
        tally.add(code, "")
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    points = {str((point.attributes or {})["code"]): point.value for point in metric.data.data_points}  # type: ignore[union-attr]
    assert (metric.name, points) == ("things", {"AA": 2, "AE": 1})


def test_a_trace_beyond_the_bound_costs_nothing_and_says_that_it_is_not_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    bound = telemetry.AtMost(1, lambda: now)
    exporter = InMemorySpanExporter()
    provider = TracerProvider(ParentBased(bound))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "TRACER", provider.get_tracer("test"))
    monkeypatch.setattr(telemetry._Roots, "bound", bound)
    begun = [telemetry.root("first"), telemetry.root("second")]
    now = 1.0
    begun += [telemetry.root("third"), telemetry.root("fourth")]
    for each in begun:
        each.span.end()
    assert [span.name for span in exporter.get_finished_spans()] == ["first", "third"]
    sampled = [int(each.headers["traceparent"].rsplit("-", 1)[1], 16) & 1 for each in begun]
    assert sampled == [1, 0, 1, 0]
    assert begun[1].headers != begun[3].headers
    with telemetry.span("follows", headers=begun[1].headers) as following:
        assert not following.is_recording()
