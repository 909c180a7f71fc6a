"""OpenTelemetry, set up once; W3C trace context carried in event headers.

Code elsewhere calls opentelemetry-api only. No attribute, metric label or log line holds what
identifies a patient: identifiers of ours (case, task, delivery) join a trace to a study.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry import context as otel_context
from opentelemetry import metrics, trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hilum.errors import HilumError

_PROPAGATOR = TraceContextTextMapPropagator()
TRACER = trace.get_tracer("hilum")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)


def configure(service: str, otlp_endpoint: str | None) -> TracerProvider | None:
    """Export traces to ``otlp_endpoint`` (OTLP over gRPC, ``host:port``); without one, tracing costs nothing."""
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    _expose_metrics(service)
    if not otlp_endpoint:
        return None
    provider = TracerProvider(resource=_resource(service))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_endpoint, insecure=True)))
    trace.set_tracer_provider(provider)
    return provider


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


@contextmanager
def span(
    name: str,
    kind: SpanKind = SpanKind.INTERNAL,
    headers: Mapping[str, str] | None = None,
    attributes: Mapping[str, str | int | float | bool] | None = None,
) -> Iterator[Span]:
    """A span, the child of ``headers``' context when given, else of the current one.

    An exception marks it failed by its code alone: the text of an unforeseen one may quote patient data.
    """
    parent = context_of(headers) if headers is not None else None
    with TRACER.start_as_current_span(
        name,
        context=parent,
        kind=kind,
        attributes=dict(attributes or {}),
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield current
        except Exception as error:
            code = error.code if isinstance(error, HilumError) else f"unexpected:{type(error).__name__}"
            current.set_status(StatusCode.ERROR, code)
            current.set_attribute("error.type", code)
            raise


@contextmanager
def continued(headers: Mapping[str, str]) -> Iterator[None]:
    """Run under the context of ``headers`` without a span of its own."""
    token = otel_context.attach(context_of(headers))
    try:
        yield
    finally:
        otel_context.detach(token)
