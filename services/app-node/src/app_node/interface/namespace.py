"""Class-based namespaces, with what a `ClusterServer` can do besides python-socketio's server."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from app_node.interface.asking import Answers, AnswerStream
from app_node.interface.presence import LINGER_S, Presence
from app_node.interface.python_socketio import AsyncNamespace
from app_node.interface.remote_client import Page, RemoteClient
from app_node.interface.rooms import Rooms, Sids
from app_node.interface.server import ClusterServer
from sio_cluster.protocol.messages import Room


class Namespace(AsyncNamespace):
    """As `socketio.AsyncNamespace`, which works too: its methods `on_EVENT` are handlers.

    Its other methods are those of the server, with this namespace where none is given. What they do, and what they
    raise, stands there.
    """

    server: ClusterServer

    async def emit(
        self,
        event: str,
        data: Any = None,
        to: Rooms | None = None,
        room: Rooms | None = None,
        skip_sid: Sids | None = None,
        namespace: str | None = None,
        callback: Callable[..., Any] | None = None,
        ignore_queue: bool = False,
        *,
        except_room: Rooms | None = None,
        volatile: bool = False,
    ) -> None:
        """As `ClusterServer.emit`."""
        await self.server.emit(
            event,
            data,
            to,
            room,
            skip_sid,
            namespace or self.namespace,
            callback,
            ignore_queue,
            except_room=except_room,
            volatile=volatile,
        )

    # --- questions

    async def clients(
        self, room: Room | None = None, namespace: str | None = None, limit: int = 1000, cursor: str | None = None
    ) -> Page:
        """As `ClusterServer.clients`."""
        return await self.server.clients(room, namespace or self.namespace, limit, cursor)

    def iter_clients(self, room: Room | None = None, namespace: str | None = None) -> AsyncIterator[RemoteClient]:
        """As `ClusterServer.iter_clients`."""
        return self.server.iter_clients(room, namespace or self.namespace)

    async def client(self, sid: str) -> RemoteClient | None:
        """As `ClusterServer.client`, which knows the clients of all namespaces."""
        return await self.server.client(sid)

    async def count(self, room: Room | None = None, namespace: str | None = None) -> int:
        """As `ClusterServer.count`."""
        return await self.server.count(room, namespace or self.namespace)

    async def all_rooms(self, prefix: str = "", namespace: str | None = None) -> dict[Room, int]:
        """As `ClusterServer.all_rooms`."""
        return await self.server.all_rooms(prefix, namespace or self.namespace)

    def transport(self, sid: str, namespace: str | None = None) -> str:
        """As `ClusterServer.transport`. `socketio.AsyncNamespace` has only `rooms` of python-socketio's questions."""
        return self.server.transport(sid, namespace or self.namespace)

    def get_environ(self, sid: str, namespace: str | None = None) -> dict[str, Any] | None:
        """As `ClusterServer.get_environ`."""
        return self.server.get_environ(sid, namespace or self.namespace)

    def presence(self, room: Room, namespace: str | None = None, *, linger: float = LINGER_S) -> Presence:
        """As `ClusterServer.presence`."""
        return self.server.presence(room, namespace or self.namespace, linger=linger)

    async def call_many(
        self,
        event: str,
        data: Any = None,
        room: Rooms | None = None,
        skip_sid: Sids | None = None,
        namespace: str | None = None,
        timeout: float = 60,
        *,
        except_room: Rooms | None = None,
    ) -> Answers:
        """As `ClusterServer.call_many`."""
        return await self.server.call_many(
            event, data, room, skip_sid, namespace or self.namespace, timeout, except_room=except_room
        )

    def answers(
        self,
        event: str,
        data: Any = None,
        room: Rooms | None = None,
        skip_sid: Sids | None = None,
        namespace: str | None = None,
        timeout: float = 60,
        *,
        except_room: Rooms | None = None,
    ) -> AnswerStream:
        """As `ClusterServer.answers`."""
        return self.server.answers(
            event, data, room, skip_sid, namespace or self.namespace, timeout, except_room=except_room
        )

    def was_recovered(self, sid: str, namespace: str | None = None) -> bool:
        """As `ClusterServer.was_recovered`."""
        return self.server.was_recovered(sid, namespace or self.namespace)

    def is_redelivered(self) -> bool:
        """As `ClusterServer.is_redelivered`."""
        return self.server.is_redelivered()

    # --- changes

    async def enter_rooms(
        self, rooms: Rooms, room: Rooms | None = None, except_room: Rooms | None = None, namespace: str | None = None
    ) -> None:
        """As `ClusterServer.enter_rooms`."""
        await self.server.enter_rooms(rooms, room, except_room, namespace or self.namespace)

    async def leave_rooms(
        self, rooms: Rooms, room: Rooms | None = None, except_room: Rooms | None = None, namespace: str | None = None
    ) -> None:
        """As `ClusterServer.leave_rooms`."""
        await self.server.leave_rooms(rooms, room, except_room, namespace or self.namespace)

    async def disconnect_room(
        self, room: Rooms | None, close: bool = False, except_room: Rooms | None = None, namespace: str | None = None
    ) -> None:
        """As `ClusterServer.disconnect_room`."""
        await self.server.disconnect_room(room, close, except_room, namespace or self.namespace)

    async def close_connection(self, sid: str, namespace: str | None = None) -> None:
        """As `ClusterServer.close_connection`."""
        await self.server.close_connection(sid, namespace or self.namespace)
