"""The client manager of the cluster: what python-socketio's server asks of its `client_manager`.

(The name is python-socketio's.) Which clients there are, it knows for the lanes of this app-node; commands reach every
client of the cluster, wherever it is.
"""

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from app_node.app import AppNode
from app_node.clients.client import Client, State
from app_node.downlink.emitter import checked_room, rooms_of, skipped
from app_node.lanes.progress import open_scope
from app_node.payloads import arguments, encode
from sio_cluster.protocol.ids import node_of
from sio_cluster.streams.redis.records import Joined, Left, RecordChange


class HasNode(Protocol):
    node: AppNode


class ClusterManager:
    """Public methods as in `socketio.AsyncManager`, as far as there is a meaning to them without connections."""

    def __init__(self) -> None:
        self._server: HasNode | None = None

    def set_server(self, server: Any) -> None:
        self._server = server

    def initialize(self) -> None:
        """Nothing: the node starts with the first command, or with `start`."""

    @property
    def node(self) -> AppNode:
        if self._server is None:
            raise RuntimeError("this manager belongs to no server yet")
        return self._server.node

    # --- what it knows

    def get_namespaces(self) -> list[str]:
        return list({client.namespace for client in self.node.clients if client.state is State.CONNECTED})

    def get_participants(self, namespace: str, room: Any) -> Iterator[tuple[str, str]]:
        """Of the clients whose lanes this app-node holds."""
        rooms = None if room is None else set(rooms_of(room) or ())
        for client in self.node.clients:
            if client.namespace == namespace and (
                rooms is None or client.sid in rooms or not rooms.isdisjoint(client.rooms)
            ):
                yield client.sid, client.sid

    def is_connected(self, sid: str, namespace: str) -> bool:
        return self.node.clients.connected(sid, namespace) is not None

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        return eio_sid if self._present(eio_sid, namespace) is not None else None

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        """Engine.IO sids stay on the io-node; here the sid itself stands for its connection."""
        return sid if self._present(sid, namespace) is not None else None

    def get_rooms(self, sid: str, namespace: str) -> list[Any]:
        client = self._present(sid, namespace)
        return [] if client is None else [sid, *client.rooms]

    # --- what it does

    async def emit(
        self,
        event: Any,
        data: Any,
        namespace: str,
        room: Any = None,
        skip_sid: Any = None,
        callback: Callable[..., Any] | None = None,
        to: Any = None,
        **kwargs: Any,
    ) -> None:
        """Raises TypeError for data that is not JSON, or a room that is neither str nor int."""
        node = self.node
        recipients = rooms_of(to or room)
        payload = encode([event, *arguments(data)], node.json_module)
        await node.open()
        ack_id = None
        if callback is not None:
            await node.open_acks()
            ack_id = node.acks.ask(callback, _single_sid(recipients))
        await node.emitter.emit(namespace, payload, recipients, skipped(skip_sid), ack_id)

    async def enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
        room = checked_room(room)
        if room == sid:
            return
        if isinstance(room, str) and node_of(room) is not None:
            raise ValueError("cannot enter a sid room")
        client = self._findable(sid, namespace)
        node = self.node
        await node.open()
        if client is not None:
            client.rooms.add(room)
        await self._record(Joined(sid, room))
        await node.emitter.join(sid, room)

    async def leave_room(self, sid: str, namespace: str, room: Any) -> None:
        room = checked_room(room)
        client = self.node.clients.present(sid, namespace)
        if room == sid or (client is None and node_of(sid) is None):
            return
        node = self.node
        await node.open()
        if client is not None:
            client.rooms.discard(room)
        await self._record(Left(sid, room))
        await node.emitter.leave(sid, room)

    async def close_room(self, room: Any, namespace: str) -> None:
        room = checked_room(room)
        if isinstance(room, str) and node_of(room) is not None:
            raise ValueError("cannot close a sid room")
        node = self.node
        await node.open()
        for client in node.clients:
            if client.namespace == namespace and room in client.rooms:
                client.rooms.discard(room)
                node.writer.change(Left(client.sid, room), open_scope())
        await node.emitter.close_room(namespace, room)

    async def can_disconnect(self, sid: str, namespace: str) -> bool:
        """Whether the client is connected, in whichever lane it is."""
        client = self.node.clients.get(sid)
        if client is not None and client.state is not State.UNKNOWN:
            return client.namespace == namespace and client.state is State.CONNECTED
        await self.node.open()
        record = await self.node.load(sid)
        return record is not None and record.connected.namespace == namespace

    async def disconnect(self, sid: str, namespace: str, **kwargs: Any) -> None:
        """By a DISCONNECT packet, after which the client does not come back by itself."""
        node = self.node
        await node.open()
        client = node.clients.connected(sid, namespace)
        if client is not None:
            await node.admission.disconnect(client, open_scope())
        else:
            await node.emitter.disconnect(sid, close=False)

    async def close_connection(self, sid: str) -> None:
        """Every namespace of the client's connection; each gets its `disconnect` as the io-node reports it."""
        await self.node.open()
        await self.node.emitter.disconnect(sid, close=True)

    async def _record(self, change: RecordChange) -> None:
        """Like a command: inside a handler it counts for the handler's entry, outside it is waited for."""
        scope = open_scope()
        self.node.writer.change(change, scope)
        if scope is None:
            await self.node.writer.drained()

    def _present(self, sid: str, namespace: str) -> Client | None:
        return self.node.clients.present(sid, namespace)

    def _findable(self, sid: str, namespace: str) -> Client | None:
        """The client if it is one of ours; ValueError where it surely is not connected to this namespace."""
        client = self.node.clients.get(sid)
        if client is not None and client.state is State.UNKNOWN:
            client = None
        if node_of(sid) is None or (client is not None and client.namespace != namespace):
            raise ValueError("sid is not connected to requested namespace")
        return client


def _single_sid(recipients: list[Any] | None) -> str | None:
    """The one client that will answer, None where there may be several."""
    if recipients is not None and len(recipients) == 1 and isinstance(recipients[0], str):
        return recipients[0] if node_of(recipients[0]) is not None else None
    return None
