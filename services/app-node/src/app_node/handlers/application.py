"""The application's handlers: finds the one for an event, and calls it with the arguments that it takes.

Which handler serves what is decided by python-socketio's own `BaseServer`. Each handler runs exactly once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

from app_node.handlers.calls import call_connect, call_disconnect
from app_node.handlers.server_events import ServerHandlers
from app_node.handlers.signatures import Handler, Signature, Signatures
from app_node.payloads import JsonModule


class Registrations(Protocol):
    """The part of python-socketio's `BaseServer` that knows the handlers."""

    handlers: dict[str, dict[Any, Handler]]
    namespace_handlers: dict[str, Any]
    namespaces: Any

    def _get_event_handler(self, event: Any, namespace: str, args: Any) -> Any: ...

    def _get_namespace_handler(self, namespace: str, args: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a client is not let in. It gets `payload` in a CONNECT_ERROR packet: `{"message": ..., "data": ...}`."""

    payload: dict[str, Any]


INVALID_NAMESPACE = Refusal({"message": "Invalid namespace"})
"""Nobody serves this namespace."""
INTERNAL_ERROR = Refusal({"message": "Internal server error"})
"""The connect handler failed."""
REJECTED = Refusal({"message": "Connection rejected by server"})
"""The connect handler returned False, or refused without giving a reason."""
BUILTIN_REFUSED = Refusal({"message": "Connection refused by server"})
"""The connect handler raised Python's own ConnectionRefusedError."""


class _Target(NamedTuple):
    """A handler, the arguments that come first, and what it takes."""

    call: Handler
    leading: tuple[Any, ...]
    signature: Signature
    is_named: bool = False
    """Whether it is the handler of this event alone."""


class Application:
    """The registered handlers.

    `refused` is python-socketio's ConnectionRefusedError. `plain_trigger` is `AsyncNamespace.trigger_event`: a class
    that has a `trigger_event` of its own is called through that.
    """

    def __init__(
        self, server: Registrations, refused: type[Exception], plain_trigger: Any, json_module: JsonModule | None = None
    ) -> None:
        self._server = server
        self._refused = refused
        self._plain_trigger = plain_trigger
        self._signatures = Signatures()
        self.json_module = json_module
        self._atomic: dict[int, Handler] = {}  # by `id`: a callable object need not be hashable
        self.of_servers = ServerHandlers()

    def make_atomic(self, handler: Handler) -> None:
        """What this handler says is held until it ends."""
        self._atomic[id(handler)] = handler

    def is_atomic(self, handler: Handler) -> bool:
        return id(handler) in self._atomic

    @property
    def has_handlers(self) -> bool:
        """Whether there is any handler: of an event, of all events, or a namespace class. They may come at any time."""
        return any(self._server.handlers.values()) or bool(self._server.namespace_handlers)

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
        return target is not None and "is_reconnect" in target.signature.flags

    async def connect(
        self, namespace: str, sid: str, environ: Any, auth: Any, *, is_reconnect: bool, is_recovered: bool
    ) -> Refusal | None:
        """Calls the connect handler. None: let the client in. Raises what the handler raises, except for refusals."""
        target = self._target("connect", namespace, (sid,))
        if target is None:
            return None
        flags = {"is_reconnect": is_reconnect, "is_recovered": is_recovered}
        try:
            result = await call_connect(target.call, target.signature, target.leading, environ, auth, flags)
        except self._refused as error:
            return Refusal(getattr(error, "error_args", REJECTED.payload))
        except ConnectionRefusedError:
            return BUILTIN_REFUSED
        return REJECTED if result is False else None

    async def disconnect(self, namespace: str, sid: str, reason: str) -> None:
        """Calls the disconnect handler, if there is one. Raises what it raises."""
        target = self._target("disconnect", namespace, (sid,))
        if target is not None:
            await call_disconnect(target.call, target.signature, target.leading, reason)

    def event(
        self, namespace: str, sid: str, name: Any, args: Sequence[Any], *, redelivered: bool
    ) -> tuple[Handler, Sequence[Any], dict[str, Any] | None, bool] | None:
        """The handler of this event with its arguments and keywords, and whether it serves this event alone.

        None where no handler serves it.
        """
        target = self._target(name, namespace, (sid, *args))
        if target is None:
            return None
        keywords = {"is_redelivered": redelivered} if target.signature.is_redelivered else None
        return target.call, target.leading, keywords, target.is_named

    def _target(self, event: Any, namespace: str, args: tuple[Any, ...]) -> _Target | None:
        handler, leading = self._server._get_event_handler(event, namespace, args)
        if handler:
            is_named = leading is args  # else a catch-all, which gets what it catches as an argument more
            if event == "*":  # python-socketio finds the catch-all by its name, and takes it for an ordinary handler
                leading, is_named = (event, *leading), False
            return _Target(handler, leading, self._signatures.of(handler), is_named)
        handler, leading = self._server._get_namespace_handler(namespace, args)
        if not handler:
            return None
        method = getattr(handler, f"on_{event}", None)
        if getattr(handler.trigger_event, "__func__", None) is self._plain_trigger:
            is_named = method is not None
            method = method or _nothing
            return _Target(method, leading, self._signatures.of(method), is_named)
        trigger, of = handler.trigger_event, self._signatures.of
        return _Target(_through(trigger, event), leading, _passed_on(of(trigger), of(method or _anything)))


def _through(trigger_event: Callable[..., Any], event: Any) -> Handler:
    def call(*args: Any, **keywords: Any) -> Any:
        return trigger_event(event, *args, **keywords)

    return call


def _passed_on(trigger: Signature, method: Signature) -> Signature:
    """What a method takes by way of a class' own `trigger_event`, which may take no keywords."""
    if not (method.flags or method.is_redelivered):
        return method
    by_position = {name for _, name in method.flags_at}
    return replace(
        method,
        flags=method.flags & (trigger.flags | by_position),
        is_redelivered=method.is_redelivered and trigger.is_redelivered,
    )


def _anything(*args: Any) -> None:
    """Stands for the signature of handlers that a class' own `trigger_event` finds: it may take anything."""


def _nothing(*args: Any) -> None:
    """The handler where a class namespace has no method for the event: python-socketio answers with an empty ack."""
