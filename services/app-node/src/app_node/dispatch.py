"""Facts to handlers, in order per client.

The facts of a client are taken in order; its connect, and its connect with `is_reconnect`, end before its events
start. Events start in order, as tasks that may overlap (`async_handlers=True`), or one after another. Different clients
do not wait for each other. A fact counts as handled in its entry's scope when its handler has ended.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, assert_never

import structlog

from app_node.acks import AckBook
from app_node.application import INTERNAL_ERROR, INVALID_NAMESPACE, RESERVED, Application, Refusal
from app_node.clients import Client, Clients, State
from app_node.counters import Counters
from app_node.handlers import is_awaitable
from app_node.lane import Lane
from app_node.outbox import Outbox
from app_node.payloads import ack_packet, arguments, decode, decode_any, encode
from app_node.record_writer import RecordWriter
from app_node.scope import Scope, current_scope
from sio_cluster.protocol import reasons
from sio_cluster.protocol.errors import LeaseLost, MalformedPacket
from sio_cluster.protocol.messages import (
    Accept,
    Ack,
    AckReceived,
    ClientConnected,
    ClientDisconnected,
    ClientUpgraded,
    Command,
    Disconnect,
    EventReceived,
    Fact,
    Refuse,
)
from sio_cluster.streams.records import Accepted, ClientRecord, Upgraded

log = structlog.get_logger()


class Loader(Protocol):
    async def load(self, sid: str) -> ClientRecord | None:
        """The client's record. Waits out Redis' absence."""


class Dispatcher:
    """Runs the application's handlers for the lanes that this app-node holds."""

    def __init__(
        self,
        *,
        application: Application,
        clients: Clients,
        outbox: Outbox,
        writer: RecordWriter,
        records: Loader,
        acks: AckBook,
        counters: Counters,
        async_handlers: bool,
        always_connect: bool,
        trace: bool = False,
    ) -> None:
        self._application = application
        self._clients = clients
        self._outbox = outbox
        self._writer = writer
        self._records = records
        self._acks = acks
        self._counters = counters
        self._async_handlers = async_handlers
        self._always_connect = always_connect
        self._trace = trace

    def deliver(self, fact: Fact, scope: Scope) -> None:
        """Takes over one fact that `scope` has begun. Never blocks."""
        client = self._clients.get(fact.sid)
        if client is None:
            client = Client(fact.sid, scope.lane)
            self._clients.add(client)
        elif (
            type(fact) is EventReceived
            and self._async_handlers
            and client.state is State.CONNECTED
            and not client.draining
        ):
            self._start(self._event(client, fact, scope), scope.lane)
            return
        if client.inbox is None:
            client.inbox = deque()
        client.inbox.append((fact, scope))
        if not client.draining:
            client.draining = True
            self._start(self._drain(client), scope.lane)

    def drop_lane(self, lane: Lane) -> None:
        """Stops acting for a lane: its handlers are cancelled, its instances dropped, nothing of it is committed."""
        lane.lost = True
        for task in list(lane.tasks):
            task.cancel()
        dropped = self._clients.drop_lane(lane)
        log.debug("lane_dropped", lane=lane.number, clients=dropped, handlers=len(lane.tasks))

    async def disconnect(self, client: Client, scope: Scope | None) -> None:
        """The application disconnects a client: the `disconnect` handler runs now, as in python-socketio."""
        client.state = State.GONE
        self._post(client, Disconnect(client.sid), scope)
        await self._run_disconnect(client, reasons.SERVER_DISCONNECT)
        self._forget(client, scope)

    # --- order -----------------------------------------------------------------------------------------------------

    def _start(self, work: Coroutine[Any, Any, None], lane: Lane) -> None:
        task = asyncio.get_running_loop().create_task(work)
        lane.tasks.add(task)
        task.add_done_callback(lane.tasks.discard)

    async def _drain(self, client: Client) -> None:
        """Works off what waits for one client."""
        while client.inbox:
            fact, scope = client.inbox.popleft()
            if not scope.lane.held():
                return
            current_scope.set(scope)
            try:
                await self._handle(client, fact, scope)
            except Exception:  # a defect here must not stop this client, nor its lane, for ever
                self._counters.add("failed.dispatch")
                log.exception("dispatch_failed", sid=client.sid, lane=scope.lane.number, fact=type(fact).__name__)
            scope.end()
        client.inbox = None
        client.draining = False
        if client.forgotten or client.state is State.UNKNOWN:
            self._clients.remove(client)

    async def _handle(self, client: Client, fact: Fact, scope: Scope) -> None:
        match fact:
            case EventReceived():
                if not await self._is_ready(client, scope):
                    self._drop(client, "unknown_client")
                elif self._async_handlers:
                    scope.begin()
                    self._start(self._event(client, fact, scope), scope.lane)
                else:
                    await self._run_event(client, fact, scope)
            case ClientConnected():
                await self._connected(client, fact, scope)
            case ClientUpgraded():
                client.transport = fact.transport
                self._writer.change(Upgraded(fact.sid, fact.transport), scope)
            case ClientDisconnected():
                await self._disconnected(client, fact, scope)
            case AckReceived():
                self._drop(client, "misplaced_ack")
            case _:
                assert_never(fact)

    async def _is_ready(self, client: Client, scope: Scope) -> bool:
        """Whether the client may have events: one that is not known here is made anew from its record."""
        if client.state is State.UNKNOWN:
            record = await self._records.load(client.sid)
            if record is None:
                client.state = State.GONE
                client.forgotten = True
            else:
                await self._restore(client, record, scope)
        return client.state is State.CONNECTED

    async def _restore(self, client: Client, record: ClientRecord, scope: Scope) -> None:
        """Calls the connect handler with `is_reconnect=True` where it asks for that."""
        client.restore(record)
        self._counters.add("clients_restored")
        if not record.accepted:  # the io-node passes events on for clients that are in, so this one is
            self._writer.change(Accepted(client.sid), scope)
        if self._application.wants_reconnect(client.namespace):
            refusal = await self._run_connect(client, is_reconnect=True)
            if refusal is not None:
                log.info("reconnect_refused", sid=client.sid, lane=scope.lane.number)
                await self.disconnect(client, scope)
                return
        client.state = State.CONNECTED

    # --- connect and disconnect ------------------------------------------------------------------------------------

    async def _connected(self, client: Client, fact: ClientConnected, scope: Scope) -> None:
        if client.state is State.CONNECTED:
            self._post(client, Accept(client.sid), scope)
            return
        if scope.redelivered:
            record = await self._records.load(client.sid)
            if record is None:
                client.state = State.GONE
                client.forgotten = True
                self._drop(client, "stale_connect")
                return
            if record.accepted:
                self._post(client, Accept(client.sid), scope)
                await self._restore(client, record, scope)
                return
        client.adopt(fact)
        inner = self._inner_scope(scope)
        if not self._application.accepts(client.namespace):
            self._refuse(client, INVALID_NAMESPACE, inner)
        else:
            await self._decide(client, inner)
        self._record_outcome(client, inner, scope)

    def _record_outcome(self, client: Client, inner: Scope, scope: Scope) -> None:
        """Written when the handler's output is in Redis: until then a redelivery runs the handler again."""
        if client.state is State.CONNECTED:
            inner.then(lambda: self._writer.change(Accepted(client.sid), scope))
        elif client.state is State.GONE:
            inner.then(lambda: self._forget(client, scope))
        inner.end()

    async def _decide(self, client: Client, scope: Scope) -> None:
        """Runs the connect handler and carries out what it says."""
        if self._always_connect:
            self._post(client, Accept(client.sid), scope)
        refusal = await self._run_connect(client, is_reconnect=False)
        if refusal is not None:
            self._refuse(client, refusal, scope)
        elif client.state is State.CONNECTING:
            if not self._always_connect:
                self._post(client, Accept(client.sid), scope)
            client.state = State.CONNECTED
            self._counters.add("clients_accepted")

    async def _run_connect(self, client: Client, *, is_reconnect: bool) -> Refusal | None:
        try:
            auth = None if client.auth is None else decode_any(client.auth, self._application.json_module)
            return await self._application.connect(
                client.namespace, client.sid, client.environ, auth, is_reconnect=is_reconnect
            )
        except (asyncio.CancelledError, LeaseLost):
            _raise_if_cancelled()
            return INTERNAL_ERROR
        except Exception:  # noqa: BLE001 - the application's own error, which may be any
            self._failed(client, "connect")
            return INTERNAL_ERROR

    def _refuse(self, client: Client, refusal: Refusal, scope: Scope) -> None:
        client.state = State.GONE
        self._counters.add("clients_refused")
        if self._always_connect and refusal is not INVALID_NAMESPACE:
            self._post(client, Disconnect(client.sid), scope)
            return
        try:
            payload = encode([refusal.payload], self._application.json_module).text[1:-1]
        except (TypeError, ValueError, RecursionError):
            self._failed(client, "connect")
            payload = encode([{"message": str(refusal.payload.get("message"))}]).text[1:-1]
        self._post(client, Refuse(client.sid, payload), scope)

    async def _disconnected(self, client: Client, fact: ClientDisconnected, scope: Scope) -> None:
        if client.state is State.UNKNOWN:
            record = await self._records.load(client.sid)
            if record is None or not record.accepted:
                client.state = State.GONE
                self._forget(client, scope)
                return
            await self._restore(client, record, scope)
        if client.state is not State.CONNECTED:
            return
        client.state = State.GONE
        current_scope.set(inner := self._inner_scope(scope))
        await asyncio.sleep(0)  # events that were started before take their first step before the handler does
        await self._run_disconnect(client, fact.reason)
        inner.then(lambda: self._forget(client, scope))
        inner.end()

    async def _run_disconnect(self, client: Client, reason: str) -> None:
        self._acks.forget_client(client.sid)
        self._counters.add("clients_disconnected")
        try:
            await self._application.disconnect(client.namespace, client.sid, reason)
        except (asyncio.CancelledError, LeaseLost):
            _raise_if_cancelled()
        except Exception:  # noqa: BLE001 - the application's own error, which may be any
            self._failed(client, "disconnect")

    def _forget(self, client: Client, scope: Scope | None) -> None:
        """The instance stays until the record is gone, so that a late event does not bring the client back."""

        def forgotten() -> None:
            client.forgotten = True
            if not client.draining:
                self._clients.remove(client)

        self._writer.forget(client.sid, scope, forgotten)

    def _inner_scope(self, scope: Scope) -> Scope:
        """A scope of one fact's own: what must wait until its handler's output is in Redis goes into `then`."""
        scope.begin()
        inner = Scope(scope.lane, scope.id, scope.redelivered, lambda _: scope.end())
        current_scope.set(inner)
        return inner

    # --- events ----------------------------------------------------------------------------------------------------

    async def _event(self, client: Client, fact: EventReceived, scope: Scope) -> None:
        """One event as a task of its own."""
        if not scope.lane.held():
            return
        current_scope.set(scope)
        await self._run_event(client, fact, scope)
        scope.end()

    async def _run_event(self, client: Client, fact: EventReceived, scope: Scope) -> None:
        application = self._application
        name: Any = None
        args: Sequence[Any]
        try:
            name, *args = decode(fact.data, fact.attachments, application.json_module)
            if name in RESERVED:
                self._drop(client, "reserved_event")
                return
            if self._trace:
                log.debug("event", sid=client.sid, event_name=name, lane=scope.lane.number)
            call = application.event(client.namespace, client.sid, name, args, redelivered=scope.redelivered)
            if call is None:
                self._counters.add("events_not_handled")
                return
            handler, args, keywords = call
            result = handler(*args, **keywords) if keywords else handler(*args)
            if is_awaitable(result):
                result = await result
            if fact.ack_id is not None:
                payload = encode(arguments(result), application.json_module)
                packet = ack_packet(client.namespace, payload, fact.ack_id)
                self._post(client, Ack(client.sid, packet, payload.attachments), scope, len(packet))
            self._counters.add("events_handled")
        except (asyncio.CancelledError, LeaseLost):
            _raise_if_cancelled()
        except MalformedPacket:
            self._drop(client, "malformed_event")
        except Exception:  # noqa: BLE001 - the application's own error, which may be any
            self._failed(client, name)

    # --- ends ------------------------------------------------------------------------------------------------------

    def _post(self, client: Client, command: Command, scope: Scope | None, size: int = 0) -> None:
        if client.io_node is None:
            self._drop(client, "foreign_sid")
        else:
            self._outbox.put(client.io_node, command, size, scope)

    def _drop(self, client: Client, why: str) -> None:
        self._counters.add(f"dropped.{why}")
        log.debug("fact_dropped", sid=client.sid, lane=client.lane.number, why=why)

    def _failed(self, client: Client, event: Any) -> None:
        self._counters.add("failed.handlers")
        log.exception("handler_failed", sid=client.sid, event_name=event, lane=client.lane.number)


def _raise_if_cancelled() -> None:
    """A handler that was cancelled by itself counts as ended, as in python-socketio; one that we cancel stops here."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
