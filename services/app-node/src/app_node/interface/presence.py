"""Who is present in a room. Not in python-socketio. In the form of Phoenix' presence, so that its JavaScript helper
works."""

import math
from typing import Any, Protocol

from app_node.app import AppNode
from app_node.clients.presences import grouped
from app_node.downlink.held import held_output
from app_node.interface.rooms import checked_namespace, shared_room
from app_node.payloads import encode_any
from sio_cluster.protocol.errors import MalformedPacket
from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.json_payloads import load_any
from sio_cluster.protocol.messages import Room

LINGER_S = 10.0
"""For how long a client is present that has lost its connection, unless the application says otherwise."""
MOST_META_BYTES = 10_000
"""What a client shows in a room may be so large, as JSON together with its key."""


class HasNode(Protocol):
    """The part of the server object that is needed here."""

    @property
    def node(self) -> AppNode: ...


class Presence:
    """Who is present in one room: members for whom `track` was called. Made by `sio.presence`; it keeps nothing.

    Members of the room get the event `presence_diff` when that changes, and `presence_state` by `send_state`. Each of
    both has the room as its second argument. `docs/server.md` says what is in them, and when somebody is gone.

    Each method works for every client of the cluster, and waits while Redis is away. All but `list` raise NodesTooOld
    where a node of an older release is in the cluster.
    """

    def __init__(self, server: HasNode, room: Room, namespace: str, linger: float) -> None:
        """Raises as `ServerPresence.presence`."""
        if not (math.isfinite(linger) and linger >= 0):
            raise ValueError(f"linger is a number of seconds, not {linger!r}")
        self._server = server
        self.room: Room = shared_room(room, "be present in")
        self.namespace = checked_namespace(namespace)
        self.linger = linger

    async def track(self, sid: str, key: str, meta: dict[str, Any] | None = None) -> None:
        """The client, a member of the room, is present under this key. `meta`: what others see of it, as JSON.

        Several clients may have the same key: a user's tabs. If the client is present already, `key` and `meta` take
        the place of what they were; if they are the same, nothing changes and nobody is told.

        Raises KeyError for a client that is gone, and ValueError for one that is not in the room. Raises TypeError
        where the key is no text, or `meta` is not JSON. Raises ValueError where both have more than 10 KB, and for what
        a client may not send either, such as a `meta` that is nested more than 200 levels deep.
        """
        if not isinstance(key, str):
            raise TypeError(f"a key is a str, not {type(key).__name__}")
        if meta is not None and not isinstance(meta, dict):
            raise TypeError(f"meta is a dict, not {type(meta).__name__}")
        data = _encoded({} if meta is None else meta)
        if len(data) + len(key.encode()) > MOST_META_BYTES:
            raise ValueError(f"key and meta have more than {MOST_META_BYTES} bytes")
        node = await self._open(sid)
        linger_ms = round(self.linger * 1000)
        await node.clients.presences.show(sid, self.namespace, self.room, key, data, linger_ms)
        node.clients.presence_news.wake()

    async def untrack(self, sid: str) -> None:
        """The client is a member, and not present any more. Does nothing where it was not. Raises KeyError for a client
        that is gone. A client that leaves the room, or disconnects, need not be untracked."""
        node = await self._open(sid)
        await node.clients.presences.hide(sid, self.namespace, self.room)
        node.clients.presence_news.wake()

    async def list(self) -> dict[str, dict[str, Any]]:
        """Who is present: `{key: {"metas": [{..., "phx_ref": "..."}]}}`, with one meta for each client."""
        await self._server.node.open()
        return grouped(await self._server.node.clients.presences.metas(self.namespace, self.room))

    async def send_state(self, sid: str) -> None:
        """Sends a member of the room `presence_state`: who is present. Returns when Redis has it.

        Call it when the client has entered the room. It misses no `presence_diff` then, and none that came before has
        an effect. Raises RuntimeError in an atomic handler, where the client would enter the room afterwards.
        """
        if held_output() is not None:
            raise RuntimeError("Cannot use send_state() in an atomic handler: the client would enter the room later.")
        node = await self._open(sid)
        await node.clients.presences.send_state(sid, self.namespace, self.room)

    async def _open(self, sid: str) -> AppNode:
        if not isinstance(sid, str) or node_of(sid) is None:
            raise KeyError(sid)
        node = self._server.node
        await node.open()
        return node


def _encoded(meta: dict[str, Any]) -> bytes:
    """As JSON that every app-node can put into its events, and every client can read. Raises TypeError, ValueError."""
    try:
        data = encode_any(meta)
        load_any(data.decode())
    except RecursionError:
        raise ValueError("meta is nested too deeply, or holds itself") from None
    except MalformedPacket as error:
        raise ValueError(f"meta: {error}") from None
    return data


class ServerPresence:
    """A part of `ClusterServer`."""

    def presence(self: HasNode, room: Room, namespace: str | None = None, *, linger: float = LINGER_S) -> Presence:
        """Who is present in this room. Does no IO.

        `linger`: for so many seconds a client stays present that has lost its connection and may come back. Where a
        client is tracked in several rooms, the longest counts. Raises ValueError for a sid as the room, and for a
        `linger` that is negative. Raises TypeError for a room that is neither str nor int.
        """
        return Presence(self, room, namespace or "/", linger)
