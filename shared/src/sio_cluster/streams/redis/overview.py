"""The nodes of a cluster and what each of them holds, for people who look after it."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from sio_cluster.protocol.errors import ConfigError
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.registry import level_of
from sio_cluster.streams.redis.connections import Connections

_decode_info = msgspec.json.Decoder(dict[str, str]).decode


@dataclass(frozen=True, slots=True)
class NodeView:
    """One registered node.

    `state`: "alive" while its heartbeat counts; "silent": it has not said anything for longer, and may be dead;
    "parked": an io-node that is gone, whose clients may come back.
    """

    id: str
    kind: Literal["io-node", "app-node"]
    state: Literal["alive", "silent", "parked"]
    level: int | None
    """What it understands (`protocol.messages.LEVEL`). None where it is gone."""
    clients: int | None
    """Clients that it holds. None for an app-node, which holds none."""
    lanes: list[int] | None
    """Lanes whose lease it has. None for an io-node, which has none."""
    alive_since: int | None = None
    """Since when it lives without a gap, in seconds since 1970 by Redis' clock. None where nobody knows."""
    release: str | None = None
    """Such as 0.2.0. None where it is gone, and for a node of an older release, which does not say it."""


class Overview:
    """Questions about the whole cluster. Raises BusError."""

    def __init__(self, connections: Connections, keys: Keys) -> None:
        self._connections = connections
        self._keys = keys

    async def lanes(self) -> int:
        """How many lanes the cluster has. Raises ConfigError where there is none of this prefix."""
        [lanes] = await self._connections.run(("HGET", self._keys.config, "lanes"))
        if not lanes:
            raise ConfigError("there is no cluster of this REDIS_PREFIX in this Redis")
        if not lanes.isdigit():
            raise ConfigError(f"the key {self._keys.config} is not one of a cluster: another program has written it")
        return int(lanes)

    async def nodes(self) -> list[NodeView]:
        """Every registered node: io-nodes first, each kind by its id."""
        lanes, keys = await self.lanes(), self._keys
        io_nodes, parked, app_nodes, *leases = await self._connections.run(
            ("HGETALL", keys.io_nodes),
            ("SMEMBERS", keys.parked_io_nodes),
            ("HGETALL", keys.app_nodes),
            *[("HGET", keys.lease(lane), "holder") for lane in range(lanes)],
        )
        away = {node.decode() for node in parked}
        io = {**dict.fromkeys(away, b""), **_by_node(io_nodes)}
        app = _by_node(app_nodes)
        alive = await self._alive([*io, *app])
        held = await self._connections.run(*[("SCARD", keys.clients(node)) for node in io])
        clients = dict(zip(io, held, strict=True))
        holds: dict[str, list[int]] = {node: [] for node in app}
        for lane, holder in enumerate(leases):
            holds.get((holder or b"").decode(), []).append(lane)
        return [
            *[_io_node(node, io[node], node in away, alive[node], int(clients[node])) for node in sorted(io)],
            *[_app_node(node, app[node], alive[node], holds[node]) for node in sorted(app)],
        ]

    async def _alive(self, nodes: list[str]) -> dict[str, bytes | None]:
        """The heartbeat of each of these nodes. None where it falls silent."""
        found = await self._connections.run(*[("GET", self._keys.alive(node)) for node in nodes])
        return dict(zip(nodes, found, strict=True))


def _io_node(node: str, info: bytes, parked: bool, beat: bytes | None, clients: int) -> NodeView:
    state: Literal["alive", "silent", "parked"] = "parked" if parked else "alive" if beat else "silent"
    return NodeView(node, "io-node", state, _level(info), clients, None, _since(beat), _release(info))


def _app_node(node: str, info: bytes, beat: bytes | None, lanes: list[int]) -> NodeView:
    state: Literal["alive", "silent"] = "alive" if beat else "silent"
    return NodeView(node, "app-node", state, _level(info), None, lanes, _since(beat), _release(info))


def _since(beat: bytes | None) -> int | None:
    since = int(beat or 0)
    return since if since > 1 else None  # a node of an older release says 1


def _level(info: bytes) -> int | None:
    return level_of(_decode_info(info)) if info else None


def _release(info: bytes) -> str | None:
    return _decode_info(info).get("release") if info else None


def _by_node(flat: list[bytes]) -> dict[str, bytes]:
    return {node.decode(): info for node, info in zip(flat[::2], flat[1::2], strict=True)}
