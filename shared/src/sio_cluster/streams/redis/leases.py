"""Who holds which lane."""

from collections.abc import Collection

from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.redis.appender import INBOX_TTL_MS
from sio_cluster.streams.redis.connections import Connections, call
from sio_cluster.streams.redis.scripts.inboxes import BAR
from sio_cluster.streams.redis.scripts.lanes import ACQUIRE, BARRED, RELEASE, RENEW


class RedisLeases:
    """`api.leases.Leases`."""

    def __init__(self, connections: Connections, keys: Keys) -> None:
        self._connections = connections
        self._keys = keys

    async def acquire(self, lane: int, node_id: str, lease_ms: int, *, stood_still: bool = False) -> Lease | None:
        keys = self._keys
        lane_keys = (keys.lease(lane), keys.token(lane), keys.uplink(lane), keys.holders(lane), keys.takeovers(lane))
        [token] = await self._connections.run(call(ACQUIRE, lane_keys, node_id, lease_ms, int(stood_still)))
        return None if token is None else Lease(lane, node_id, int(token))

    async def renew(self, leases: Collection[Lease], lease_ms: int) -> set[int]:
        keys = [self._keys.lease(lease.lane) for lease in leases]
        owners = [owner for lease in leases for owner in (lease.node_id, lease.token)]
        [renewed] = await self._connections.run(call(RENEW, keys, lease_ms, *owners))
        return {lease.lane for lease, is_ours in zip(leases, renewed, strict=True) if is_ours}

    async def bar_former(self, leases: Collection[Lease]) -> set[str]:
        keys = self._keys
        *holders, io_nodes, parked = await self._connections.run(
            *[("SMEMBERS", keys.holders(lease.lane)) for lease in leases],
            ("HKEYS", keys.io_nodes),
            ("SMEMBERS", keys.parked_io_nodes),
        )
        former = [
            {member.decode() for member in members} - {lease.node_id}
            for lease, members in zip(leases, holders, strict=True)
        ]
        barred: set[str] = set().union(*former)
        if not barred:
            return barred
        states = [Keys.state(keys.inbox(node.decode())) for node in {*io_nodes, *parked}]
        await self._connections.run(
            *[call(BAR, (state,), node_id, INBOX_TTL_MS) for state in states for node_id in sorted(barred)]
        )
        await self._connections.run(
            *[
                call(BARRED, (keys.lease(lease.lane), keys.holders(lease.lane)), lease.node_id, lease.token,
                     *sorted(of_lane))
                for lease, of_lane in zip(leases, former, strict=True)
                if of_lane
            ]
        )  # fmt: skip
        return barred

    async def release(self, lease: Lease, *, settled: bool = True) -> None:
        keys, lane = self._keys, lease.lane
        lease_keys = (keys.lease(lane), keys.holders(lane), keys.takeovers(lane))
        await self._connections.run(call(RELEASE, lease_keys, lease.node_id, lease.token, int(settled)))
