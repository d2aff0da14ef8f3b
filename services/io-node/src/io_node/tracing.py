"""Which events an io-node traces, and the spans that it makes. It makes none without TRACE_RATIO."""

from collections.abc import Callable, Iterable

from sio_cluster.node.monitoring.tracing import Attributes, Span, Tracer
from sio_cluster.protocol.messages import TraceContext
from sio_cluster.protocol.socketio import event_name


class Traces:
    """`chance` draws lots: it gives a number of at least 0 and below 1. Of all events, `ratio` are traced."""

    def __init__(self, tracer: Tracer, ratio: float, chance: Callable[[], float]) -> None:
        self._tracer = tracer
        self._ratio = ratio
        self._chance = chance

    def receive(
        self, sid: str, namespace: str, lane: int, data: bytes, headers: Iterable[tuple[str, str]]
    ) -> TraceContext | None:
        """A client has sent this event (a JSON array), which now goes to its lane. None: it is not traced.

        `headers` are those of the client's handshake. What they say of a trace is a link, and decides nothing:
        a client must not choose how much is traced.
        """
        if self._chance() >= self._ratio:
            return None
        attributes: Attributes = {
            "messaging.destination.name": namespace,
            "sio.event": event_name(data),
            "sio.sid": sid,
            "sio.lane": lane,
        }
        link = next((value for name, value in headers if name == "traceparent"), None)
        span = self._tracer.begin("receive", attributes, link=link)
        if span is None:
            return None
        context = span.context
        span.end()
        return context

    def deliver(
        self, context: TraceContext, namespace: str, recipients: int, *, is_answer: bool = False
    ) -> Span | None:
        """What a traced emit says, or the answer to a traced event, is now handed to this many clients of this node."""
        attributes: Attributes = {
            "messaging.destination.name": namespace,
            "sio.recipients": recipients,
            "sio.is_answer": is_answer,
        }
        return self._tracer.follow(context, "deliver", attributes)
