"""Traces by OpenTelemetry. Its own settings (OTEL_...) say where spans go. `tracing` beside it is the interface.

Spans are sent by a thread of their own, over OTLP and HTTP. At most 2,048 wait for it (OTEL_BSP_MAX_QUEUE_SIZE), and
the oldest of more are dropped, with a warning of OpenTelemetry's in the log.
"""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version

from opentelemetry import trace
from opentelemetry.context import Context, attach, detach
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from structlog.typing import EventDict, WrappedLogger

from sio_cluster.node.monitoring.tracing import Attributes, Operation

CLOSE_S = 2.0
"""How long a node that stops waits until its last spans are sent."""

_TRACE_ID_BYTES, _SPAN_ID_BYTES = 16, 8
_MOST_CHARACTERS = 512
"""Of a `traceparent`."""

_KINDS = {
    "receive": SpanKind.PRODUCER,
    "process": SpanKind.CONSUMER,
    "publish": SpanKind.PRODUCER,
    "deliver": SpanKind.CONSUMER,
}


def make_tracer(role: str, node_id: str, ratio: float) -> "OtelTracer":
    """A tracer that uses what the application has set up (`trace.set_tracer_provider`), or sends spans by itself.

    Raises ValueError, RuntimeError or StopIteration where a setting of OpenTelemetry's makes no sense.
    """
    theirs = trace.get_tracer_provider()
    if not isinstance(theirs, trace.ProxyTracerProvider):
        return OtelTracer(theirs, node_id, owned=False)
    resource = Resource.create({"service.name": role, "service.instance.id": node_id})
    provider = TracerProvider(
        ParentBased(TraceIdRatioBased(ratio)),
        resource.merge(OTELResourceDetector().detect()),  # what their user says counts for more
        shutdown_on_exit=False,  # it would wait for half a minute
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OtelTracer(provider, node_id, owned=True)


def add_ids(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """A processor of structlog's: the ids of the current span, in the form that Jaeger and others show."""
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"], event["span_id"] = f"{context.trace_id:032x}", f"{context.span_id:016x}"
    return event


class OtelSpan:
    """A `Span`."""

    __slots__ = ("_span",)

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def context(self) -> bytes:
        ids = self._span.get_span_context()
        return ids.trace_id.to_bytes(_TRACE_ID_BYTES, "big") + ids.span_id.to_bytes(_SPAN_ID_BYTES, "big")

    def rename(self, name: str) -> None:
        self._span.update_name(name.encode(errors="replace").decode())  # of another one, no span could be sent

    def failed(self, error: BaseException) -> None:
        self._span.set_status(Status(StatusCode.ERROR, type(error).__name__))

    @contextmanager
    def current(self) -> Iterator[None]:
        token = attach(trace.set_span_in_context(self._span))
        try:
            yield
        except BaseException as error:
            self.failed(error)
            raise
        finally:
            detach(token)
            self.end()

    def end(self) -> None:
        self._span.end()


class OtelTracer:
    """A `Tracer`. `owned`: nobody else uses the provider, so that it ends with this."""

    def __init__(self, provider: trace.TracerProvider, node_id: str, *, owned: bool) -> None:
        self._provider = provider
        self._owned = owned
        self._node_id = node_id
        self._tracer = provider.get_tracer("sio_cluster", version("sio-cluster-shared"))

    def begin(self, operation: Operation, attributes: Attributes, *, link: str | None = None) -> OtelSpan | None:
        links = () if link is None else _links(link)
        return self._start(operation, attributes, Context(), links)

    def follow(self, context: bytes, operation: Operation, attributes: Attributes) -> OtelSpan | None:
        if len(context) != _TRACE_ID_BYTES + _SPAN_ID_BYTES:
            return None
        trace_id, span_id = context[:_TRACE_ID_BYTES], context[_TRACE_ID_BYTES:]
        sampled = TraceFlags(TraceFlags.SAMPLED)
        parent = SpanContext(int.from_bytes(trace_id), int.from_bytes(span_id), is_remote=True, trace_flags=sampled)
        if not parent.is_valid:
            return None
        return self._start(operation, attributes, trace.set_span_in_context(NonRecordingSpan(parent), Context()))

    @property
    def in_span(self) -> bool:
        return trace.get_current_span().get_span_context().is_valid

    def inside(self, operation: Operation, attributes: Attributes) -> OtelSpan | None:
        return self._start(operation, attributes, None)

    def context_of_loops(self) -> contextvars.Context:
        context = contextvars.copy_context()
        context.run(attach, trace.set_span_in_context(trace.INVALID_SPAN))
        return context

    def serve_application(self) -> None:
        if self._owned:
            self._owned = False
            trace.set_tracer_provider(self._provider)

    async def close(self) -> None:
        provider = self._provider
        if isinstance(provider, TracerProvider):  # not one of another library, which has its own ways
            await _within(provider.shutdown if self._owned else provider.force_flush, CLOSE_S)

    def _start(
        self, operation: Operation, attributes: Attributes, context: Context | None, links: tuple[Link, ...] = ()
    ) -> OtelSpan | None:
        known = {"messaging.system": "socket.io", "sio.node": self._node_id, **attributes}
        span = self._tracer.start_span(operation, context, _KINDS[operation], known, links)
        return OtelSpan(span) if span.is_recording() else None


def _links(traceparent: str) -> tuple[Link, ...]:
    """A link to this context. None to a malformed one. OpenTelemetry would log each one that is too long."""
    if len(traceparent) > _MOST_CHARACTERS:
        return ()
    context = TraceContextTextMapPropagator().extract({"traceparent": traceparent}, Context())
    linked = trace.get_current_span(context).get_span_context()
    return (Link(linked),) if linked.is_valid else ()


async def _within(work: Callable[[], object], seconds: float) -> None:
    """Runs what blocks in a thread. One that is not ready then goes on, and does not keep the process from ending."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        try:
            work()
        finally:
            with suppress(RuntimeError):  # the event loop is closed: nobody waits any more
                loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, name="close-traces", daemon=True).start()
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await done.wait()
