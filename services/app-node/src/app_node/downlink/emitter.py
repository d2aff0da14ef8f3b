"""Turns what the application says into commands for the io-nodes that they concern.

Inside a handler each method returns when its command is queued: it is in Redis before the handler's lane entry is
committed. Outside of handlers it returns when Redis has the command, and an emit that is cancelled before is taken back
if it has not left yet. Both wait while the outbox is full. What an atomic handler says is held until it ends.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

import structlog

from app_node.counters import Counters
from app_node.downlink.held import held_output
from app_node.downlink.landing import Landing, landing_together
from app_node.downlink.outbox import Outbox
from app_node.downlink.routes import Routes
from app_node.lanes.progress import open_progress
from app_node.payloads import Payload
from app_node.tracing import Traces
from sio_cluster.node.monitoring.tracing import Span
from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import (
    SERVER_LEVEL,
    AckRequest,
    CloseRoom,
    Command,
    Disconnect,
    DisconnectMany,
    Emit,
    Join,
    JoinMany,
    Leave,
    LeaveMany,
    Room,
    ServerItem,
)
from sio_cluster.protocol.socketio import encode_event

log = structlog.get_logger()

SID_BYTES = 32
"""What one of many sids weighs in a command, about."""


class Emitter:
    """What the application says to clients. All methods raise LeaseLost in a handler whose lane was lost."""

    def __init__(self, outbox: Outbox, routes: Routes, counters: Counters, traces: Traces | None = None) -> None:
        self._outbox = outbox
        self._routes = routes
        self._counters = counters
        self._traces = traces

    async def emit(
        self,
        namespace: str,
        payload: Payload,
        to: list[Room] | None,
        skip: list[str],
        ack: AckRequest | None = None,
        *,
        except_rooms: Sequence[Room] = (),
        volatile: bool = False,
    ) -> Iterable[str]:
        """Sends an event to the members of these rooms (a sid is a room too), None for the whole namespace.

        `skip` lists sids that do not get it, `except_rooms` rooms whose members do not. `volatile`: nor does a client
        that cannot be written to at once. With an `ack` each client that gets it is asked for an answer.

        Returns the homes into whose inboxes it goes. If the emit is traced, its span lasts until then. Raises
        NodesTooOld for `except_rooms` where a node of the last release is in the cluster: it would not heed them.
        """
        if except_rooms:
            await self._routes.require_level(SERVER_LEVEL, "an emit with except_room")
        ack_id = None if ack is None else ack.ack_id
        packet = encode_event(namespace, payload.text, len(payload.attachments), ack_id)
        span = None if self._traces is None else self._publish_span(self._traces, namespace, payload.text)
        context = None if span is None else span.context
        command = Emit(namespace, packet, payload.attachments, to, skip, volatile, ack, list(except_rooms), context)
        size = len(packet) + sum(map(len, payload.attachments))
        try:
            nodes = await self._nodes(to)
            await self._send(nodes, command, size)
        finally:
            if span is not None:
                span.end()
        return nodes

    async def join(self, sid: str, room: Room, *, tell: bool) -> None:
        """The client enters a room, wherever it is connected. `tell`: its io-node tells the holder of its lane."""
        await self._to_client(sid, Join(sid, room, tell))

    async def leave(self, sid: str, room: Room, *, tell: bool) -> None:
        """The client leaves a room, wherever it is connected. `tell`: its io-node tells the holder of its lane."""
        await self._to_client(sid, Leave(sid, room, tell))

    async def join_many(self, sids: Sequence[str], rooms: Sequence[Room]) -> None:
        """Each of these clients enters each of these rooms. Their io-nodes tell the holders of their lanes."""
        await self._to_homes(sids, lambda of_home: JoinMany(of_home, list(rooms)))

    async def leave_many(self, sids: Sequence[str], rooms: Sequence[Room]) -> None:
        """As `join_many`, for rooms that they leave."""
        await self._to_homes(sids, lambda of_home: LeaveMany(of_home, list(rooms)))

    async def disconnect_many(self, sids: Sequence[str], close: bool) -> None:
        """As `disconnect`, for each of these clients."""
        await self._to_homes(sids, lambda of_home: DisconnectMany(of_home, close))

    async def close_room(self, namespace: str, room: Room) -> None:
        """All members leave the room, on every io-node."""
        await self._send(await self._routes.all(), CloseRoom(namespace, room), 0)

    async def disconnect(self, sid: str, *, close: bool) -> None:
        """Disconnects the client from its namespace; with `close`, the whole connection."""
        await self._to_client(sid, Disconnect(sid, close))

    async def to_app_nodes(self, nodes: Iterable[str], item: ServerItem) -> None:
        """Says this to other app-nodes, by their ids."""
        await self._send(nodes, item, len(item.data) + sum(map(len, item.attachments)))

    def _publish_span(self, traces: Traces, namespace: str, data: bytes) -> Span | None:
        return traces.publish(namespace, data, in_handler=open_progress() is not None)

    async def _to_client(self, sid: str, command: Command) -> None:
        """To its io-node, and to none where it is gone, or the sid is none."""
        node = await self._node(sid)
        await self._send([] if node is None else [node], command, 0)

    async def _to_homes(self, sids: Sequence[str], command_for: Callable[[list[str]], Command]) -> None:
        """One command to each io-node, for those of these clients whose home it is."""
        of_homes: dict[str, list[str]] = defaultdict(list)
        for sid in sids:
            node = await self._node(sid)
            if node is not None:
                of_homes[node].append(sid)
        await asyncio.gather(
            *[self._send([node], command_for(mine), SID_BYTES * len(mine)) for node, mine in of_homes.items()]
        )

    async def _nodes(self, to: Sequence[Room] | None) -> Iterable[str]:
        """The io-nodes on which a recipient may be."""
        if to is None:
            return await self._routes.all()
        nodes = set()
        for room in to:
            if not isinstance(room, str) or node_of(room) is None:
                return await self._routes.all()
            node = await self._node(room)
            if node is not None:
                nodes.add(node)
        return nodes

    async def _node(self, sid: str) -> str | None:
        """The io-node of this sid. None, counted, where there is none."""
        node = await self._routes.of(sid)
        if node is None:
            self._counters.recipients_gone += 1
            log.debug("recipient_gone", sid=sid)
        return node

    async def _send(self, nodes: Iterable[str], command: Command | ServerItem, size: int) -> None:
        if (held := held_output()) is not None:
            held.add(nodes, command, size)
            return
        outbox = self._outbox
        if not outbox.has_room:
            await outbox.room(size * len([*nodes]), in_handler=open_progress() is not None)
        progress = open_progress()
        if progress is not None:
            progress.lane.require_held()
            for node in nodes:
                outbox.put(node, command, size, progress)
            return
        together = landing_together()
        landing = Landing() if together is None else together
        landing.put(outbox, nodes, command, size)
        if together is None:
            await landing.landed()
