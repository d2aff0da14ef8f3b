"""What Redis holds, for `/metrics`: the bytes in each lane and inbox, and the memory of the whole server.

One app-node asks for all, since the answers are the same for everybody: the one that holds lane 0. Redis has these
numbers at hand, and counts nothing for them.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from app_node.counters import Counters
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import BusError
from sio_cluster.protocol.ids import name_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.appends import Appender
from sio_cluster.streams.api.registry import Registry
from sio_cluster.streams.api.store import Store, StoreMemory

Kind: TypeAlias = Literal["io-node", "app-node"]
LOOK_S = 5.0
"""How often Redis is asked."""


@dataclass(frozen=True, slots=True)
class RedisUse:
    """As of the last look. Empty where this app-node does not look."""

    lanes: Mapping[int, int] = field(default_factory=dict)
    """Bytes of entries that each lane holds: what LANE_MAX_BYTES limits."""
    inboxes: Mapping[tuple[Kind, str], int] = field(default_factory=dict)
    """Bytes of entries that nobody has read, by kind and name of the nodes whose inboxes hold them.

    By name, since each start of a node has an id of its own: by id, monitoring would have new series without end.
    """
    memory: StoreMemory | None = None
    """None, too, where Redis does not tell."""


NOTHING = RedisUse()


class RedisWatch:
    """Looks while `is_in_charge()`. An app-node that Redis does not tell its memory asks for that no more,
    until Redis was away."""

    def __init__(
        self,
        *,
        lanes: int,
        keys: Keys,
        appender: Appender,
        registry: Registry,
        store: Store,
        is_in_charge: Callable[[], bool],
        counters: Counters,
    ) -> None:
        self._lanes = range(lanes)
        self._keys = keys
        self._appender = appender
        self._registry = registry
        self._store = store
        self._is_in_charge = is_in_charge
        self._retry = Retry("redis_use", counters.redis_retries)
        self._tells_memory = True
        self._seen = NOTHING

    @property
    def use(self) -> RedisUse:
        """What was seen last. Nothing while Redis is away, or another app-node is in charge."""
        return self._seen if self._is_in_charge() else NOTHING

    async def run(self) -> None:
        """A loop for as long as the node lives. Retried while Redis is away."""
        await self._retry.forever(self.look, pause_s=LOOK_S)

    async def look(self) -> None:
        """One turn. Raises BusError."""
        try:
            self._seen = await self._ask() if self._is_in_charge() else NOTHING
        except BusError:
            self._seen, self._tells_memory = NOTHING, True
            raise

    async def _ask(self) -> RedisUse:
        io_nodes, app_nodes = await self._registry.registered_io_nodes(), await self._registry.app_nodes()
        nodes: list[tuple[Kind, str]] = [
            *(("io-node", node) for node in io_nodes),
            *(("app-node", node) for node in app_nodes),
        ]
        streams = [*map(self._keys.uplink, self._lanes), *(self._keys.inbox(node) for _, node in nodes)]
        held = await self._appender.held_bytes(streams)
        memory = await self._store.memory() if self._tells_memory else None
        self._tells_memory = memory is not None
        in_lanes, in_inboxes = held[: len(self._lanes)], held[len(self._lanes) :]
        inboxes: Counter[tuple[Kind, str]] = Counter()
        for (kind, node), bytes_held in zip(nodes, in_inboxes, strict=True):
            inboxes[kind, name_of(node)] += bytes_held
        return RedisUse(dict(zip(self._lanes, in_lanes, strict=True)), inboxes, memory)
