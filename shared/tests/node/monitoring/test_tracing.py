"""Traces: what spans say and whose children they are, with OpenTelemetry's own exporter in memory."""

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import SpanKind, StatusCode

from sio_cluster.node.monitoring import otel
from sio_cluster.node.monitoring.log import configure_logging, configure_logging_of_guest
from sio_cluster.node.monitoring.otel import OtelTracer, make_tracer
from sio_cluster.node.monitoring.tracers import open_tracer
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import ConfigError

pytestmark = pytest.mark.timeout(300)
"""Some start processes, which import much."""

Finished = Callable[[], list[ReadableSpan]]


def tracer_of(sampler: Sampler = ALWAYS_ON) -> tuple[OtelTracer, Finished]:
    """A tracer, and what it has finished."""
    exporter, provider = InMemorySpanExporter(), TracerProvider(sampler)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return OtelTracer(provider, "io1-aaaaaa", owned=True), lambda: list(exporter.get_finished_spans())


def context_of(span: ReadableSpan) -> bytes:
    context = span.context
    assert context is not None
    return bytes.fromhex(f"{context.trace_id:032x}{context.span_id:016x}")


def test_a_trace_goes_on_where_its_context_comes() -> None:
    tracer, finished = tracer_of()
    first = tracer.begin("receive", {"sio.lane": 3})
    assert first is not None
    first.end()
    second = tracer.follow(first.context, "process", {})
    assert second is not None
    second.end()
    receive, process = finished()
    assert len(first.context) == 24
    assert context_of(receive) == first.context
    assert (receive.name, receive.kind, receive.parent) == ("receive", SpanKind.PRODUCER, None)
    assert receive.attributes == {"messaging.system": "socket.io", "sio.node": "io1-aaaaaa", "sio.lane": 3}
    assert (process.name, process.kind) == ("process", SpanKind.CONSUMER)
    assert process.parent is not None
    assert receive.context is not None
    assert (process.parent.trace_id, process.parent.span_id) == (receive.context.trace_id, receive.context.span_id)


@pytest.mark.parametrize("context", [b"", b"short", bytes(24), b"x" * 23, b"x" * 25, bytes(16) + b"x" * 8])
def test_a_malformed_context_is_no_context(context: bytes) -> None:
    tracer, finished = tracer_of()
    assert tracer.follow(context, "process", {}) is None
    assert finished() == []


def test_what_begins_a_trace_is_nobodys_child() -> None:
    """The callback of a connection may run in the context of a request of the web application's."""
    tracer, finished = tracer_of()
    outer = tracer.begin("receive", {})
    assert outer is not None
    with outer.current():
        inner = tracer.begin("receive", {})
        assert inner is not None
        inner.end()
    assert [span.parent for span in finished()] == [None, None]


def test_a_clients_context_is_a_link_and_decides_nothing() -> None:
    theirs = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
    tracer, finished = tracer_of()
    for link in (theirs, "00-nonsense", ""):
        span = tracer.begin("receive", {}, link=link)
        assert span is not None
        span.end()
    linked, *others = finished()
    assert [link.context.trace_id for link in linked.links] == [0x0123456789ABCDEF0123456789ABCDEF]
    assert linked.parent is None
    assert context_of(linked)[:16].hex() not in theirs
    assert [span.links for span in others] == [(), ()]
    unsampled, finished = tracer_of(ALWAYS_OFF)
    assert unsampled.begin("receive", {}, link=theirs) is None


def test_spans_inside_one_are_its_children() -> None:
    tracer, finished = tracer_of()
    process = tracer.begin("process", {})
    assert process is not None
    with process.current():
        assert tracer.in_span
        publish = tracer.inside("publish", {})
        assert publish is not None
        publish.end()
    assert not tracer.in_span
    alone = tracer.inside("publish", {})
    assert alone is not None
    alone.end()
    child, parent, root = finished()
    assert child.parent is not None
    assert child.parent == parent.context
    assert root.parent is None
    unsampled, _ = tracer_of(ALWAYS_OFF)
    assert unsampled.inside("publish", {}) is None


def test_a_span_that_an_exception_ends_has_failed() -> None:
    tracer, finished = tracer_of()
    span = tracer.begin("process", {})
    assert span is not None
    with pytest.raises(asyncio.CancelledError), span.current():
        raise asyncio.CancelledError("secret")
    [ended] = finished()
    assert (ended.status.status_code, ended.status.description) == (StatusCode.ERROR, "CancelledError")
    assert ended.events == (), "an error's text may be a secret"


# --- opening it


def test_no_traces_without_a_ratio() -> None:
    assert open_tracer(Config(), "io-node", "io1-aaaaaa", ratio=1) is None


@pytest.mark.slow
def test_without_a_ratio_nothing_that_makes_or_sends_spans_is_imported() -> None:
    """FastAPI imports OpenTelemetry's API in any case, and redis-py its metrics where the SDK is installed."""
    code = """if True:
        import sys
        import app_node, io_node.app, io_node.listener
        from app_node.app import AppNode
        from sio_cluster.node.settings.config import Config
        assert isinstance(app_node.get_client({}).node, AppNode)
        io_node.app.IoNode(Config({}))
        for unwanted in (
            "sio_cluster.node.monitoring.otel", "opentelemetry.sdk.trace", "opentelemetry.exporter", "google.protobuf"
        ):
            assert not [name for name in sys.modules if name.startswith(unwanted)], unwanted
    """
    subprocess.run((sys.executable, "-c", code), check=True, timeout=250)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sio_cluster.node.monitoring.otel")
    monkeypatch.delattr("sio_cluster.node.monitoring.otel")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match=r"TRACE_RATIO: opentelemetry.* not installed.*\[trace\]"):
        open_tracer(Config(TRACE_RATIO=1), "io-node", "io1-aaaaaa", ratio=1)


def test_a_setting_of_opentelemetrys_that_makes_no_sense_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    with pytest.raises(ConfigError, match=r"OTEL_"):
        open_tracer(Config(TRACE_RATIO=1), "io-node", "io1-aaaaaa", ratio=1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_PYTHON_TRACER_PROVIDER", "none"),
        ("OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER", "none"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "many"),
    ],
)
def test_so_is_one_that_opentelemetry_reads_elsewhere(name: str, value: str) -> None:
    code = """if True:
        from sio_cluster.node.monitoring.log import configure_logging
        from sio_cluster.node.monitoring.tracers import open_tracer
        from sio_cluster.node.settings.config import Config
        from sio_cluster.protocol.errors import ConfigError
        try:
            configure_logging(Config(TRACE_RATIO=1), node="io1-aaaaaa", role="io-node")
            open_tracer(Config(TRACE_RATIO=1), "io-node", "io1-aaaaaa", ratio=1)
        except ConfigError as error:
            print(error)
    """
    run = (sys.executable, "-c", code)
    told = subprocess.run(run, check=True, timeout=250, env={**os.environ, name: value}, stdout=subprocess.PIPE)
    assert b"OTEL_" in told.stdout


def test_no_name_keeps_spans_from_being_sent() -> None:
    """Text that is not Unicode is no protobuf: of a batch with such a name, nothing would be sent."""
    tracer, finished = tracer_of()
    span = tracer.begin("receive", {})
    assert span is not None
    span.rename("process \ud83d")
    span.end()
    assert [span.name for span in finished()] == ["process ?"]


def test_what_clients_send_as_a_context_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    tracer, _ = tracer_of()
    for link in ("0" * 600, "00-nonsense", "\xe9"):
        tracer.begin("receive", {}, link=link)
    assert caplog.records == []


@pytest.mark.parametrize(("said", "name"), [("", "app-node"), ("shop", "shop")])
async def test_the_service_is_named_after_the_kind_of_node(
    monkeypatch: pytest.MonkeyPatch, said: str, name: str
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", said)
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    tracer = make_tracer("app-node", "app-bbbbbb", 1)
    provider = tracer._provider
    assert isinstance(provider, TracerProvider)
    attributes = provider.resource.attributes
    assert (attributes["service.name"], attributes["service.instance.id"]) == (name, "app-bbbbbb")
    assert attributes["deployment.environment"] == "test"
    await tracer.close()


async def test_an_application_that_has_set_opentelemetry_up_gets_the_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider(ALWAYS_ON)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    tracer = open_tracer(Config(TRACE_RATIO=1), "app-node", "app-bbbbbb", ratio=1)
    assert tracer is not None
    for _ in range(2):  # the provider goes on when the node has stopped
        span = tracer.begin("publish", {})
        assert span is not None
        span.end()
        await tracer.close()
    assert len(exporter.get_finished_spans()) == 2


@pytest.mark.parametrize("shared", [False, True])
async def test_a_node_that_stops_sends_its_last_spans(monkeypatch: pytest.MonkeyPatch, shared: bool) -> None:
    exporter, providers = InMemorySpanExporter(), list[trace.TracerProvider]()
    monkeypatch.setattr(otel, "OTLPSpanExporter", lambda: exporter)
    monkeypatch.setattr(trace, "set_tracer_provider", providers.append)
    tracer = make_tracer("app-node", "app-bbbbbb", 1)
    if shared:
        tracer.serve_application()
    span = tracer.begin("publish", {})
    assert span is not None
    span.end()
    assert exporter.get_finished_spans() == ()
    await tracer.close()
    await tracer.close()
    assert len(exporter.get_finished_spans()) == 1
    for provider in providers:  # the application's spans are sent for as long as the process lives
        provider.get_tracer("shop").start_span("theirs").end()
    await tracer.close()
    assert len(exporter.get_finished_spans()) == 1 + len(providers) == 1 + shared


@pytest.fixture
def silent_collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[OtelTracer]]:
    """One that takes connections and never answers. The threads of tracers that are named to it end with the test.

    They would go on for a minute, and log their failures to what another test has captured and closed since.
    """
    before, tracers, exporters = set(threading.enumerate()), list[OtelTracer](), list[OTLPSpanExporter]()

    def exporter() -> OTLPSpanExporter:
        exporters.append(OTLPSpanExporter())
        return exporters[-1]

    with socket.create_server(("127.0.0.1", 0)) as listening:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{listening.getsockname()[1]}")
        monkeypatch.setattr(otel, "OTLPSpanExporter", exporter)
        yield tracers
    for theirs in exporters:
        theirs.shutdown()  # tries no more
    for tracer in tracers:
        provider = tracer._provider
        assert isinstance(provider, TracerProvider)
        provider.shutdown()
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive(), thread


@pytest.mark.slow
@pytest.mark.parametrize("shared", [False, True])
async def test_a_silent_collector_holds_nobody_up(
    monkeypatch: pytest.MonkeyPatch, silent_collector: list[OtelTracer], shared: bool
) -> None:
    monkeypatch.setattr(otel, "CLOSE_S", 0.2)
    monkeypatch.setattr(trace, "set_tracer_provider", lambda provider: None)
    tracer = make_tracer("app-node", "app-bbbbbb", 1)
    silent_collector.append(tracer)
    if shared:
        tracer.serve_application()
    for _ in range(5_000):  # more than may wait
        span = tracer.begin("publish", {})
        assert span is not None
        span.end()
    began, turns = time.monotonic(), 0
    closing = asyncio.create_task(tracer.close())
    while not closing.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert time.monotonic() - began < 25, "OpenTelemetry itself waits for 30 s"
    assert turns > 1, "the event loop went on"


# --- logs


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """What goes to stderr. Logging is put back as it was afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    structlog.reset_defaults()
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.parametrize("guest", [False, True])
def test_log_lines_have_the_ids_of_the_current_span(written: Any, guest: bool) -> None:
    config = Config(TRACE_RATIO=0.5, LOG_FORMAT="json")
    if guest:
        configure_logging_of_guest(config)
    else:
        configure_logging(config, node="io1-aaaaaa", role="io-node")
    tracer, _ = tracer_of()
    span = tracer.begin("process", {})
    assert span is not None
    with span.current():
        structlog.get_logger().info("inside")
        if not guest:
            logging.getLogger("their.library").warning("inside, too")
    structlog.get_logger().info("outside")
    lines = [line for line in written() if {line["event"], line.get("text")} & {"inside", "inside, too", "outside"}]
    *inside, outside = lines  # and not what the thread of another test still says
    assert len(inside) == (1 if guest else 2)
    for line in inside:
        assert line["trace_id"] + line["span_id"] == span.context.hex()
    assert not {"trace_id", "span_id"} & set(outside)


def test_log_lines_have_no_ids_without_traces(written: Any) -> None:
    configure_logging(Config(), node="io1-aaaaaa", role="io-node")
    tracer, _ = tracer_of()
    span = tracer.begin("process", {})
    assert span is not None
    with span.current():
        structlog.get_logger().info("inside")
    [line] = [line for line in written() if line["event"] == "inside"]  # and not what the thread of another test says
    assert not {"trace_id", "span_id"} & set(line)
