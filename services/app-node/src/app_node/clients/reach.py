"""Whether a client can be asked at all, looked at before it is.

Nobody reads the inbox of a parked home for clients that are away. So this app-node looks for itself: at what it knows
of the clients of its own lanes, and before a `call` to another one at the client's record.
"""

from app_node.clients.client import Clients, State
from app_node.clients.record_access import RecordAccess
from app_node.counters import Counters
from app_node.downlink.routes import Routes
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import ClientGone
from sio_cluster.protocol.ids import node_of
from sio_cluster.streams.api.registry import Registry


class Reach:
    """Knows who is surely not connected. Whoever is not known to be gone counts as connected."""

    def __init__(
        self, known: Clients, records: RecordAccess, routes: Routes, registry: Registry, counters: Counters
    ) -> None:
        self._known = known
        self._records = records
        self._routes = routes
        self._registry = registry
        self._counters = counters
        self._retry = Retry("reach", counters.redis_retries)

    async def generation_of(self, sid: str, namespace: str, *, is_call: bool) -> int | None:
        """The generation of the connection that may answer a question to this client, None where it is not known.

        `namespace`: the one in which it is asked. A sid belongs to one namespace: in others there is no such client.
        `is_call`: somebody waits for the answer, so a read of the record pays. Raises ClientGone.
        """
        client = self._known.get(sid)
        if client is not None and client.has_connected and client.namespace != namespace:
            raise _of_another(sid, namespace)
        if client is not None and client.state is State.GONE and not client.forgotten:
            raise ClientGone(f"{sid} is not connected")
        if await self._routes.of(sid) is None:
            self._counters.recipients_gone += 1
            raise ClientGone(f"the io-node of {sid} is gone")
        if client is not None and client.state in (State.CONNECTING, State.CONNECTED):
            return client.generation
        return await self._recorded(sid, namespace) if is_call else None

    async def _recorded(self, sid: str, namespace: str) -> int | None:
        record = await self._records.load(sid)
        if record is None:
            # Redis may have lost it. Then the client's io-node knows better, if there is one.
            if node_of(sid) in await self._retry.call(self._registry.parked_io_nodes):
                raise ClientGone(f"{sid} is not connected")
            return None
        if record.connected.namespace != namespace:
            raise _of_another(sid, namespace)
        if record.away:
            raise ClientGone(f"{sid} is not connected")
        return record.let_in


def _of_another(sid: str, namespace: str) -> ClientGone:
    return ClientGone(f"{sid} is not connected to {namespace}: it is of another namespace")
