"""What app-nodes say to each other: `emit_server`, `call_server` and `on_server`. Not in python-socketio.

Node's Socket.IO calls it `serverSideEmit`.
"""

from collections.abc import Callable
from typing import Any, TypeVar, overload

from app_node.downlink.held import held_output
from app_node.handlers.server_events import require_free
from app_node.interface.asking import Answers
from app_node.interface.server_object import ServerObject
from app_node.payloads import ANY_ATTACHMENTS, Payload, encode
from sio_cluster.protocol.messages import SERVER_LEVEL

Handler = TypeVar("Handler", bound=Callable[..., Any])


class AppNodeEvents:
    """What a server object offers for events between app-nodes."""

    async def emit_server(self: ServerObject, event: str, *args: Any, include_self: bool = False) -> None:
        """Runs the `on_server` handler of this event on every other app-node, with `include_self` here too.

        It is for app-nodes that are registered and alive now: those that serve clients. Each gets the events of one
        sender in order, and each event once, unless it dies or stops first. Returns when Redis has the event; in a
        handler when it is queued, as `emit`. A program that only emits may call it, and gets nothing itself.

        Raises ValueError for "connect", "connection" and "new_namespace", and as `emit` for arguments that are not
        JSON. Raises NodesTooOld where a node of the cluster is older than this.
        """
        if include_self and held_output() is not None:
            raise RuntimeError("Cannot include this app-node in an atomic handler: it would run before that has ended.")
        payload = await _prepared(self, event, args)
        await self.node.uplink.peers.emit(payload, include_self=include_self)

    async def call_server(
        self: ServerObject, event: str, *args: Any, timeout: float = 60, include_self: bool = False
    ) -> Answers:
        """As `emit_server`, and returns what the handlers return, by the ids of their app-nodes.

        It waits `timeout` seconds at most, and never for an app-node that has died: `missing` says who has not
        answered, and why: "timeout", "node lost", "failed" (the handler raised, which is logged there), "no handler",
        "busy" (its events weigh more than MAX_INFLIGHT_BYTES), "malformed". Raises TooManyCalls where 1,000 of these
        calls are open, TooManyAnswers where the answers weigh more than MAX_INFLIGHT_BYTES, with those of `call_many`,
        and RuntimeError in an atomic handler.
        """
        if held_output() is not None:
            raise RuntimeError("Cannot use call_server() in an atomic handler: it would leave when that has ended.")
        payload = await _prepared(self, event, args)
        call = await self.node.uplink.peers.call(payload, timeout, include_self=include_self)
        values = {node: got[0] if len(got) == 1 else tuple(got) if got else None for node, got in call.answers.items()}
        return Answers(values, dict(call.missing))

    @overload
    def on_server(self, event: str) -> Callable[[Handler], Handler]: ...

    @overload
    def on_server(self, event: str, handler: Handler) -> Handler: ...

    def on_server(self: Any, event: str, handler: Any = None) -> Any:
        """Decorator: `handler(sender, *args)` runs when an app-node emits this event by `emit_server`, or asks by
        `call_server`. `sender` is that app-node's id. It may be a coroutine function; what it returns is the answer.

        Handlers begin in the order in which events came, and none waits for the one before. There is one for each
        event. Raises ValueError for a reserved name.
        """
        require_free(event)

        def register(its: Handler) -> Handler:
            self.application.of_servers.register(event, its)
            return its

        return register if handler is None else register(handler)


async def _prepared(server: ServerObject, event: str, args: tuple[Any, ...]) -> Payload:
    """What is sent. This node can be answered from now on."""
    require_free(event)
    node = server.node
    payload = encode([event, *args], server.application.json_module, ANY_ATTACHMENTS)
    await node.open_callbacks()
    await node.downlink.routes.require_level(SERVER_LEVEL, "what app-nodes say to each other")
    return payload
