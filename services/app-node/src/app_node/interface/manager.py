"""What python-socketio's server asks of its `client_manager` (the name is python-socketio's).

Questions about clients that this app-node does not know are answered by Redis, and block meanwhile (`Queries.rooms`).
Commands reach every client of the cluster.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from app_node.app import AppNode
from app_node.clients.client import Client, State
from app_node.interface.rooms import (
    checked_namespace,
    checked_room,
    rooms_of,
    shared_room,
    sids_and_rooms,
    single_sid,
    skipped,
)
from app_node.interface.server_object import ServerObject
from app_node.lanes.progress import open_progress
from app_node.payloads import arguments, encode_event_of
from sio_cluster.protocol.errors import ClientGone
from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import AckRequest
from sio_cluster.streams.api.records import ChangeResult, Joined, Left


class ClusterManager:
    """Has the public methods of `socketio.AsyncManager` that mean something where there are no connections."""

    def __init__(self) -> None:
        self._server: ServerObject | None = None

    def set_server(self, server: Any) -> None:
        self._server = server

    def initialize(self) -> None:
        """Does nothing: the node opens with the first command, or with `start`."""

    @property
    def node(self) -> AppNode:
        """The app-node that the server object is now."""
        if self._server is None:
            raise RuntimeError("this manager belongs to no server yet")
        return self._server.node

    # --- what it knows

    def get_namespaces(self) -> list[str]:
        """Namespaces of the clients that this app-node knows."""
        return list({client.namespace for client in self.node.clients.known if client.state is State.CONNECTED})

    def get_participants(self, namespace: str, room: Any) -> Iterator[tuple[str, str]]:
        """Sids of the clients in a room, or in any of several. python-socketio wants pairs: here both are the sid.

        First those that this app-node knows. For the others it blocks, about 10 ms for each 1,000 of them: better use
        `sio.clients`. While a node is registered that does not keep the room index, they are left out.
        """
        rooms = None if room is None else set(rooms_of(room) or ())
        clients = self.node.clients
        met = dict.fromkeys(  # all at once: clients come and go while the application does something with each
            client.sid
            for client in clients.known
            if client.namespace == namespace
            and (rooms is None or client.sid in rooms or not rooms.isdisjoint(client.rooms))
        )
        for sid in met:
            yield sid, sid
        for sid in clients.queries.sids_now(namespace, None if rooms is None else list(rooms)):
            if sid not in met and clients.known_here(sid) is None:
                yield sid, sid

    def is_connected(self, sid: str, namespace: str) -> bool:
        """Whether the client is connected to this namespace. Blocks as `Queries.rooms`."""
        clients = self.node.clients
        if clients.known_here(sid) is not None:
            return clients.known.connected(sid, namespace) is not None
        record = clients.queries.present_now(sid, namespace)
        return record is not None and record.is_here

    def sid_from_eio_sid(self, eio_sid: str, namespace: str) -> str | None:
        return eio_sid if self._present(eio_sid, namespace) is not None else None

    def eio_sid_from_sid(self, sid: str, namespace: str) -> str | None:
        """The sid itself, which stands for its connection here: Engine.IO sids stay on the io-node."""
        return sid if self._present(sid, namespace) is not None else None

    def get_rooms(self, sid: str, namespace: str) -> list[Any]:
        """As `Queries.rooms`."""
        client = self.node.clients.known_here(sid)
        if client is not None:
            return [sid, *client.rooms] if client.namespace == namespace else []
        record = self.node.clients.queries.present_now(sid, namespace)
        return [] if record is None else [sid, *record.rooms]

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
        *,
        except_room: Any = None,
        volatile: bool = False,
        **kwargs: Any,
    ) -> None:
        """To the members of `to`, or else of `room`: None is everybody, an empty list is nobody.

        Raises TypeError for data that is not JSON, and for a room that is neither str nor int. Raises ValueError for
        data, or a name, that would disconnect those who get it (`payloads`). Raises NodesTooOld as `Emitter.emit`.
        """
        recipients = room if to is None else to
        with suppress(ClientGone):  # nobody would get the event, and `callback` is never called
            await self.ask(
                event, data, namespace, recipients, skip_sid, callback, except_room=except_room, volatile=volatile
            )

    async def ask(
        self,
        event: Any,
        data: Any,
        namespace: str,
        room: Any,
        skip_sid: Any = None,
        callback: Callable[..., Any] | None = None,
        *,
        is_call: bool = False,
        on_missed: Callable[[], None] = lambda: None,
        except_room: Any = None,
        volatile: bool = False,
    ) -> int | None:
        """As `emit`. Returns the ack id under which the callback waits, None where there is none.

        `is_call`: somebody waits for the answer, and is told by `on_missed` that none can come any more. Raises
        TooManyCalls. Raises ClientGone, counted, where a callback waits for one client, which is not connected.
        """
        node = self.node
        namespace = checked_namespace(namespace)
        recipients = rooms_of(room)
        except_sids, except_rooms = sids_and_rooms(except_room)
        payload = encode_event_of(event, data, node.application.json_module, node.max_attachments)
        if recipients == []:
            return None
        await node.open()
        ack = None
        if callback is not None:
            await node.open_callbacks()
            ack_id = await self._wait_for(callback, single_sid(recipients), namespace, is_call, on_missed)
            ack = AckRequest(node.id, ack_id, is_call, hears_missed=True)
        try:
            await node.downlink.emitter.emit(
                namespace,
                payload,
                recipients,
                [*skipped(skip_sid), *except_sids],
                ack,
                except_rooms=except_rooms,
                volatile=volatile,
            )
        except BaseException:
            if ack is not None:
                node.clients.callbacks.forget(ack.ack_id)
            raise
        if (observer := node.clients.sightings.observer) is not None:
            observer.sent(namespace, recipients, [event, *arguments(data)])
        return None if ack is None else ack.ack_id

    async def _wait_for(
        self,
        callback: Callable[..., Any],
        sid: str | None,
        namespace: str,
        is_call: bool,
        on_missed: Callable[[], None],
    ) -> int:
        """The ack id under which this callback waits."""
        clients, generation = self.node.clients, None
        if sid is not None:
            try:
                generation = await clients.reach.generation_of(sid, namespace, is_call=is_call)
            except ClientGone:
                self.node.counters.acks_missed += 1
                raise
        return clients.callbacks.ask(callback, sid, is_call=is_call, on_missed=on_missed, generation=generation)

    async def enter_room(self, sid: str, namespace: str, room: Any, eio_sid: str | None = None) -> None:
        """Works for every client of the cluster. Where another app-node holds its lane, that one is told.

        Raises KeyError for a client that is gone, as far as this app-node or the client's record knows. Raises
        ValueError for another client's sid as the room, and for a sid that is not of this namespace.
        """
        if room == sid:
            return
        namespace = checked_namespace(namespace)
        room = shared_room(room, "enter")
        client = self._findable(sid, namespace)
        node = self.node
        await node.open()
        is_new = client is not None and room not in client.rooms
        if client is not None:
            node.clients.known.enter(client, room)
        tell = await self._record(Joined(sid, namespace, room), client)
        await node.downlink.emitter.join(sid, room, tell=tell)
        observer = node.clients.sightings.observer
        if observer is not None and is_new and not tell:  # else the holder of its lane hears of it, and shows it
            observer.entered(sid, namespace, room)

    async def leave_room(self, sid: str, namespace: str, room: Any) -> None:
        """As `enter_room`. Does nothing for what is no sid, nor for a client of another namespace.

        A client cannot leave the room that is its own sid.
        """
        room = checked_room(room)
        client = self.node.clients.known.present(sid, namespace)
        if room == sid or (client is None and node_of(sid) is None):
            return
        node = self.node
        await node.open()
        was_in = client is not None and room in client.rooms
        if client is not None:
            node.clients.known.leave(client, room)
        try:
            tell = await self._record(Left(sid, namespace, room), client)
        except KeyError:
            return
        await node.downlink.emitter.leave(sid, room, tell=tell)
        observer = node.clients.sightings.observer
        if observer is not None and was_in and not tell:
            observer.left(sid, namespace, room)

    async def close_room(self, room: Any, namespace: str) -> None:
        """Empties the room in the whole cluster. Returns when the records of its clients say so.

        Raises ValueError for a sid as the room.
        """
        namespace = checked_namespace(namespace)
        room = shared_room(room, "close")
        node = self.node
        await node.open()
        await node.clients.selections.close_room(namespace, room)

    async def can_disconnect(self, sid: str, namespace: str) -> bool:
        """Whether the client is in this namespace or about to be, whichever app-node holds its lane."""
        if not isinstance(sid, str) or node_of(sid) is None:
            return False
        client = self.node.clients.known.get(sid)
        if client is not None and client.state is not State.UNKNOWN:
            return client.namespace == namespace and client.state in (State.CONNECTING, State.CONNECTED)
        await self.node.open()
        record = await self.node.clients.records.load(sid)
        return record is not None and record.connected.namespace == namespace

    async def disconnect(self, sid: str, namespace: str, **kwargs: Any) -> None:
        """Disconnects by a DISCONNECT packet, after which the client does not come back by itself.

        `close=True`: closes its connection too. The other namespaces on it get their `disconnect` when the io-node
        reports it. A client whose `connect` handler runs is refused when that ends. One that has lost its connection
        cannot claim its session back any more.
        """
        node, close = self.node, bool(kwargs.get("close"))
        await node.open()
        client = node.clients.known.present(sid, namespace)
        if client is not None and client.state is State.CONNECTED:
            await node.clients.departures.disconnect(client, open_progress(), close=close)
            return
        if client is not None and client.state is State.CONNECTING:
            client.turned_away = True
        if client is None:
            record = await node.clients.records.load(sid)
            if record is not None and record.away:
                await node.clients.departures.keep_away(record, open_progress())
        if close or client is None:
            await node.downlink.emitter.disconnect(sid, close=close)

    async def _record(self, change: Joined | Left, client: Client | None) -> bool:
        """Changes the client's record. Returns whether the holder of its lane must be told.

        Raises KeyError where the client is gone. One that is connected here is not, even if Redis lost its record.

        Nobody must be told of what a handler changes for a client of its own lane: should the lane move meanwhile, the
        change has no effect, and the next holder runs the handler again. Such a change is queued, and the lane entry
        waits for it. Any other is written when this returns, so that a holder that is told then finds it.
        """
        progress = open_progress()
        if progress is not None and client is not None and client.lane is progress.lane:
            self.node.downlink.writer.change(change, progress)
            return False
        result = await self.node.downlink.writer.write(change, progress)
        is_here = client is not None and client.state in (State.CONNECTING, State.CONNECTED)
        if result is ChangeResult.GONE and not is_here:
            raise KeyError(change.sid)
        return True

    def _present(self, sid: str, namespace: str) -> Client | None:
        return self.node.clients.known.present(sid, namespace)

    def _findable(self, sid: str, namespace: str) -> Client | None:
        """The client if it is known here, else None. ValueError where it surely is not connected to this namespace."""
        client = self.node.clients.known.get(sid)
        if client is not None and client.state is State.UNKNOWN:
            client = None
        if node_of(sid) is None or (client is not None and client.namespace != namespace):
            raise ValueError("sid is not connected to requested namespace")
        return client
