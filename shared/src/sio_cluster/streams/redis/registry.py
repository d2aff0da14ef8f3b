"""Which nodes there are, and which of them live."""

import secrets
from collections.abc import Iterable, Sequence

import msgspec

from sio_cluster.protocol.errors import ClusterMismatch
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import LEVEL, PROTOCOL_VERSION, SERVER_LEVEL
from sio_cluster.streams.api.registry import EPOCHS, Nodes, level_of
from sio_cluster.streams.redis.appender import bar_of
from sio_cluster.streams.redis.connection import RedisCommand
from sio_cluster.streams.redis.connections import Connections, call
from sio_cluster.streams.redis.queries import EXACT
from sio_cluster.streams.redis.scripts.registry import HEARTBEAT, NEXT_EPOCH, REGISTER, REGISTER_IO_NODE
from sio_cluster.streams.redis.wire import Reply

_encode_info = msgspec.json.Encoder().encode
_CHUNK = 1_000

_decode_info = msgspec.json.Decoder(dict[str, str]).decode


class RedisRegistry:
    """`api.registry.Registry`."""

    def __init__(self, connections: Connections, keys: Keys, lanes: int) -> None:
        self._connections = connections
        self._keys = keys
        self._lanes = lanes
        self._named: dict[str, frozenset[bytes]] = {}  # by key: the nodes that stood there when it was last read

    async def join_cluster(self) -> str:
        key, lanes = self._keys.config, self._lanes
        look: RedisCommand = ("HMGET", key, "lanes", "version", "life")
        [config] = await self._connections.run(look)
        if config[2] is None:
            # There are no records yet, so the room index is exact: see `api.room_index`.
            await self._connections.run(("HSETNX", key, "index", EXACT))
        if None in config:  # in this order: a Redis that is out of memory takes no new cluster, but nodes may join one
            *_, config = await self._connections.run(
                ("HSETNX", key, "lanes", lanes),
                ("HSETNX", key, "version", PROTOCOL_VERSION),
                ("HSETNX", key, "life", secrets.token_hex(8)),
                look,
            )
        if not (config[0].isdigit() and config[1].isdigit()):
            raise ClusterMismatch(f"the key {key} is not one of a cluster: another program has written it")
        cluster_lanes, cluster_version = int(config[0]), int(config[1])
        if cluster_lanes != lanes:
            raise ClusterMismatch(f"LANES is {lanes} here, but the cluster runs with {cluster_lanes}")
        if cluster_version != PROTOCOL_VERSION:
            raise ClusterMismatch(
                f"this node speaks protocol version {PROTOCOL_VERSION}, the cluster {cluster_version}"
            )
        life: bytes = config[2]
        return life.decode()

    async def life(self) -> str | None:
        [life] = await self._connections.run(("HGET", self._keys.config, "life"))
        return None if life is None else life.decode()

    async def register_io_node(self, node_id: str, info: dict[str, str]) -> None:
        keys = self._keys
        of_node = (keys.io_nodes, keys.parked_io_nodes, Keys.state(keys.inbox(node_id)))
        await self._connections.run(call(REGISTER_IO_NODE, of_node, node_id, _encode_info(info)))

    async def register_app_node(self, node_id: str, info: dict[str, str]) -> None:
        await self._connections.run(call(REGISTER, (self._keys.app_nodes,), node_id, _encode_info(info)))

    async def heartbeat(self, node_id: str, ttl_ms: int) -> float:
        [[seconds, microseconds]] = await self._connections.run(call(HEARTBEAT, (self._keys.alive(node_id),), ttl_ms))
        return int(seconds) + int(microseconds) / 1_000_000

    async def retire_io_node(self, node_id: str) -> None:
        keys = self._keys
        await self._connections.run(("SADD", keys.lost_io_nodes, node_id), ("HDEL", keys.io_nodes, node_id))

    async def unregister_io_node(self, node_id: str) -> None:
        keys = self._keys
        held, away = await self._connections.run(
            ("SMEMBERS", keys.clients(node_id)), ("ZRANGE", keys.away(node_id), 0, -1)
        )
        rooms = [keys.rooms_at_horizon(node_id, sid.decode()) for sid in (*held, *away)]
        await self._connections.run(
            *self._forget(node_id, self._lane_states()),
            *[("UNLINK", *rooms[start : start + _CHUNK]) for start in range(0, len(rooms), _CHUNK)],
            ("UNLINK", keys.clients(node_id), keys.away(node_id), keys.marks(node_id)),
            ("HDEL", keys.io_nodes, node_id),
            ("SREM", keys.lost_io_nodes, node_id),
            ("SREM", keys.parked_io_nodes, node_id),
        )

    async def unregister_app_node(self, node_id: str) -> None:
        keys = self._keys
        inboxes = [Keys.state(keys.inbox(io_node)) for io_node in await self.registered_io_nodes()]
        await self._connections.run(
            *self._forget(node_id, [*self._lane_states(), *inboxes]),
            ("HDEL", keys.app_nodes, node_id),
        )

    async def look(self) -> Nodes:
        keys = self._keys
        [of_io_nodes, of_app_nodes, retired], alive, [life] = await self._read(
            keys.io_nodes,
            keys.app_nodes,
            keys.lost_io_nodes,
            then=[("HGET", keys.config, "life")],  # last: where it is the same, what was read before was of this life
        )
        io_nodes, app_nodes = _infos(of_io_nodes), _infos(of_app_nodes)
        return Nodes(
            {node: info for node, info in io_nodes.items() if node in alive},
            {node: info for node, info in app_nodes.items() if node in alive},
            sorted({*io_nodes, *map(bytes.decode, retired)} - alive),
            sorted(app_nodes.keys() - alive),
            await self._level([*io_nodes.values(), *app_nodes.values()]),
            None if life is None else life.decode(),
        )

    async def is_alive(self, node_id: str) -> bool:
        [lives] = await self._connections.run(("EXISTS", self._keys.alive(node_id)))
        return bool(lives)

    async def io_nodes(self) -> dict[str, dict[str, str]]:
        return await self._living(self._keys.io_nodes)

    async def app_nodes(self) -> dict[str, dict[str, str]]:
        return await self._living(self._keys.app_nodes)

    async def registered_io_nodes(self) -> list[str]:
        keys = self._keys
        nodes, parked = await self._connections.run(("HKEYS", keys.io_nodes), ("SMEMBERS", keys.parked_io_nodes))
        return sorted(node.decode() for node in {*nodes, *parked})

    async def parked_io_nodes(self) -> list[str]:
        [parked] = await self._connections.run(("SMEMBERS", self._keys.parked_io_nodes))
        return sorted(node.decode() for node in parked)

    async def lost_io_nodes(self) -> list[str]:
        keys = self._keys
        [flat, retired], alive, _ = await self._read(keys.io_nodes, keys.lost_io_nodes)
        return sorted({node.decode() for node in (*flat[::2], *retired)} - alive)

    async def level(self) -> int:
        infos = await self._connections.run(("HVALS", self._keys.io_nodes), ("HVALS", self._keys.app_nodes))
        return await self._level(_decode_info(info) for of_kind in infos for info in of_kind)

    async def lost_app_nodes(self) -> list[str]:
        [flat], alive, _ = await self._read(self._keys.app_nodes)
        return sorted({node.decode() for node in flat[::2]} - alive)

    async def next_epoch(self) -> int:
        [count] = await self._connections.run(call(NEXT_EPOCH, (self._keys.epoch,)))
        return int(count) % EPOCHS

    async def _living(self, key: str) -> dict[str, dict[str, str]]:
        [flat], alive, _ = await self._read(key)
        return {node: info for node, info in _infos(flat).items() if node in alive}

    async def _read(self, *lists: str, then: Sequence[RedisCommand] = ()) -> tuple[list[Reply], set[str], list[Reply]]:
        """What stands in the lists of nodes with these keys; which of these nodes are alive; the answers to `then`.

        They are asked in this order, in one round trip: who stood in the lists when they were last read is likely to
        stand there now. Where somebody is new, all is asked once more.
        """
        asked = frozenset[bytes]().union(*[self._named.get(key, ()) for key in lists])
        while True:
            nodes = [node.decode() for node in asked]
            replies = await self._connections.run(
                *[("SMEMBERS" if key == self._keys.lost_io_nodes else "HGETALL", key) for key in lists],
                *[("EXISTS", self._keys.alive(node)) for node in nodes],
                *then,
            )
            answers, lives = replies[: len(lists)], replies[len(lists) : len(lists) + len(nodes)]
            for key, answer in zip(lists, answers, strict=True):
                self._named[key] = frozenset(answer if key == self._keys.lost_io_nodes else answer[::2])
            named = frozenset[bytes]().union(*[self._named[key] for key in lists])
            if named <= asked:
                alive = {node for node, lives_now in zip(nodes, lives, strict=True) if lives_now}
                return answers, alive, replies[len(lists) + len(nodes) :]
            asked = named

    async def _level(self, infos: Iterable[dict[str, str]]) -> int:
        level = min(map(level_of, infos), default=LEVEL)
        if level < SERVER_LEVEL:
            await self._connections.run(("HDEL", self._keys.config, "index"))
        return level

    def _lane_states(self) -> list[str]:
        keys = self._keys
        return [Keys.state(keys.uplink(lane)) for lane in range(self._lanes)]

    def _forget(self, node_id: str, states: list[str]) -> list[RedisCommand]:
        inbox = self._keys.inbox(node_id)
        return [
            ("DEL", self._keys.alive(node_id)),
            ("UNLINK", inbox, Keys.state(inbox), Keys.interest(inbox)),
            *[("HDEL", state, node_id, bar_of(node_id)) for state in states],
        ]


def _infos(flat: Sequence[bytes]) -> dict[str, dict[str, str]]:
    """Of a hash of nodes, by node id."""
    return {node.decode(): _decode_info(info) for node, info in zip(flat[::2], flat[1::2], strict=True)}
