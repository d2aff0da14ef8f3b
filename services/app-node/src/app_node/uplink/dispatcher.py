"""Hands facts to handlers, in order for each client.

The facts of a client are taken in the order in which they came. Its `connect` handler (also one that is called with
`is_reconnect`) ends before its events begin. Events begin in order; with `async_handlers=True` each runs as a task, and
they may overlap, else one ends before the next begins. Clients do not wait for each other. A fact has ended when its
handler has.
"""

from collections import deque
from collections.abc import Sequence
from time import perf_counter
from typing import Any, assert_never

import structlog

from app_node.clients.client import Client, Clients, State
from app_node.clients.incidents import Incidents
from app_node.clients.lifecycle import ClientLifecycle
from app_node.clients.sightings import Sightings
from app_node.counters import (
    CLIENT_UPGRADED,
    DEFECT,
    EVENT_HANDLED,
    EVENT_UNHANDLED,
    FOREIGN_SID,
    MALFORMED_EVENT,
    MISPLACED_ACK,
    RESERVED_EVENT,
    ROOM_CHANGED,
    STALE_UPGRADE,
    UNKNOWN_CLIENT,
    Outcome,
)
from app_node.downlink.held import HeldOutput, hold_output
from app_node.downlink.outbox import Outbox
from app_node.downlink.record_writer import RecordWriter
from app_node.durations import OTHER, Durations
from app_node.handlers.application import Application
from app_node.handlers.calls import is_awaitable
from app_node.handlers.endings import forget_cancellation, raise_unless_own, running_task
from app_node.handlers.turns import HandlerTurns
from app_node.lanes.lane import Lane
from app_node.lanes.progress import EntryProgress, current_progress
from app_node.payloads import arguments, decode, encode
from app_node.tracing import Traces
from sio_cluster.node.monitoring.log import log_raised
from sio_cluster.node.monitoring.tracing import Span
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
    RoomChanged,
)
from sio_cluster.protocol.socketio import RESERVED_EVENTS, encode_ack
from sio_cluster.streams.api.records import Upgraded

log = structlog.get_logger()


class Dispatcher:
    """Runs the application's handlers for the lanes that this app-node holds."""

    def __init__(
        self,
        *,
        application: Application,
        lifecycle: ClientLifecycle,
        clients: Clients,
        outbox: Outbox,
        writer: RecordWriter,
        incidents: Incidents,
        sightings: Sightings,
        turns: HandlerTurns,
        async_handlers: bool,
        max_attachments: int,
        durations: Durations,
        traces: Traces | None = None,
        log_events: bool = False,
    ) -> None:
        self._application = application
        self._lifecycle = lifecycle
        self._clients = clients
        self._outbox = outbox
        self._writer = writer
        self._incidents = incidents
        self._sightings = sightings
        self._turns = turns
        self._async_handlers = async_handlers
        self._max_attachments = max_attachments
        self._traces = traces
        self._log_events = log_events
        self._durations = durations.handlers

    def deliver(self, fact: Fact, progress: EntryProgress) -> None:
        """Takes over one fact, which `progress` counts already. Never waits."""
        client = self._clients.get(fact.sid)
        if client is None:
            io_node = node_of(fact.sid)
            if io_node is None:
                progress.end_fact(fact, FOREIGN_SID)
                return
            client = Client(fact.sid, io_node, progress.lane)
            self._clients.add(client)
        elif (
            type(fact) is EventReceived and self._async_handlers and client.state is State.CONNECTED and not client.busy
        ):
            progress.lane.start(self._event(client, fact, progress))
            return
        if client.waiting is None:
            client.waiting = deque()
        client.waiting.append((fact, progress))
        if not client.busy:
            client.busy = True
            progress.lane.start(self._work_off(client))

    def drop_lane(self, lane: Lane) -> None:
        """Stops acting for a lane: cancels its handlers, forgets its clients, and commits nothing of it any more."""
        lane.lost = True
        for task in list(lane.tasks):
            task.cancel()
        dropped = self._clients.drop_lane(lane)
        log.debug("lane_dropped", lane=lane.behind, clients=dropped, handlers=len(lane.tasks))

    # --- order -----------------------------------------------------------------------------------------------------

    async def _work_off(self, client: Client) -> None:
        """Works off the facts that wait for one client, one after the other."""
        task = running_task()
        while client.waiting:
            if self._turns.must_wait:
                await self._turns.wait()
            fact, progress = client.waiting.popleft()
            if not progress.lane.held():
                return
            current_progress.set(progress)
            try:
                outcome = await self._handle(client, fact, progress)
            except LeaseLost:
                return
            except BaseException as error:  # noqa: BLE001 - a defect of ours must not stop this client and its lane
                raise_unless_own(error, task, progress.lane)
                outcome = DEFECT
                log_raised("dispatch_failed", sid=client.sid, lane=progress.lane.behind, fact=type(fact).__name__)
            if outcome is not None:
                progress.end_fact(fact, outcome)
            await forget_cancellation(task, progress.lane)
        client.waiting = None
        client.busy = False
        if client.forgotten or client.state is State.UNKNOWN:
            self._clients.remove(client)

    async def _handle(self, client: Client, fact: Fact, progress: EntryProgress) -> Outcome | None:
        """Handles one fact. None: a task of its own goes on with it. Raises LeaseLost."""
        match fact:
            case EventReceived():
                if not await self._lifecycle.is_ready(client, progress):
                    return self._incidents.refused(client, UNKNOWN_CLIENT)
                if not self._async_handlers:
                    run = self._run_event if fact.trace is None else self._run_traced
                    return await run(client, fact, progress)
                progress.lane.start(self._event(client, fact, progress))
                return None
            case ClientConnected():
                return await self._lifecycle.connected(client, fact, progress)
            case ClientUpgraded():
                if fact.generation < client.generation:
                    return self._incidents.refused(client, STALE_UPGRADE)
                client.transport = fact.transport
                if (observer := self._sightings.observer) is not None:
                    observer.upgraded(client.sid, client.namespace, fact.transport)
                self._writer.change(Upgraded(fact.sid, fact.transport, fact.generation), progress)
                return CLIENT_UPGRADED
            case RoomChanged():
                await self._lifecycle.room_changed(client, fact, progress)
                return ROOM_CHANGED
            case ClientDisconnected():
                return await self._lifecycle.disconnected(client, fact, progress)
            case AckReceived():
                return self._incidents.refused(client, MISPLACED_ACK)
            case _:
                assert_never(fact)

    # --- events ----------------------------------------------------------------------------------------------------

    async def _event(self, client: Client, fact: EventReceived, progress: EntryProgress) -> None:
        """One event as a task of its own."""
        if self._turns.must_wait:
            await self._turns.wait()
        current_progress.set(progress)
        run = self._run_event if fact.trace is None else self._run_traced
        try:
            progress.end_fact(fact, await run(client, fact, progress))
        except LeaseLost:
            return  # the lane's next holder handles it

    async def _run_traced(self, client: Client, fact: EventReceived, progress: EntryProgress) -> Outcome:
        """As `_run_event`, with a span that is the current one in the handler."""
        span = None
        if fact.trace is not None and self._traces is not None:
            lane, entry_id, redelivered = progress.lane.behind, progress.entry_id, progress.redelivered
            span = self._traces.process(
                fact.trace, fact, namespace=client.namespace, lane=lane, entry_id=entry_id, redelivered=redelivered
            )
        if span is None:
            return await self._run_event(client, fact, progress)
        with span.current():
            return await self._run_event(client, fact, progress, span)

    async def _run_event(
        self, client: Client, fact: EventReceived, progress: EntryProgress, span: Span | None = None
    ) -> Outcome:
        """Runs the handler, once, and queues its answer. Whatever the handler raises is logged and counted.

        Raises what `raise_unless_own` raises, also where the lane is lost before the handler begins.
        """
        application, task = self._application, running_task()
        name: Any = None
        args: Sequence[Any]
        held: HeldOutput | None = None
        try:
            name, *args = decode(fact.data, fact.attachments, application.json_module)
            if name in RESERVED_EVENTS:
                return self._incidents.refused(client, RESERVED_EVENT)
            if (observer := self._sightings.observer) is not None:
                observer.received(client.sid, client.namespace, (name, *args))
            if self._log_events:
                log.debug("event", sid=client.sid, event_name=name, lane=progress.lane.behind)
            call = application.event(client.namespace, client.sid, name, args, redelivered=progress.redelivered)
            if call is None:
                return EVENT_UNHANDLED
            handler, args, keywords, is_named = call
            if span is not None and is_named:
                span.rename(f"process {name}")
            if application.is_atomic(handler):
                held = hold_output()
            progress.lane.require_held()  # not earlier: the process may stand still at any point
            began = perf_counter()
            try:
                result = handler(*args, **keywords) if keywords else handler(*args)
                if is_awaitable(result):
                    result = await result
            finally:
                self._durations[name if is_named else OTHER].observe(perf_counter() - began)
            if held is not None:
                held.release(self._outbox.put, progress)
            if fact.ack_id is not None:
                payload = encode(arguments(result), application.json_module, self._max_attachments)
                packet = encode_ack(client.namespace, payload.text, len(payload.attachments), fact.ack_id)
                size = len(packet) + sum(map(len, payload.attachments))
                answer = Ack(client.sid, packet, payload.attachments, None if span is None else span.context)
                self._outbox.put(client.io_node, answer, size, progress)
        except MalformedPacket:
            return self._incidents.refused(client, MALFORMED_EVENT)
        except BaseException as error:  # noqa: BLE001 - the application's own error, which may be any
            raise_unless_own(error, task, progress.lane)
            if span is not None:
                span.failed(error)
            if held is not None and not held.over:
                held.release(self._outbox.put, progress)
            self._incidents.handler_failed(client, name)
        return EVENT_HANDLED
