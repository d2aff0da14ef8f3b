"""What an application may ask about all clients of the cluster. Not in python-socketio."""

from collections.abc import AsyncIterator
from typing import Any

from app_node.app import AppNode
from app_node.clients.environ import environ_of
from app_node.interface.cursors import cursor_of, sid_of
from app_node.interface.remote_client import Page, RemoteClient
from app_node.interface.rooms import checked_namespace, checked_room
from app_node.interface.server_object import ServerObject
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.room_index import PAGE_LIMIT


class Queries:
    """Methods of the server object. docs/server.md has a page on them.

    A client counts from when its `connect` handler has ended and its output is in Redis, until its `disconnect` is in
    its record. While it is away (it may claim its session back), it does not count.

    Each method sees what this process has done before, also in the handler that runs. It waits while Redis is away.
    Unless its docstring says otherwise, it raises `sio_cluster.protocol.errors.NodesTooOld` while a node of a release
    is registered that does not keep the room index, and for some seconds after that. It raises TypeError for a room
    that is neither str nor int, and for another argument of a type that it does not take.
    """

    async def clients(
        self: ServerObject,
        room: Room | None = None,
        namespace: str | None = None,
        limit: int = 1000,
        cursor: str | None = None,
    ) -> Page:
        """One page of the connected clients of this namespace; with `room`, of those in it (a sid is a room).

        Pages have at most `limit` clients (1 to 1,000), and may have fewer. Give the page's `cursor` to the next call,
        until it is None. All pages together have everybody who was there all the time, and nobody twice. Raises
        ValueError for another `limit`, for what is no cursor, and for the cursor of another room or namespace.
        """
        return await _page(self, room, namespace, limit, cursor)

    async def iter_clients(
        self: ServerObject, room: Room | None = None, namespace: str | None = None
    ) -> AsyncIterator[RemoteClient]:
        """All pages of `clients`, one client after the other: `async for client in sio.iter_clients(room="a")`."""
        cursor = None
        while True:
            page = await _page(self, room, namespace, PAGE_LIMIT, cursor)
            for client in page:
                yield client
            cursor = page.cursor
            if cursor is None:
                return

    async def client(self: ServerObject, sid: str) -> RemoteClient | None:
        """This client, whatever its namespace. None where it is not connected. Never raises NodesTooOld."""
        node = await _open(self)
        record = await node.clients.queries.one(sid)
        return None if record is None else RemoteClient(record, self)

    async def count(self: ServerObject, room: Room | None = None, namespace: str | None = None) -> int:
        """How many clients of this namespace are connected; with `room`, how many of them are in it.

        Its cost does not depend on how many they are.
        """
        node = await _open(self)
        return await node.clients.queries.count(_namespace(namespace), _room(room))

    async def all_rooms(self: ServerObject, prefix: str = "", namespace: str | None = None) -> dict[Room, int]:
        """The rooms of this namespace that have connected clients, and how many. Without the rooms that are sids.

        `prefix`: only rooms whose name is text and begins like this.
        """
        if not isinstance(prefix, str):
            raise TypeError(f"a prefix is a str, not {type(prefix).__name__}")
        node = await _open(self)
        return await node.clients.queries.counts(_namespace(namespace), prefix)

    # --- python-socketio's own, for all clients

    def transport(self: ServerObject, sid: str, namespace: str | None = None) -> str:
        """As in python-socketio, for every client of the cluster. KeyError for one that is not connected.

        For a client that this app-node does not know it blocks, about 1 ms, until Redis answers: as `rooms` does.
        """
        namespace = namespace or "/"
        client = self.node.clients.known_here(sid)
        if client is not None:
            if client.namespace == namespace:
                return client.transport
            raise KeyError(sid)
        record = self.node.clients.queries.present_now(sid, namespace)
        if record is None:
            raise KeyError(sid)
        return record.transport

    def get_environ(self: ServerObject, sid: str, namespace: str | None = None) -> dict[str, Any] | None:
        """As in python-socketio, for every client of the cluster. None for one that is not connected.

        For a client that this app-node does not know it blocks as `rooms` does, and the dict is a new one each time.
        """
        namespace = namespace or "/"
        client = self.node.clients.known_here(sid)
        if client is not None:
            return client.environ if client.namespace == namespace else None
        record = self.node.clients.queries.present_now(sid, namespace)
        return None if record is None else environ_of(record.connected.handshake)

    def rooms(self: ServerObject, sid: str, namespace: str | None = None) -> list[Room]:
        """As in python-socketio, for every client of the cluster. [] for one that is not connected.

        For a client that this app-node does not know it asks Redis, and the event loop stands still meanwhile: for
        about 1 ms, and for 250 ms at most. Then it raises `sio_cluster.protocol.errors.BusUnavailable`.
        `await sio.client(sid)` blocks nothing.
        """
        rooms: list[Room] = self.manager.get_rooms(sid, namespace or "/")
        return rooms


async def _page(server: ServerObject, room: Room | None, namespace: str | None, limit: int, cursor: str | None) -> Page:
    if not isinstance(limit, int) or isinstance(limit, bool):
        raise TypeError(f"a limit is an int, not {type(limit).__name__}")
    if not isinstance(cursor, str | None):
        raise TypeError(f"a cursor is a str, not {type(cursor).__name__}")
    namespace, room = _namespace(namespace), _room(room)
    after = None if cursor is None else sid_of(cursor, namespace, room)
    node = await _open(server)
    page = await node.clients.queries.page(namespace, room, limit, after)
    following = None if page.cursor is None else cursor_of(page.cursor, namespace, room)
    return Page([RemoteClient(record, server) for record in page.records], following)


async def _open(server: ServerObject) -> AppNode:
    node = server.node
    await node.open()
    return node


def _namespace(namespace: str | None) -> str:
    return checked_namespace(namespace or "/")


def _room(room: Room | None) -> Room | None:
    return None if room is None else checked_room(room)
