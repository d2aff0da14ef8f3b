"""Which nodes there are, and which of them live."""

import msgspec

from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.redis.appender import bar_of
from sio_cluster.streams.redis.bus import Bus, call
from sio_cluster.streams.redis.connection import Command
from sio_cluster.streams.redis.scripts import HEARTBEAT, NEXT_EPOCH, REGISTER

EPOCHS = 1 << 21
"""(epoch << 32) + counter stays below 2**53, see `AckRequest`."""

_encode_info = msgspec.json.Encoder().encode
_decode_info = msgspec.json.Decoder(dict[str, str]).decode


class Registry:
    """The nodes of the cluster. A node is registered until somebody unregisters it, and alive while it heartbeats."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def life(self) -> str | None:
        """The life of the cluster, see `Bus.found`; None where Redis lost its data and nobody has founded it anew."""
        [life] = await self._bus.run(("HGET", self._bus.keys.config, "life"))
        return None if life is None else life.decode()

    async def found(self) -> str:
        """Founds the cluster anew where Redis lost its data: see `Bus.found`. Raises ClusterMismatch."""
        return await self._bus.found()

    async def register_io_node(self, node_id: str, info: dict[str, str]) -> None:
        """Enters the node, or changes its info. It counts once it has sent a heartbeat."""
        await self._bus.run(call(REGISTER, (self._bus.keys.io_nodes,), node_id, _encode_info(info)))

    async def register_app_node(self, node_id: str, info: dict[str, str]) -> None:
        """Enters the node, or changes its info. It counts once it has sent a heartbeat."""
        await self._bus.run(call(REGISTER, (self._bus.keys.app_nodes,), node_id, _encode_info(info)))

    async def heartbeat(self, node_id: str, ttl_ms: int) -> None:
        """Says that the node lives for `ttl_ms` from now."""
        await self._bus.run(call(HEARTBEAT, (self._bus.keys.alive(node_id),), ttl_ms))

    async def retire_io_node(self, node_id: str) -> None:
        """Before its clients are disconnected: the node is not registered any more, and counts as lost until it is
        unregistered. If it comes back, its next heartbeat tells it so."""
        keys = self._bus.keys
        await self._bus.run(("SADD", keys.lost_io_nodes, node_id), ("HDEL", keys.io_nodes, node_id))

    async def unregister_io_node(self, node_id: str) -> None:
        """Forgets the node, its heartbeat, its inbox and its sequence numbers. Idempotent.

        Only when nothing more is to come from it: a retry of its last append would not be recognised.
        """
        await self._bus.run(
            *self._forget(node_id, self._lane_states()),
            ("HDEL", self._bus.keys.io_nodes, node_id),
            ("SREM", self._bus.keys.lost_io_nodes, node_id),
        )

    async def unregister_app_node(self, node_id: str) -> None:
        """Forgets the node, its heartbeat, its inbox and its sequence numbers. Idempotent."""
        keys = self._bus.keys
        [io_nodes] = await self._bus.run(("HKEYS", keys.io_nodes))
        inboxes = [Keys.state(keys.inbox(io_node.decode())) for io_node in io_nodes]
        await self._bus.run(
            *self._forget(node_id, [*self._lane_states(), *inboxes]),
            ("HDEL", keys.app_nodes, node_id),
        )

    async def io_nodes(self) -> dict[str, dict[str, str]]:
        """Registered and alive: node id -> info."""
        return (await self._nodes(self._bus.keys.io_nodes))[0]

    async def app_nodes(self) -> dict[str, dict[str, str]]:
        """Registered and alive: node id -> info."""
        return (await self._nodes(self._bus.keys.app_nodes))[0]

    async def registered_io_nodes(self) -> list[str]:
        """Registered, alive or not: whoever may still have clients."""
        [nodes] = await self._bus.run(("HKEYS", self._bus.keys.io_nodes))
        return sorted(node.decode() for node in nodes)

    async def lost_io_nodes(self) -> list[str]:
        """Registered or retired, but not alive."""
        [retired] = await self._bus.run(("SMEMBERS", self._bus.keys.lost_io_nodes))
        alive = await self._bus.run(*[("EXISTS", self._bus.keys.alive(node.decode())) for node in retired])
        gone = {node.decode() for node, lives in zip(retired, alive, strict=True) if not lives}
        return sorted(gone.union((await self._nodes(self._bus.keys.io_nodes))[1]))

    async def lost_app_nodes(self) -> list[str]:
        """Registered, but not alive."""
        return (await self._nodes(self._bus.keys.app_nodes))[1]

    async def next_epoch(self) -> int:
        """A number below 2**21 that no other app-node has got for the last two million starts."""
        [count] = await self._bus.run(call(NEXT_EPOCH, (self._bus.keys.epoch,)))
        return int(count) % EPOCHS

    async def _nodes(self, key: str) -> tuple[dict[str, dict[str, str]], list[str]]:
        """Those alive with their info, and those lost, by node id."""
        [flat] = await self._bus.run(("HGETALL", key))
        infos = {node.decode(): info for node, info in zip(flat[::2], flat[1::2], strict=True)}
        alive = await self._bus.run(*[("EXISTS", self._bus.keys.alive(node)) for node in infos])
        living: dict[str, dict[str, str]] = {}
        lost: list[str] = []
        for (node, info), lives in zip(infos.items(), alive, strict=True):
            if lives:
                living[node] = _decode_info(info)
            else:
                lost.append(node)
        return living, sorted(lost)

    def _lane_states(self) -> list[str]:
        keys = self._bus.keys
        return [Keys.state(keys.uplink(lane)) for lane in range(self._bus.config.lanes)]

    def _forget(self, node_id: str, states: list[str]) -> list[Command]:
        inbox = self._bus.keys.inbox(node_id)
        return [
            ("DEL", self._bus.keys.alive(node_id)),
            ("UNLINK", inbox, Keys.state(inbox)),
            *[("HDEL", state, node_id, bar_of(node_id)) for state in states],
        ]
