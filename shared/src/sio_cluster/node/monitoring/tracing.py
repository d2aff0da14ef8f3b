"""The interface to traces: what happened to one message, in all processes that it went through.

    span = tracer.begin("receive", {"sio.lane": 3})        None: not this time
    span.context                                           travels with the message, and `follow` gets it elsewhere
    span.end()

`tracers` beside it opens a node's tracer, and `otel` has its code.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from contextvars import Context
from typing import Literal, Protocol, TypeAlias

Operation: TypeAlias = Literal["receive", "process", "publish", "deliver"]
"""What a span is about, and its name. `receive` and `publish` send a message on; the other two are what gets it."""

Attributes: TypeAlias = Mapping[str, str | int | float | bool]


class Span(Protocol):
    """One step of a message's way, which has begun and is recorded."""

    @property
    def context(self) -> bytes:
        """What travels with the message: the trace's id (16 bytes) and this span's (8 bytes)."""

    def rename(self, name: str) -> None:
        """Give it a name that says more."""

    def failed(self, error: BaseException) -> None:
        """Say that it ended badly. Nothing of the error is recorded but its type: the log has the rest."""

    def current(self) -> AbstractContextManager[None]:
        """Inside the block spans of this task are its children, and log lines have its ids. At the end of the block the
        span ends; it has failed if an exception leaves the block."""

    def end(self) -> None:
        """It is over. Call it once, and nothing of it afterwards."""


class Tracer(Protocol):
    """Makes spans. They are sent in the background; what is too much for that is dropped."""

    def begin(self, operation: Operation, attributes: Attributes, *, link: str | None = None) -> Span | None:
        """The first span of a new trace. `link`: a W3C `traceparent` that the trace refers to, and no more than that.

        None where the trace is not recorded.
        """

    def follow(self, context: bytes, operation: Operation, attributes: Attributes) -> Span | None:
        """A span of the trace whose context came with a message. None where the context is malformed."""

    @property
    def in_span(self) -> bool:
        """Whether this task has a current span, be it recorded or not."""

    def inside(self, operation: Operation, attributes: Attributes) -> Span | None:
        """A child of this task's current span. Where there is none, it is the first span of a new trace, of which the
        tracer's part is recorded. None where it is not."""

    def context_of_loops(self) -> Context:
        """The context variables of this task, without its current span: for what goes on when the span has ended."""

    def serve_application(self) -> None:
        """The process is the node's own: spans that the application makes are sent as well. Does nothing where the
        application has set up OpenTelemetry itself."""

    async def close(self) -> None:
        """Sends what waits, for two seconds at most. Idempotent."""
