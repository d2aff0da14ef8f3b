"""What clients show in rooms: who is present there.

The rooms hear of changes from the holders of the clients' lanes (`presence_news`), whoever has made them.
"""

import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from app_node.counters import Counters
from app_node.downlink.emitter import Emitter
from app_node.downlink.record_writer import RecordWriter
from app_node.downlink.routes import Routes
from app_node.lanes.progress import current_progress, open_progress
from app_node.payloads import JsonModule, Payload, decode_any, encode
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import LeaseLost
from sio_cluster.protocol.messages import SERVER_LEVEL, Room
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.presences import REF_LENGTH, Meta, ShowResult
from sio_cluster.streams.api.presences import Presences as BusPresences

STATE, DIFF = "presence_state", "presence_diff"
"""The events, as Phoenix calls them."""


class Presences:
    """Who is present in rooms. Each method waits until Redis answers. What this app-node has changed before counts.

    All but `metas` raise NodesTooOld where a node of an older release is registered: it would leave ghosts. `show` and
    `hide` raise LeaseLost in a handler whose lane was lost: the next holder runs it again.
    """

    def __init__(
        self,
        presences: BusPresences,
        *,
        writer: RecordWriter,
        routes: Routes,
        emitter: Emitter,
        json_module: JsonModule | None,
        counters: Counters,
    ) -> None:
        self._presences = presences
        self._writer = writer
        self._routes = routes
        self._emitter = emitter
        self._json_module = json_module
        self._retry = Retry("presences", counters.redis_retries)

    async def show(self, sid: str, namespace: str, room: Room, key: str, data: bytes, linger_ms: int) -> None:
        """The client shows this. Raises KeyError where it is gone, ValueError where it is not in the room."""
        await self._ready()
        meta = Meta(namespace, room, key, data, secrets.token_hex(REF_LENGTH // 2))
        lease = _lease()
        result = await self._retry.call(lambda: self._presences.show(sid, meta, linger_ms, lease))
        if result is ShowResult.NOT_IN_ROOM:
            raise ValueError(f"{sid} is not in the room {room!r}")
        _require_done(result, sid)

    async def hide(self, sid: str, namespace: str, room: Room) -> None:
        """The client shows nothing in this room any more. Raises KeyError where it is gone."""
        await self._ready()
        lease = _lease()
        _require_done(await self._retry.call(lambda: self._presences.hide(sid, namespace, room, lease)), sid)

    async def metas(self, namespace: str, room: Room) -> list[Meta]:
        """What all members of the room show."""
        await self._writer.caught_up()
        return await self._retry.call(lambda: self._presences.metas(namespace, room))

    async def send_state(self, sid: str, namespace: str, room: Room) -> None:
        """Tells this client, a member of the room, who is present. Returns when Redis has all of it.

        A diff may leave between the moment when the state is read and that when it is in the client's inbox. The state
        does not say what that diff did, and would undo it. So the metas are read again afterwards, and what differs is
        sent. What that says of joins may be overtaken in the same way, once more: who has left does not come back under
        the same ref, so a diff that only says who has left undoes nothing. However often the room changes, this reads
        three times at most. A diff that comes later says what is so, or what was said already.
        """
        await self._ready()
        sent = await self._by_ref(namespace, room)
        await self._send(sid, namespace, STATE, grouped(sent.values()), room)
        now = await self._by_ref(namespace, room)
        joins = [meta for ref, meta in now.items() if ref not in sent]
        leaves = [meta for ref, meta in sent.items() if ref not in now]
        if joins or leaves:
            await self._send(sid, namespace, DIFF, diff_of(joins, leaves), room)
        if joins:
            last = await self._by_ref(namespace, room)
            if gone := [meta for meta in joins if meta.ref not in last]:
                await self._send(sid, namespace, DIFF, diff_of([], gone), room)

    async def _by_ref(self, namespace: str, room: Room) -> dict[str, Meta]:
        return {meta.ref: meta for meta in await self.metas(namespace, room)}

    async def _send(self, sid: str, namespace: str, event: str, content: dict[str, Any], room: Room) -> None:
        with _in_redis_at_return():
            await self._emitter.emit(namespace, self.payload(event, content, room), [sid], [])

    def payload(self, event: str, content: dict[str, Any], room: Room) -> Payload:
        """The event for the members of this room."""
        return encode([event, content, room], self._json_module)

    async def _ready(self) -> None:
        await self._writer.caught_up()
        await self._routes.require_level(SERVER_LEVEL, "presence")


def grouped(metas: Iterable[Meta]) -> dict[str, Any]:
    """In Phoenix' form: `{key: {"metas": [{**data, "phx_ref": ref}]}}`."""
    by_key: dict[str, Any] = {}
    for meta in metas:
        data = {**decode_any(meta.data), "phx_ref": meta.ref}
        by_key.setdefault(meta.key, {"metas": []})["metas"].append(data)
    return by_key


def diff_of(joins: Iterable[Meta], leaves: Iterable[Meta]) -> dict[str, Any]:
    """In Phoenix' form: who is present now, and who is not any more."""
    return {"joins": grouped(joins), "leaves": grouped(leaves)}


def _lease() -> Lease | None:
    progress = open_progress()
    return None if progress is None else progress.lane.lease


def _require_done(result: ShowResult, sid: str) -> None:
    if result is ShowResult.FENCED:
        raise LeaseLost(f"the lane of {sid} is no longer held: another app-node goes on with it")
    if result is ShowResult.GONE:
        raise KeyError(sid)


@contextmanager
def _in_redis_at_return() -> Iterator[None]:
    """An emit inside returns when Redis has it, also in a handler."""
    token = current_progress.set(None)
    try:
        yield
    finally:
        current_progress.reset(token)
