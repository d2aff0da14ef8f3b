"""The application's handlers: which one an event goes to, and calling it as it wants to be called.

Which handler serves what is python-socketio's own rule, asked from its `BaseServer`; each handler runs exactly once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from app_node.handlers.signatures import Handler, Signatures, connect_arguments, disconnect_arguments, run
from app_node.payloads import JsonModule

RESERVED = frozenset(("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"))
"""Names that are never a client's event (Socket.IO protocol; python-socketio's class namespaces would run them)."""


class Registrations(Protocol):
    """The part of python-socketio's `BaseServer` that knows the handlers."""

    handlers: dict[str, dict[Any, Handler]]
    namespace_handlers: dict[str, Any]
    namespaces: Any

    def _get_event_handler(self, event: Any, namespace: str, args: Any) -> Any: ...

    def _get_namespace_handler(self, namespace: str, args: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """What the client gets in its CONNECT_ERROR packet: `{"message": ..., "data": ...}`."""

    payload: dict[str, Any]


INVALID_NAMESPACE = Refusal({"message": "Invalid namespace"})
INTERNAL_ERROR = Refusal({"message": "Internal server error"})
REJECTED = Refusal({"message": "Connection rejected by server"})
BUILTIN_REFUSED = Refusal({"message": "Connection refused by server"})


class _Target(NamedTuple):
    """A handler, the arguments that come first, and the callable whose signature tells what it takes."""

    call: Handler
    leading: tuple[Any, ...]
    shape: Handler


class Application:
    """The registered handlers. `refused` is python-socketio's ConnectionRefusedError, `plain_trigger` the
    `trigger_event` of its AsyncNamespace: a class with one of its own is called through that."""

    def __init__(
        self, server: Registrations, refused: type[Exception], plain_trigger: Any, json_module: JsonModule | None = None
    ) -> None:
        self._server = server
        self._refused = refused
        self._plain_trigger = plain_trigger
        self._signatures = Signatures()
        self.json_module = json_module

    def accepts(self, namespace: str) -> bool:
        """Whether a client may ask for this namespace (python-socketio's `namespaces` option)."""
        server = self._server
        return (
            namespace in server.handlers
            or namespace in server.namespace_handlers
            or server.namespaces == "*"
            or namespace in server.namespaces
        )

    def wants_reconnect(self, namespace: str) -> bool:
        """Whether the namespace's connect handler takes `is_reconnect`."""
        target = self._target("connect", namespace, ())
        return target is not None and self._signatures.of(target.shape).is_reconnect

    async def connect(self, namespace: str, sid: str, environ: Any, auth: Any, *, is_reconnect: bool) -> Refusal | None:
        """None: let the client in. Raises what the handler raises, except for refusals."""
        target = self._target("connect", namespace, (sid,))
        if target is None:
            return None
        signature = self._signatures.of(target.shape)
        args, keywords = connect_arguments(signature, target.leading, environ, auth, is_reconnect)
        try:
            result = await run(target.call, args, keywords)
        except self._refused as error:
            return Refusal(getattr(error, "error_args", REJECTED.payload))
        except ConnectionRefusedError:
            return BUILTIN_REFUSED
        return REJECTED if result is False else None

    async def disconnect(self, namespace: str, sid: str, reason: str) -> None:
        target = self._target("disconnect", namespace, (sid,))
        if target is not None:
            await run(target.call, disconnect_arguments(self._signatures.of(target.shape), target.leading, reason))

    def event(
        self, namespace: str, sid: str, name: Any, args: Sequence[Any], *, redelivered: bool
    ) -> tuple[Handler, Sequence[Any], dict[str, Any] | None] | None:
        """The handler of this event and its arguments, None where none serves it."""
        target = self._target(name, namespace, (sid, *args))
        if target is None:
            return None
        keywords = {"is_redelivered": redelivered} if self._signatures.of(target.shape).is_redelivered else None
        return target.call, target.leading, keywords

    def _target(self, event: Any, namespace: str, args: tuple[Any, ...]) -> _Target | None:
        handler, leading = self._server._get_event_handler(event, namespace, args)
        if handler:
            return _Target(handler, leading, handler)
        handler, leading = self._server._get_namespace_handler(namespace, args)
        if not handler:
            return None
        method = getattr(handler, f"on_{event}", None)
        if getattr(handler.trigger_event, "__func__", None) is self._plain_trigger:
            method = method or _nothing
            return _Target(method, leading, method)
        return _Target(_through(handler.trigger_event, event), leading, method or _anything)


def _through(trigger_event: Callable[..., Any], event: Any) -> Handler:
    def call(*args: Any) -> Any:
        return trigger_event(event, *args)

    return call


def _anything(*args: Any) -> None:
    """The signature of a `trigger_event` that finds its handlers in a way of its own."""


def _nothing(*args: Any) -> None:
    """A class namespace without a method for the event: python-socketio answers it with an empty ack."""
