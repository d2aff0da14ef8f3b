"""Which events are traced, and what the io-node's spans say."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

import pytest
from msgspec.structs import replace

from io_node.tracing import Traces
from sio_cluster.protocol.messages import Accept, Ack, Emit, EventReceived, Join

from .fakes import HANDSHAKE, FakeConnection, Node

CONTEXT = b"a trace's id.. a span"


@dataclass
class FakeSpan:
    name: str
    attributes: Mapping[str, Any]
    parent: bytes | None = None
    link: str | None = None
    ended: bool = False

    @property
    def context(self) -> bytes:
        return CONTEXT

    def rename(self, name: str) -> None:
        self.name = name

    def failed(self, error: BaseException) -> None: ...

    def current(self) -> AbstractContextManager[None]:
        return nullcontext()

    def end(self) -> None:
        self.ended = True


@dataclass
class FakeTracer:
    spans: list[FakeSpan] = field(default_factory=list)

    def begin(self, operation: str, attributes: Mapping[str, Any], *, link: str | None = None) -> FakeSpan:
        return self._made(FakeSpan(operation, attributes, link=link))

    def follow(self, context: bytes, operation: str, attributes: Mapping[str, Any]) -> FakeSpan:
        return self._made(FakeSpan(operation, attributes, parent=context))

    @property
    def in_span(self) -> bool:
        return False

    def inside(self, operation: str, attributes: Mapping[str, Any]) -> FakeSpan:
        return self._made(FakeSpan(operation, attributes))

    def context_of_loops(self) -> Context:
        return Context()

    def serve_application(self) -> None: ...

    async def close(self) -> None: ...

    def _made(self, span: FakeSpan) -> FakeSpan:
        self.spans.append(span)
        return span


@pytest.fixture
def tracer() -> FakeTracer:
    return FakeTracer()


def joined(node: Node, namespace: str = "/", headers: list[tuple[str, str]] | None = None) -> FakeConnection:
    connection = node.connect()
    connection.handshake = replace(HANDSHAKE, headers=headers or [])
    node.hub.execute([Accept(node.pending(connection, namespace))])
    connection.take()
    return connection


def sent(node: Node, connection: FakeConnection, packet: str) -> EventReceived:
    node.receive(connection, packet)
    [event] = node.uplink.take()
    assert isinstance(event, EventReceived)
    return event


def test_an_event_that_is_traced_carries_its_span(tracer: FakeTracer) -> None:
    node = Node(traces=Traces(tracer, 1.0, lambda: 0.999))
    connection = joined(node, "/chat", [("host", "x"), ("traceparent", "00-theirs")])
    event = sent(node, connection, '2/chat,7["say","hello"]')
    assert event.trace == CONTEXT
    [span] = tracer.spans
    assert (span.name, span.ended, span.link) == ("receive", True, "00-theirs")
    [client] = node.hub.clients()
    assert span.attributes == {
        "messaging.destination.name": "/chat", "sio.event": "say", "sio.sid": client.sid, "sio.lane": client.lane
    }  # fmt: skip


def test_lots_are_drawn_for_each_event(tracer: FakeTracer) -> None:
    lots = iter([0.0, 0.249, 0.25, 0.9])
    node = Node(traces=Traces(tracer, 0.25, lambda: next(lots)))
    connection = joined(node, headers=[("traceparent", "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01")])
    traced = [sent(node, connection, '2["say"]').trace for _ in range(4)]
    assert traced == [CONTEXT, CONTEXT, None, None], "whatever the client asks for"


def test_no_event_is_traced_without_a_tracer() -> None:
    node = Node()
    assert sent(node, joined(node), '2["say"]').trace is None


def test_an_emit_that_is_traced_says_how_many_got_it(tracer: FakeTracer) -> None:
    node = Node(traces=Traces(tracer, 0.0, lambda: 0.5))
    connections = [joined(node) for _ in range(3)]
    one, two, _ = node.hub.clients()
    node.hub.execute([Join(one.sid, "room"), Join(two.sid, "room")])
    node.hub.execute([Emit("/", b'2["said"]', to=["room"], trace=CONTEXT)])
    assert [connection.take() for connection in connections] == [[b'2["said"]'], [b'2["said"]'], []]
    [span] = tracer.spans
    assert (span.name, span.parent, span.ended) == ("deliver", CONTEXT, True)
    assert span.attributes == {"messaging.destination.name": "/", "sio.recipients": 2, "sio.is_answer": False}


def test_the_answer_to_an_event_that_is_traced(tracer: FakeTracer) -> None:
    node = Node(traces=Traces(tracer, 0.0, lambda: 0.5))
    connection = joined(node, "/chat")
    [client] = node.hub.clients()
    node.hub.execute([Ack(client.sid, b"3/chat,7[]", trace=CONTEXT), Ack(client.sid, b"3/chat,8[]")])
    assert connection.take() == [b"3/chat,7[]", b"3/chat,8[]"]
    [span] = tracer.spans
    assert (span.name, span.parent, span.ended) == ("deliver", CONTEXT, True)
    assert span.attributes == {"messaging.destination.name": "/chat", "sio.recipients": 1, "sio.is_answer": True}


def test_an_emit_that_reaches_nobody_here_has_no_span(tracer: FakeTracer) -> None:
    node = Node(traces=Traces(tracer, 0.0, lambda: 0.5))
    joined(node)
    node.hub.execute([Emit("/", b'2["said"]', to=["room"], trace=CONTEXT), Emit("/", b'2["said"]')])
    assert tracer.spans == []


def test_an_emit_that_is_traced_is_written_without_a_tracer() -> None:
    node = Node()
    connection = joined(node)
    node.hub.execute([Emit("/", b'2["said"]', trace=CONTEXT)])
    assert connection.take() == [b'2["said"]']
