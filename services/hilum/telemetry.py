"""OpenTelemetry, set up once; W3C trace context carried in event headers.

Code elsewhere calls opentelemetry-api only. No attribute, metric label or log line holds what
identifies a patient: identifiers of ours (case, task, delivery) join a trace to a study.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Any, NamedTuple

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, SamplingResult
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hilum.errors import HilumError

_PROPAGATOR = TraceContextTextMapPropagator()
TRACER = trace.get_tracer("hilum")
_IDENTITIES = RandomIdGenerator()
_TRACES_PER_SECOND = 100
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


def configure(service: str, otlp_endpoint: str | None, monotonic: Callable[[], float]) -> TracerProvider | None:
    """Export traces to ``otlp_endpoint`` (OTLP over gRPC, ``host:port``); without one, tracing costs nothing."""
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    _expose_metrics(service)
    if not otlp_endpoint:
        return None
    # What sends traces is a seventh of all that the process imports.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    # Told by the environment, or: a flood of messages must not become a flood of traces.
    bound = None if "OTEL_TRACES_SAMPLER" in os.environ else AtMost(_TRACES_PER_SECOND, monotonic)
    provider = TracerProvider(ParentBased(bound) if bound else None, _resource(service))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_endpoint, insecure=True)))
    trace.set_tracer_provider(provider)
    _Roots.bound = bound
    return provider


class Root(NamedTuple):
    """The first span of a trace, current nowhere: who began it ends it. ``headers`` carry its context."""

    span: Span
    headers: Mapping[str, str]


def _unrecorded() -> Root:
    """Said to all who follow, or each of them would begin a trace of its own (W3C Trace Context, trace-flags)."""
    identity = f"{_IDENTITIES.generate_trace_id():032x}-{_IDENTITIES.generate_span_id():016x}"
    return Root(INVALID_SPAN, {"traceparent": f"00-{identity}-00"})


class AtMost(Sampler):
    """So many traces begin in a second; what else begins in it is not recorded, and neither is what follows from it."""

    def __init__(self, traces: int, monotonic: Callable[[], float]) -> None:
        self._traces = traces
        self._monotonic = monotonic
        self._second = 0
        self._begun = 0
        self.unrecorded = _unrecorded()
        """What stands for every trace that is not recorded in this second."""

    def is_reached(self) -> bool:
        """Whether a trace that begins now would not be recorded."""
        second = int(self._monotonic())
        if second != self._second:
            self._second, self._begun = second, 0
            self.unrecorded = _unrecorded()
        return self._begun >= self._traces

    def should_sample(self, *asked: Any, **named: Any) -> SamplingResult:
        chosen = ALWAYS_OFF if self.is_reached() else ALWAYS_ON
        self._begun += 1
        return chosen.should_sample(*asked, **named)

    def get_description(self) -> str:
        return f"AtMost{{{self._traces} traces a second}}"


class Tally:
    """A counter for what happens thousands of times a second: a sum in a table, read when metrics are collected.

    ``labels`` are the names of its attributes. Count on one thread.
    """

    def __init__(self, name: str, labels: tuple[str, ...], description: str) -> None:
        self._labels = labels
        self._counts: dict[tuple[str, ...], int] = {}
        metrics.get_meter("hilum").create_observable_counter(name, [self._observe], description=description)

    def add(self, *values: str) -> None:
        """Count one, with the values of the labels in their order."""
        self._counts[values] = self._counts.get(values, 0) + 1

    def _observe(self, _options: CallbackOptions) -> Iterator[Observation]:
        for values, count in self._counts.copy().items():
            yield Observation(count, dict(zip(self._labels, values, strict=True)))


def _resource(service: str) -> Resource:
    return Resource.create({"service.name": service, "service.namespace": "hilum"})


def _expose_metrics(service: str) -> None:
    """Once a process: what is counted through opentelemetry-api shows at /metrics (`hilum.http`)."""
    if isinstance(metrics.get_meter_provider(), MeterProvider):
        return
    # The SDK's own buckets are for milliseconds.
    seconds = View(instrument_unit="s", aggregation=ExplicitBucketHistogramAggregation(_SECONDS))
    metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()], resource=_resource(service), views=[seconds]))


def headers_of_current_context() -> dict[str, str]:
    """`traceparent` (and `tracestate`) of the current span; empty when nothing is being traced."""
    headers: dict[str, str] = {}
    _PROPAGATOR.inject(headers)
    return headers


def context_of(headers: Mapping[str, str]) -> Context:
    return _PROPAGATOR.extract(dict(headers))


class _Roots:
    """What bounds the traces that begin in this process, as `configure` decided."""

    bound: AtMost | None = None


def root(name: str, kind: SpanKind = SpanKind.INTERNAL) -> Root:
    """Begin a trace, for what is handled many at a time. One that will not be recorded costs next to nothing."""
    if _Roots.bound is not None and _Roots.bound.is_reached():
        return _Roots.bound.unrecorded
    started = TRACER.start_span(name, Context(), kind)
    headers: dict[str, str] = {}
    _PROPAGATOR.inject(headers, trace.set_span_in_context(started, Context()))
    return Root(started, headers)


def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    headers: Mapping[str, str] | None = None,
    attributes: Mapping[str, str | int | float | bool] | None = None,
) -> AbstractContextManager[Span]:
    """A span, the child of ``headers``' context when given, else of the current one.

    An exception marks it failed by its code alone: the text of an unforeseen one may quote patient data.
    """
    parent = context_of(headers) if headers is not None else None
    return _Spanning(TRACER.start_span(name, parent, kind, attributes))


class _Spanning(AbstractContextManager[Span]):
    """The span, current from here to the end. A class, since every message passes through it."""

    __slots__ = ("_span", "_token")

    def __init__(self, started: Span) -> None:
        self._span = started

    def __enter__(self) -> Span:
        self._token = otel_context.attach(trace.set_span_in_context(self._span))
        return self._span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        try:
            if isinstance(error, Exception):
                code = error.code if isinstance(error, HilumError) else f"unexpected:{type(error).__name__}"
                self._span.set_status(StatusCode.ERROR, code)
                self._span.set_attribute("error.type", code)
        finally:
            otel_context.detach(self._token)
            self._span.end()


@contextmanager
def continued(headers: Mapping[str, str]) -> Iterator[None]:
    """Run under the context of ``headers`` without a span of its own."""
    token = otel_context.attach(context_of(headers))
    try:
        yield
    finally:
        otel_context.detach(token)
