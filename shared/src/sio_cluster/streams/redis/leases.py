"""Who holds which lane."""

from collections.abc import Mapping

from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.redis.appender import INBOX_TTL_MS
from sio_cluster.streams.redis.bus import Bus, call
from sio_cluster.streams.redis.scripts import ACQUIRE, BAR, BARRED, RELEASE, RENEW


class Leases:
    """Leases of lanes, timed by Redis' own clock alone.

    A holder must count with its lease as run out `lease_ms` after it *sent* the last renewal that worked.
    """

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def acquire(self, lane: int, holder: str, lease_ms: int) -> int | None:
        """The fencing token, higher than all before; None while another holds the lane.

        It also takes the stream's reading position over: from now on a former holder can read nothing more. Then
        `LaneReader.claim` gives what former holders left. A repeated acquire of one's own lane gives a new token.
        """
        keys = self._bus.keys
        lane_keys = (keys.lease(lane), keys.token(lane), keys.uplink(lane), keys.holders(lane))
        [token] = await self._bus.run(call(ACQUIRE, lane_keys, holder, lease_ms))
        return None if token is None else int(token)

    async def renew(self, tokens: Mapping[int, int], holder: str, lease_ms: int) -> set[int]:
        """Prolongs these leases (lane -> token) in one round trip; the lanes that are still ours."""
        lease = self._bus.keys.lease
        replies = await self._bus.run(
            *[call(RENEW, (lease(lane),), holder, token, lease_ms) for lane, token in tokens.items()]
        )
        return {lane for lane, renewed in zip(tokens, replies, strict=True) if renewed}

    async def bar_former(self, tokens: Mapping[int, int], holder: str) -> set[str]:
        """Bars whoever held these lanes (lane -> our token) before, and has not released them in good order.

        To be called after `acquire` and before the lane's first handler. What a barred sender has made until now is not
        appended to any io-node's inbox from then on (`AppendResult.BARRED`): a process that was paused may wake up with
        an append half sent. Returns who was barred; a repetition bars again those whom this call did not reach.
        """
        keys = self._bus.keys
        lanes = list(tokens)
        *holders, io_nodes = await self._bus.run(
            *[("SMEMBERS", keys.holders(lane)) for lane in lanes], ("HKEYS", keys.io_nodes)
        )
        former = [{member.decode() for member in members} - {holder} for members in holders]
        barred = set().union(*former)
        if not barred:
            return barred
        states = [Keys.state(keys.inbox(node.decode())) for node in io_nodes]
        await self._bus.run(
            *[call(BAR, (state,), sender, INBOX_TTL_MS) for state in states for sender in sorted(barred)]
        )
        await self._bus.run(
            *[
                call(BARRED, (keys.lease(lane), keys.holders(lane)), holder, tokens[lane], *sorted(of_lane))
                for lane, of_lane in zip(lanes, former, strict=True)
                if of_lane
            ]
        )
        return barred

    async def release(self, lane: int, holder: str, token: int, *, settled: bool = True) -> None:
        """Gives the lane back, so that another may acquire it at once. Without effect where it is no longer ours.

        `settled`: all that its holding has caused is in Redis. Else the next holder bars us, as after a crash.
        """
        keys = self._bus.keys
        await self._bus.run(call(RELEASE, (keys.lease(lane), keys.holders(lane)), holder, token, int(settled)))
