"""Facts to handlers, in order per client.

The facts of a client are taken in order; its connect, and its connect with `is_reconnect`, end before its events
start. Events start in order, as tasks that may overlap (`async_handlers=True`), or one after another. Different clients
do not wait for each other. A fact counts as handled in its entry's scope when its handler has ended.
"""

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, assert_never

import structlog

from app_node.clients.client import Client, Clients, State
from app_node.clients.incidents import Incidents
from app_node.clients.lifecycle import Admission
from app_node.counters import HANDLED_EVENT, UNHANDLED_EVENT
from app_node.downlink.outbox import Outbox
from app_node.downlink.record_writer import RecordWriter
from app_node.handlers.application import RESERVED, Application
from app_node.handlers.signatures import is_awaitable, raise_if_cancelled
from app_node.lanes.lane import Lane
from app_node.lanes.progress import Scope, current_scope
from app_node.payloads import ack_packet, arguments, decode, encode
from sio_cluster.protocol.errors import LeaseLost, MalformedPacket
from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import (
    Ack,
    AckReceived,
    ClientConnected,
    ClientDisconnected,
    ClientUpgraded,
    EventReceived,
    Fact,
)
from sio_cluster.streams.redis.records import Upgraded

log = structlog.get_logger()


class Dispatcher:
    """Runs the application's handlers for the lanes that this app-node holds."""

    def __init__(
        self,
        *,
        application: Application,
        admission: Admission,
        clients: Clients,
        outbox: Outbox,
        writer: RecordWriter,
        incidents: Incidents,
        async_handlers: bool,
        trace: bool = False,
    ) -> None:
        self._application = application
        self._admission = admission
        self._clients = clients
        self._outbox = outbox
        self._writer = writer
        self._incidents = incidents
        self._async_handlers = async_handlers
        self._trace = trace

    def deliver(self, fact: Fact, scope: Scope) -> None:
        """Takes over one fact that `scope` has begun. Never blocks."""
        client = self._clients.get(fact.sid)
        if client is None:
            io_node = node_of(fact.sid)
            if io_node is None:
                scope.end_fact("refused.foreign_sid")
                return
            client = Client(fact.sid, io_node, scope.lane)
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
                outcome = await self._handle(client, fact, scope)
            except LeaseLost:
                return
            except Exception:  # a defect here must not stop this client, nor its lane, for ever
                outcome = "refused.defect"
                log.exception("dispatch_failed", sid=client.sid, lane=scope.lane.number, fact=type(fact).__name__)
            if outcome is not None:
                scope.end_fact(outcome)
        client.inbox = None
        client.draining = False
        if client.forgotten or client.state is State.UNKNOWN:
            self._clients.remove(client)

    async def _handle(self, client: Client, fact: Fact, scope: Scope) -> str | None:
        """What the fact counts as, None where a task of its own goes on with it. Raises LeaseLost."""
        match fact:
            case EventReceived():
                if not await self._admission.is_ready(client, scope):
                    return self._incidents.refused(client, "unknown_client")
                if not self._async_handlers:
                    return await self._run_event(client, fact, scope)
                self._start(self._event(client, fact, scope), scope.lane)
                return None
            case ClientConnected():
                return await self._admission.connected(client, fact, scope)
            case ClientUpgraded():
                client.transport = fact.transport
                self._writer.change(Upgraded(fact.sid, fact.transport), scope)
                return "handled.upgraded"
            case ClientDisconnected():
                await self._admission.disconnected(client, fact, scope)
                return "handled.disconnected"
            case AckReceived():
                return self._incidents.refused(client, "misplaced_ack")
            case _:
                assert_never(fact)

    # --- events ----------------------------------------------------------------------------------------------------

    async def _event(self, client: Client, fact: EventReceived, scope: Scope) -> None:
        """One event as a task of its own."""
        current_scope.set(scope)
        try:
            scope.end_fact(await self._run_event(client, fact, scope))
        except LeaseLost:
            return  # the lane's next holder runs it

    async def _run_event(self, client: Client, fact: EventReceived, scope: Scope) -> str:
        """Runs the handler, once. What the fact counts as. Raises LeaseLost where it must not begin."""
        scope.lane.require_held()
        application = self._application
        name: Any = None
        args: Sequence[Any]
        try:
            name, *args = decode(fact.data, fact.attachments, application.json_module)
            if name in RESERVED:
                return self._incidents.refused(client, "reserved_event")
            if self._trace:
                log.debug("event", sid=client.sid, event_name=name, lane=scope.lane.number)
            call = application.event(client.namespace, client.sid, name, args, redelivered=scope.redelivered)
            if call is None:
                return UNHANDLED_EVENT
            handler, args, keywords = call
            result = handler(*args, **keywords) if keywords else handler(*args)
            if is_awaitable(result):
                result = await result
            if fact.ack_id is not None:
                payload = encode(arguments(result), application.json_module)
                packet = ack_packet(client.namespace, payload, fact.ack_id)
                size = len(packet) + sum(map(len, payload.attachments))
                self._outbox.put(client.io_node, Ack(client.sid, packet, payload.attachments), size, scope)
        except (asyncio.CancelledError, LeaseLost):
            raise_if_cancelled()
        except MalformedPacket:
            return self._incidents.refused(client, "malformed_event")
        except Exception:  # noqa: BLE001 - the application's own error, which may be any
            self._incidents.handler_failed(client, name)
        return HANDLED_EVENT
