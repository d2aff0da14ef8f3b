"""Sees to it that the room index is exact: after nodes of a release that does not keep it, it is built anew."""

from collections.abc import Callable

from app_node.counters import Counters
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.messages import SERVER_LEVEL
from sio_cluster.streams.api.registry import Registry
from sio_cluster.streams.api.room_index import RoomIndex


class IndexKeeper:
    """Looks at the nodes once a heartbeat, so that the note in Redis goes where one of them does not keep the index.
    While `is_in_charge()`, it builds the index anew when all nodes do."""

    def __init__(
        self,
        *,
        heartbeat_ms: int,
        registry: Registry,
        room_index: RoomIndex,
        is_in_charge: Callable[[], bool],
        counters: Counters,
    ) -> None:
        self._heartbeat_s = heartbeat_ms / 1000
        self._registry = registry
        self._room_index = room_index
        self._is_in_charge = is_in_charge
        self._retry = Retry("room_index", counters.redis_retries)

    async def run(self) -> None:
        """A loop for as long as the node lives. Retried while Redis is away."""
        await self._retry.forever(self.look, pause_s=self._heartbeat_s)

    async def look(self) -> None:
        """One turn. Raises BusError."""
        level = await self._registry.level()
        if level >= SERVER_LEVEL and self._is_in_charge() and not await self._room_index.is_exact():
            await self._room_index.restore()
