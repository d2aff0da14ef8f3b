"""Who holds which lane."""

from collections.abc import Mapping

from sio_cluster.streams.connection import Bus, call
from sio_cluster.streams.scripts import ACQUIRE, RELEASE, RENEW


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
        lane_keys = (keys.lease(lane), keys.token(lane), keys.uplink(lane))
        [token] = await self._bus.run(call(ACQUIRE, lane_keys, holder, lease_ms))
        return None if token is None else int(token)

    async def renew(self, tokens: Mapping[int, int], holder: str, lease_ms: int) -> set[int]:
        """Prolongs these leases (lane -> token) in one round trip; the lanes that are still ours."""
        lease = self._bus.keys.lease
        replies = await self._bus.run(
            *[call(RENEW, (lease(lane),), holder, token, lease_ms) for lane, token in tokens.items()]
        )
        return {lane for lane, renewed in zip(tokens, replies, strict=True) if renewed}

    async def release(self, lane: int, holder: str, token: int) -> None:
        """Gives the lane back, so that another may acquire it at once. Without effect where it is no longer ours."""
        await self._bus.run(call(RELEASE, (self._bus.keys.lease(lane),), holder, token))
