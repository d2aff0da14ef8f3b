"""A client of the cluster, as a query finds it: JavaScript's `RemoteSocket`."""

from collections.abc import Callable
from typing import Any, Protocol

from app_node.clients.environ import environ_of
from app_node.clients.session_codec import decode_session
from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.records import ClientRecord


class Server(Protocol):
    """The part of the server object that acts for one client."""

    async def emit(
        self, event: str, data: Any = None, to: Any = None, *, namespace: str | None = None, callback: Any = None
    ) -> None: ...

    async def call(
        self, event: str, data: Any = None, to: Any = None, *, namespace: str | None = None, timeout: float = 60
    ) -> Any: ...

    async def enter_room(self, sid: str, room: Room, namespace: str | None = None) -> None: ...

    async def leave_room(self, sid: str, room: Room, namespace: str | None = None) -> None: ...

    async def disconnect(self, sid: str, namespace: str | None = None) -> None: ...

    async def save_session(self, sid: str, session: Any, namespace: str | None = None) -> None: ...


class RemoteClient:
    """What Redis knew of a connected client when it was asked. It does not change later: ask again.

    `sid`, `namespace`: who it is. `rooms`: as `sio.rooms(sid)`, the sid first. `transport`: "polling" or "websocket".
    `io_node`: the id of the io-node that holds its connection. `connected_at`: since when it has its connection, in
    seconds since 1970 by Redis' clock. A client that came back after it lost its connection has a new one. None where
    an older release has let it in.

    Its methods do what those of the server object do with this sid and namespace, and raise the same.
    """

    __slots__ = ("_record", "_server", "connected_at", "io_node", "namespace", "rooms", "sid", "transport")

    def __init__(self, record: ClientRecord, server: Server) -> None:
        connected = record.connected
        self._record = record
        self._server = server
        self.sid: str = connected.sid
        self.namespace: str = connected.namespace
        self.rooms: list[Room] = [connected.sid, *record.rooms]
        self.transport: str = record.transport
        self.io_node: str = connected.holder or node_of(connected.sid) or ""
        self.connected_at: float | None = record.connected_at

    def __repr__(self) -> str:
        return f"<RemoteClient {self.sid} of {self.namespace} at {self.io_node}>"

    @property
    def session(self) -> Any:
        """What `save_session` saved last, {} where nothing was. A copy of its own each time: to change it, give
        `save_session` the new one."""
        return {} if self._record.session is None else decode_session(self._record.session)

    @property
    def environ(self) -> dict[str, Any]:
        """What its `connect` handler got as `environ`. A dict of its own each time."""
        return environ_of(self._record.connected.handshake)

    async def emit(self, event: str, data: Any = None, *, callback: Callable[..., Any] | None = None) -> None:
        """Emits to this client alone."""
        await self._server.emit(event, data, self.sid, namespace=self.namespace, callback=callback)

    async def call(self, event: str, data: Any = None, *, timeout: float = 60) -> Any:
        """Emits to this client, and returns its answer. `timeout` in seconds."""
        return await self._server.call(event, data, self.sid, namespace=self.namespace, timeout=timeout)

    async def enter_room(self, room: Room) -> None:
        """Puts the client into a room. KeyError where it is gone."""
        await self._server.enter_room(self.sid, room, namespace=self.namespace)

    async def leave_room(self, room: Room) -> None:
        """Takes the client out of a room."""
        await self._server.leave_room(self.sid, room, namespace=self.namespace)

    async def disconnect(self) -> None:
        """Disconnects the client from its namespace."""
        await self._server.disconnect(self.sid, namespace=self.namespace)

    async def save_session(self, session: Any) -> None:
        """Stores its session. KeyError where the client is gone. `session` here stays what it was."""
        await self._server.save_session(self.sid, session, namespace=self.namespace)


class Page(list[RemoteClient]):
    """Some clients. `cursor`: give it to the next call of `sio.clients`. None: this was the last page."""

    def __init__(self, clients: list[RemoteClient], cursor: str | None) -> None:
        super().__init__(clients)
        self.cursor = cursor
