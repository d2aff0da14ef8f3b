"""What app-nodes say to each other: events through their inboxes, and the answers.

An event runs its handler at most once on each app-node: one that dies or leaves first has not run it. Events of one
sender begin in the order in which they were sent.

Bounds: the events whose handlers have not ended may weigh `max_bytes`; one more is refused, and answered so.
`MAX_CALLS` calls may be open. Their answers count for the bound of `clients.waiting_answers`.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias, cast

import structlog

from app_node.clients.waiting_answers import WaitingAnswers, size_of
from app_node.counters import Counters
from app_node.downlink.app_nodes import AppNodes
from app_node.downlink.emitter import Emitter
from app_node.handlers.endings import forget_cancellation, raise_unless_own, running_task
from app_node.handlers.server_events import NoServerHandler, ServerHandlers
from app_node.handlers.turns import HandlerTurns
from app_node.payloads import ANY_ATTACHMENTS, JsonModule, Payload, arguments, decode, encode
from sio_cluster.node.monitoring.log import log_raised
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import MalformedPacket, TooManyAnswers, TooManyCalls
from sio_cluster.protocol.messages import ServerAnswer, ServerEvent

log = structlog.get_logger()

MAX_CALLS = 1_000
EVENT_BYTES = 1_000
"""What an event weighs besides its data while its handler runs."""
LATE_LOOKS = 2
"""How often in a row an app-node must look dead that is still registered: all do after Redis was away."""

PeerMissing: TypeAlias = Literal["timeout", "node lost", "failed", "no handler", "busy", "malformed"]
"""Why an app-node has not answered: it was silent; it has died or left; its handler raised; it has none; too many
events wait there; its answer cannot be decoded."""


class PeerCall:
    """One question to app-nodes. `answers` and `missing` are complete when `over` is set, or else there is a `failure`.

    `close` it in any case.
    """

    def __init__(self, due: Iterable[str], waiting: WaitingAnswers) -> None:
        self.due = set(due)
        self.failure: TooManyAnswers | None = None
        self._waiting = waiting
        self._size = 0  # of its answers
        self.answers: dict[str, Sequence[Any]] = {}
        self.missing: dict[str, PeerMissing] = {}
        self.over = asyncio.Event()
        self._check()

    def admits(self, node: str, size: int) -> bool:
        """Whether an answer of so many bytes of this app-node is waited for, and may be kept. Counts it then."""
        if node not in self.due:
            return False
        self.failure = self._waiting.refusal(size)
        if self.failure is not None:
            self.due.clear()
            self.answers.clear()
            self.over.set()
            return False
        self._waiting.bytes += size
        self._size += size
        return True

    def close(self) -> None:
        """Nobody waits for it any more."""
        self.due.clear()
        self._waiting.bytes -= self._size
        self._size = 0

    def answer(self, node: str, args: Sequence[Any]) -> None:
        if node in self.due:
            self.due.remove(node)
            self.answers[node] = args
            self._check()

    def miss(self, node: str, why: PeerMissing) -> None:
        if node in self.due:
            self.due.remove(node)
            self.missing[node] = why
            self._check()

    def _check(self) -> None:
        if not self.due:
            self.over.set()


class _Handling:
    """For what the handlers' tasks run (`endings.Owner`): until this node ends them."""

    def __init__(self) -> None:
        self.lost = False

    def held(self) -> bool:
        return not self.lost


class Peers:
    """The other app-nodes, and this one as one of them. `run` is a loop."""

    def __init__(
        self,
        node_id: str,
        *,
        handlers: ServerHandlers,
        emitter: Emitter,
        app_nodes: AppNodes,
        turns: HandlerTurns,
        waiting: WaitingAnswers,
        counters: Counters,
        json_module: JsonModule | None,
        max_bytes: int,
        pause_s: float,
    ) -> None:
        self._node_id = node_id
        self._handlers = handlers
        self._emitter = emitter
        self._app_nodes = app_nodes
        self._turns = turns
        self._waiting = waiting
        self._counters = counters
        self._json_module = json_module
        self._max_bytes = max_bytes
        self._pause_s = pause_s
        self._retry = Retry("peers", counters.redis_retries)
        self._ids = itertools.count(1)
        self._calls: dict[int, PeerCall] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._handling = _Handling()
        self._bytes = 0  # of the events whose handlers have not ended
        self._used = asyncio.Event()
        self._late: Counter[str] = Counter()  # how often in a row an app-node has looked dead

    # --- saying

    async def emit(self, payload: Payload, *, include_self: bool) -> None:
        """Sends an event to every app-node that is registered and alive. As `Emitter`'s methods, returns when it is
        queued (in a handler) or in Redis."""
        await self._send(ServerEvent(payload.text, payload.attachments), await self._names(include_self))

    async def call(self, payload: Payload, timeout_s: float, *, include_self: bool) -> PeerCall:
        """Sends an event, and waits until each of them has answered, or cannot.

        Raises TooManyCalls, and TooManyAnswers where the answers weigh too much. Both are counted.
        """
        if len(self._calls) >= MAX_CALLS:
            self._counters.calls_refused += 1
            raise TooManyCalls(f"{MAX_CALLS} calls of app-nodes are open")
        ask_id = next(self._ids)
        names = await self._names(include_self)
        call = self._calls[ask_id] = PeerCall(names, self._waiting)
        try:
            await self._send(ServerEvent(payload.text, payload.attachments, ask_id), names)
            async with asyncio.timeout(timeout_s):
                await call.over.wait()
        except TimeoutError:
            for node in list(call.due):
                call.miss(node, "timeout" if self._app_nodes.knows(node) else "node lost")
        finally:
            call.close()
            del self._calls[ask_id]
        if call.failure is not None:
            raise call.failure
        return call

    async def _names(self, include_self: bool) -> frozenset[str]:
        self._used.set()
        names = await self._app_nodes.all()
        return names if include_self else names - {self._node_id}

    async def _send(self, event: ServerEvent, names: frozenset[str]) -> None:
        await self._emitter.to_app_nodes(sorted(names - {self._node_id}), event)
        if self._node_id in names:
            self._begin(self._node_id, event)

    # --- what comes

    def take(self, sender: str, item: ServerEvent | ServerAnswer) -> None:
        """Something has come into the inbox. Never waits."""
        match item:
            case ServerEvent():
                self._begin(sender, item)
            case ServerAnswer():
                self._answered(sender, item)

    def _answered(self, sender: str, answer: ServerAnswer) -> None:
        call = self._calls.get(answer.ask_id)
        if call is None:
            return
        if answer.error:
            call.miss(sender, cast(PeerMissing, answer.error))
            return
        if not call.admits(sender, size_of(answer.data, answer.attachments)):
            return
        try:
            call.answer(sender, decode(answer.data, answer.attachments, self._json_module))
        except MalformedPacket:
            call.miss(sender, "malformed")
        except BaseException:  # noqa: BLE001 - what the application's own JSON module raises, which may be anything
            log_raised("server_answer_failed", sender=sender)
            call.miss(sender, "malformed")

    def _begin(self, sender: str, event: ServerEvent) -> None:
        size = EVENT_BYTES + len(event.data) + sum(map(len, event.attachments))
        if self._bytes and self._bytes + size > self._max_bytes:
            self._counters.server_events["refused"] += 1
            log.warning("server_event_refused", sender=sender, waiting_bytes=self._bytes)
            task = asyncio.create_task(self._answer(sender, event, error="busy"))
            size = 0
        else:
            task = asyncio.create_task(self._handle(sender, event))
        self._bytes += size
        self._running.add(task)
        task.add_done_callback(lambda task: self._ended(task, size))

    def _ended(self, task: "asyncio.Task[None]", size: int) -> None:
        self._running.discard(task)
        self._bytes -= size

    async def _handle(self, sender: str, event: ServerEvent) -> None:
        """Runs the handler, once, and answers. Whatever the handler raises is logged, counted, and answered so."""
        if self._turns.must_wait:
            await self._turns.wait()
        task = running_task()
        name: Any = None
        payload, error = Payload(b"[]", []), ""
        try:
            name, *args = decode(event.data, event.attachments, self._json_module)
            result = await self._handlers.run(sender, name, args)
            if event.ask_id is not None:
                payload = encode(arguments(result), self._json_module, ANY_ATTACHMENTS)
            self._counters.server_events["handled"] += 1
        except NoServerHandler:
            self._counters.server_events["unhandled"] += 1
            error = "no handler"
        except BaseException as raised:  # noqa: BLE001 - the application's own error, which may be any
            raise_unless_own(raised, task, self._handling)
            self._counters.server_events["failed"] += 1
            error = "failed"
            log_raised("server_handler_failed", sender=sender, event_name=name)
        await forget_cancellation(task, self._handling)
        await self._answer(sender, event, payload, error)

    async def _answer(self, to: str, event: ServerEvent, payload: Payload | None = None, error: str = "") -> None:
        if event.ask_id is None:
            return
        payload = payload or Payload(b"[]", [])
        answer = ServerAnswer(event.ask_id, payload.text, payload.attachments, error)
        if to == self._node_id:
            self._answered(to, answer)
        else:
            await self._emitter.to_app_nodes([to], answer)

    # --- its life

    async def run(self) -> None:
        """For as long as the node lives: looks who lives, once this node has said anything. Retried while Redis is
        away."""
        await self._used.wait()
        await self._retry.forever(self.look, pause_s=self._pause_s)

    async def look(self) -> None:
        """One look. Who has left or died answers no open call. Raises BusError."""
        alive = await self._app_nodes.look()
        due = set[str]().union(*[call.due for call in self._calls.values()])
        silent = due - alive
        registered = await self._app_nodes.registered() if silent else frozenset[str]()
        self._late = Counter({node: self._late[node] + 1 for node in silent})
        for node in silent:
            if node not in registered or self._late[node] >= LATE_LOOKS:
                for call in list(self._calls.values()):
                    call.miss(node, "node lost")

    async def idle(self) -> None:
        """Returns when no handler runs, and every answer is in Redis."""
        while others := self._others():
            await asyncio.wait(others)

    async def close(self) -> None:
        """Ends the handlers that still run."""
        self._handling.lost = True
        others = self._others()
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others, timeout=1.0)

    def _others(self) -> set["asyncio.Task[None]"]:
        """Handlers that run, but for the one that asks: it may be the one that stops this node."""
        return self._running - {cast("asyncio.Task[None]", running_task())}
