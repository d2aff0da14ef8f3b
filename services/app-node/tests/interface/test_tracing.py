"""The spans of an app-node: what they say, whose children they are, and what travels with an emit."""

import asyncio
from contextvars import ContextVar
from typing import Any

import pytest
from msgspec.structs import replace
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased
from opentelemetry.trace import StatusCode

from app_node.tracing import Traces
from sio_cluster.node.monitoring.otel import OtelTracer
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import Ack, Emit, EventReceived

CONTEXT = bytes(range(1, 25))
"""What comes with an event that is traced."""


class Spans:
    """All that has ended, by name. `theirs` is the tracer of an application."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(ParentBased(ALWAYS_ON))
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.theirs = self.provider.get_tracer("application")

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def names(self) -> list[str]:
        return sorted(span.name for span in self._exporter.get_finished_spans())


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Spans:
    """App-nodes that are made meanwhile send their spans here."""
    spans = Spans()
    tracer = OtelTracer(spans.provider, "app-bbbbbb", owned=False)
    monkeypatch.setattr("app_node.app.open_tracer", lambda *args, **keywords: tracer)
    return spans


def ids(span: ReadableSpan) -> bytes:
    context = span.context
    assert context is not None
    return bytes.fromhex(f"{context.trace_id:032x}{context.span_id:016x}")


def parent(span: ReadableSpan) -> bytes | None:
    return (
        None
        if span.parent is None
        else span.parent.trace_id.to_bytes(16, "big") + span.parent.span_id.to_bytes(8, "big")
    )


def traced(event: EventReceived) -> EventReceived:
    return replace(event, trace=CONTEXT)


@pytest.mark.parametrize("overlap", [True, False])
async def test_a_handlers_spans_nest(memory_stage: Any, spans: Spans, overlap: bool) -> None:
    sio = memory_stage.server(async_handlers=overlap)

    @sio.event
    async def say(sid: str, text: str) -> None:
        with spans.theirs.start_as_current_span("theirs"):
            await asyncio.sleep(0)
            await sio.emit("said", text)

    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.send(traced(memory_stage.event(sid, "say", "hello", ack_id=7)))
    [emit] = await io.wait(1, Emit)
    [ack] = await io.wait(1, Ack)
    await io.settle()
    [process], [theirs], [publish] = spans.named("process say"), spans.named("theirs"), spans.named("publish")
    assert parent(process) == CONTEXT
    assert parent(theirs) == ids(process)
    assert parent(publish) == ids(theirs)
    assert emit.trace == ids(publish)
    assert ack.trace == ids(process)
    attributes = dict(process.attributes or {})
    attributes.pop("sio.lane_wait_ms", None)  # not known before the first heartbeat
    assert attributes == {
        "messaging.system": "socket.io", "messaging.destination.name": "/", "sio.node": "app-bbbbbb", "sio.sid": sid,
        "sio.event": "say", "sio.lane": lane_of(sid, memory_stage.config.lanes), "sio.redelivered": False,
    }  # fmt: skip
    assert publish.attributes is not None
    assert (publish.attributes["sio.event"], publish.attributes["messaging.destination.name"]) == ("said", "/")


@pytest.mark.parametrize(("age_s", "wait_ms"), [(0.01234, 12.3), (-0.0004, 0.0), (None, None)])
def test_how_long_an_event_waited_in_its_lane(spans: Spans, age_s: float | None, wait_ms: float | None) -> None:
    traces = Traces(OtelTracer(spans.provider, "app-bbbbbb", owned=False), {b"7-1": age_s}.get)
    event = EventReceived("io1-aaaaaa.AAAAAAAAAAAAAAAA", None, b'["say"]')
    span = traces.process(CONTEXT, event, namespace="/", lane=3, entry_id=b"7-1", redelivered=False)
    assert span is not None
    span.end()
    [process] = spans.named("process")
    assert (process.attributes or {}).get("sio.lane_wait_ms") == wait_ms


async def test_no_span_outlives_its_event(memory_stage: Any, spans: Spans) -> None:
    """Without `async_handlers` one task works off all events of a client."""
    sio = memory_stage.server(async_handlers=False)
    current: list[bool] = []

    @sio.on("*")
    async def any_event(event: str, sid: str) -> None:
        current.append(trace.get_current_span().get_span_context().is_valid)
        await sio.emit("said")

    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.connect()
    event = memory_stage.event(sid, "say")
    await io.send(traced(event), event)
    emits = await io.wait(2, Emit)
    await io.settle()
    assert current == [True, False]
    assert [emit.trace is None for emit in emits] == [False, True], "an event that is not traced has no traced emits"
    assert spans.names() == ["process", "publish"], "an event without a handler of its own names no span"


async def test_a_handler_that_fails_marks_its_span(memory_stage: Any, spans: Spans) -> None:
    sio = memory_stage.server()

    @sio.event
    async def fail(sid: str) -> None:
        raise ZeroDivisionError("secret")

    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.send(traced(memory_stage.event(sid, "fail")))
    await io.settle()
    [process] = spans.named("process fail")
    assert (process.status.status_code, process.status.description) == (StatusCode.ERROR, "ZeroDivisionError")


async def test_what_is_handled_again_is_marked(memory_stage: Any, spans: Spans, kill: Any) -> None:
    first, second = memory_stage.server(), memory_stage.server()
    begun = asyncio.Event()

    @first.event
    async def work(sid: str) -> None:
        begun.set()
        await asyncio.Event().wait()

    @second.on("work")
    async def work_again(sid: str) -> None: ...

    io = await memory_stage.io_node()
    await first.start()
    sid = await io.connect()
    await io.send(traced(memory_stage.event(sid, "work")))
    await begun.wait()
    await kill(first)
    await second.start()
    await memory_stage.until(lambda: len(spans.named("process work")) == 2)
    attributes = [span.attributes or {} for span in spans.named("process work")]
    assert [seen["sio.redelivered"] for seen in attributes] == [False, True]
    assert [parent(span) for span in spans.named("process work")] == [CONTEXT] * 2
    cut_off = spans.named("process work")[0]
    assert cut_off.status.status_code is StatusCode.ERROR


async def test_emits_outside_of_handlers(memory_stage: Any, spans: Spans) -> None:
    sio = memory_stage.server()
    io = await memory_stage.io_node()
    await sio.emit("alone")
    with spans.theirs.start_as_current_span("request"):
        await sio.emit("asked for")
    alone, asked_for = await io.wait(2, Emit)
    [request] = spans.named("request")
    first, second = spans.named("publish")
    assert (parent(first), parent(second)) == (None, ids(request))
    assert (alone.trace, asked_for.trace) == (ids(first), ids(second))


async def test_a_span_in_which_the_node_is_opened_ends_there(memory_stage: Any, spans: Spans) -> None:
    """Callbacks of answers run in a loop of the node, with the application's context variables, but in no span."""
    sio = memory_stage.server()
    io = await memory_stage.io_node()
    whose = ContextVar("whose", default="nobody's")
    heard = asyncio.get_running_loop().create_future()
    sid = io.connected().sid

    def answered(*args: Any) -> None:
        heard.set_result((trace.get_current_span().get_span_context().is_valid, whose.get()))

    whose.set("the application's")
    with spans.theirs.start_as_current_span("request"):
        await sio.emit("ask", to="room", callback=answered)
    [emit] = await io.wait(1, Emit)
    await io.answer(emit.ack.app_node, emit.ack.ack_id, sid)
    assert await heard == (False, "the application's")


@pytest.mark.parametrize("context", [None, b"malformed"])
async def test_an_event_without_a_context_has_no_span(memory_stage: Any, spans: Spans, context: bytes | None) -> None:
    sio = memory_stage.echo_server()
    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.send(replace(memory_stage.event(sid, "echo", 1, ack_id=1), trace=context))
    [ack] = await io.wait(1, Ack)
    assert ack.trace is None
    assert spans.names() == []


async def test_a_traced_event_is_handled_where_there_are_no_traces(memory_stage: Any) -> None:
    log: list[Any] = []
    sio = memory_stage.echo_server(log)
    io = await memory_stage.io_node()
    await sio.start()
    sid = await io.connect()
    await io.send(traced(memory_stage.event(sid, "echo", 1)))
    await io.settle()
    assert log == [(sid, 1)]
