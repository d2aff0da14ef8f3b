"""Who holds which lane."""

from collections.abc import Mapping

from sio_cluster.streams.connection import Bus


class Leases:
    """Leases of lanes, timed by Redis' own clock alone."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def acquire(self, lane: int, holder: str, lease_ms: int) -> int | None:
        """The fencing token, None while another holds the lane."""
        raise NotImplementedError

    async def renew(self, tokens: Mapping[int, int], holder: str, lease_ms: int) -> set[int]:
        """Prolongs these leases (lane -> token); the lanes that are still ours."""
        raise NotImplementedError

    async def release(self, lane: int, holder: str, token: int) -> None:
        """Gives the lane back. Without effect where it is no longer ours."""
        raise NotImplementedError
