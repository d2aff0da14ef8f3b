"""The spans that an app-node makes. It makes none without TRACE_RATIO."""

from collections.abc import Callable

from sio_cluster.node.monitoring.tracing import Attributes, Span, Tracer
from sio_cluster.protocol.messages import EventReceived, TraceContext
from sio_cluster.protocol.socketio import event_name


class Traces:
    """`age_of` gives the seconds since Redis took the lane entry of this id, None where that is not known."""

    def __init__(self, tracer: Tracer, age_of: Callable[[bytes], float | None]) -> None:
        self._tracer = tracer
        self._age_of = age_of

    def process(
        self,
        context: TraceContext,
        fact: EventReceived,
        *,
        namespace: str,
        lane: int,
        entry_id: bytes,
        redelivered: bool,
    ) -> Span | None:
        """The handler of this event is about to begin. None where its context is malformed."""
        attributes: dict[str, str | int | float | bool] = {
            "messaging.destination.name": namespace,
            "sio.event": event_name(fact.data),
            "sio.sid": fact.sid,
            "sio.lane": lane,
            "sio.redelivered": redelivered,
        }
        waited_s = self._age_of(entry_id)
        if waited_s is not None:
            attributes["sio.lane_wait_ms"] = round(1000 * max(0.0, waited_s), 1)
        return self._tracer.follow(context, "process", attributes)

    def publish(self, namespace: str, data: bytes, *, in_handler: bool) -> Span | None:
        """This event (a JSON array) is emitted. None where that is not traced.

        In a handler it is traced if the handler's event is. Elsewhere, if there is a span in whose course it happens,
        or lots were drawn for it.
        """
        if in_handler and not self._tracer.in_span:
            return None
        attributes: Attributes = {"messaging.destination.name": namespace, "sio.event": event_name(data)}
        return self._tracer.inside("publish", attributes)
