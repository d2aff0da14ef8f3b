"""Commands to the io-nodes that they concern.

Inside a handler a command returns when it is queued: it is in Redis before the handler's lane entry is committed.
Outside it returns when Redis has it. Both wait while the outbox is full.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import structlog

from app_node.counters import Counters
from app_node.downlink.outbox import Outbox
from app_node.downlink.routes import Routes
from app_node.lanes.progress import open_scope
from app_node.payloads import Payload, event_packet
from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import AckRequest, CloseRoom, Command, Disconnect, Emit, Join, Leave, Room

log = structlog.get_logger()


class Emitter:
    """What the application says to clients."""

    def __init__(self, outbox: Outbox, routes: Routes, node_id: str, counters: Counters) -> None:
        self._outbox = outbox
        self._routes = routes
        self._node_id = node_id
        self._counters = counters

    async def emit(
        self,
        namespace: str,
        payload: Payload,
        to: list[Room] | None,
        skip: list[str],
        ack_id: int | None = None,
    ) -> None:
        """To these rooms (a sid is one), None for the whole namespace."""
        ack = None if ack_id is None else AckRequest(self._node_id, ack_id)
        packet = event_packet(namespace, payload, ack_id)
        command = Emit(namespace, packet, payload.attachments, to, skip, False, ack)
        size = len(packet) + sum(map(len, payload.attachments))
        await self._send(await self._nodes(to), command, size)

    async def join(self, sid: str, room: Room) -> None:
        await self._to_client(sid, Join(sid, room))

    async def leave(self, sid: str, room: Room) -> None:
        await self._to_client(sid, Leave(sid, room))

    async def close_room(self, namespace: str, room: Room) -> None:
        await self._send(await self._routes.all(), CloseRoom(namespace, room), 0)

    async def disconnect(self, sid: str, *, close: bool) -> None:
        await self._to_client(sid, Disconnect(sid, close))

    async def _to_client(self, sid: str, command: Command) -> None:
        await self._send(await self._nodes([sid]), command, 0)

    async def _nodes(self, to: Sequence[Room] | None) -> Iterable[str]:
        """The io-nodes that can hold a recipient."""
        if to is None:
            return await self._routes.all()
        nodes = set()
        for room in to:
            if not isinstance(room, str) or node_of(room) is None:
                return await self._routes.all()
            node = await self._routes.of(room)
            if node is None:
                self._counters.add("recipients_gone")
                log.debug("recipient_gone", sid=room)
            else:
                nodes.add(node)
        return nodes

    async def _send(self, nodes: Iterable[str], command: Command, size: int) -> None:
        outbox = self._outbox
        if not outbox.has_room:
            await outbox.room(in_handler=open_scope() is not None)
        scope = open_scope()
        if scope is not None:
            scope.lane.require_held()
        batches = [outbox.put(node, command, size, scope) for node in nodes]
        if scope is None:
            for batch in batches:
                await batch.landed()


def rooms_of(room: Any) -> list[Room] | None:
    """What python-socketio takes as `to` or `room`: None, one room, or a list or tuple of rooms."""
    if room is None:
        return None
    if isinstance(room, (list, tuple, set, frozenset)):
        return [checked_room(item) for item in room]
    return [checked_room(room)]


def checked_room(room: Any) -> Room:
    """Raises TypeError or ValueError for what is no room on the bus."""
    if isinstance(room, str):
        if not room.isascii():
            room.encode()  # a lone surrogate raises UnicodeEncodeError here, at its caller, and not in a batch
        return str(room)
    if isinstance(room, int) and not isinstance(room, bool):
        if not -(1 << 63) <= room < 1 << 63:
            raise ValueError(f"room {room} does not fit into 64 bits")
        return int(room)
    raise TypeError(f"a room is a str or an int, not {type(room).__name__}")


def skipped(skip_sid: Any) -> list[str]:
    """What python-socketio takes as `skip_sid`. What is no sid skips nobody."""
    if skip_sid is None:
        return []
    if isinstance(skip_sid, str):
        return [skip_sid] if skip_sid.isascii() else []
    return [sid for sid in skip_sid if isinstance(sid, str) and sid.isascii()]
