"""What clients show in rooms: `api.presences.Presences`."""

from collections.abc import Sequence

from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.presences import NEWS_COUNT, Meta, News, ShowResult
from sio_cluster.streams.memory.broker import MemoryBroker, MemoryClient


class MemoryPresences:
    """Beside the records."""

    def __init__(self, broker: MemoryBroker, lanes: int) -> None:
        self._broker = broker
        self._lanes = lanes

    async def show(self, sid: str, meta: Meta, linger_ms: int, lease: Lease | None = None) -> ShowResult:
        async with self._broker.operation():
            client = self._broker.clients.get(sid)
            if self._broker.is_fenced(sid, self._lanes, lease):
                return ShowResult.FENCED
            if client is None or client.namespace != meta.namespace:
                return ShowResult.GONE
            if meta.room not in client.rooms:
                return ShowResult.NOT_IN_ROOM
            self._show(sid, client, meta, linger_ms)
            return ShowResult.DONE

    async def hide(self, sid: str, namespace: str, room: Room, lease: Lease | None = None) -> ShowResult:
        async with self._broker.operation():
            client = self._broker.clients.get(sid)
            if self._broker.is_fenced(sid, self._lanes, lease):
                return ShowResult.FENCED
            if client is None or client.namespace != namespace:
                return ShowResult.GONE
            self._broker.hide(sid, self._lanes, room)
            return ShowResult.DONE

    async def metas(self, namespace: str, room: Room) -> list[Meta]:
        async with self._broker.operation():
            clients = [client for client in self._broker.clients.values() if client.namespace == namespace]
            return [client.metas[room] for client in clients if room in client.metas]

    async def news(self, leases: Sequence[Lease]) -> list[list[News]]:
        async with self._broker.operation():
            return [[] if self._broker.is_lost(lease) else self._of_lane(lease.lane) for lease in leases]

    async def told(self, lease: Lease, news: Sequence[News]) -> None:
        async with self._broker.operation():
            for one in news:
                self._broker.news[lease.lane].pop(int(one.id), None)

    def _show(self, sid: str, client: MemoryClient, meta: Meta, linger_ms: int) -> None:
        client.linger_ms = max(linger_ms, client.linger_ms or 0)
        if client.away_until is not None and client.shows_until is None:
            client.shows_until = self._broker.clock() + linger_ms / 1000
        former = client.metas.get(meta.room)
        if former is not None and (former.key, former.data) == (meta.key, meta.data):
            return
        client.metas[meta.room] = meta
        lane = lane_of(sid, self._lanes)
        self._broker.add_news(lane, meta, shown=True)
        if former is not None:
            self._broker.add_news(lane, former, shown=False)

    def _of_lane(self, lane: int) -> list[News]:
        broker = self._broker
        for sid, client in broker.clients.items():
            until = client.shows_until
            if until is not None and until <= broker.clock() and lane_of(sid, self._lanes) == lane:
                broker.hide_all(sid, self._lanes)
        oldest = list(broker.news[lane].items())[:NEWS_COUNT]
        return [News(b"%d" % number, shown, meta) for number, (shown, meta) in oldest]
