"""Requests that are carried out once, however often they are sent: who has claimed one, and what became of it."""

import enum
from dataclasses import dataclass

from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.redis.connections import Connections, call
from sio_cluster.streams.redis.scripts.outcomes import CLAIM_OUTCOME, RELEASE_OUTCOME, SETTLE_OUTCOME

KEPT_MS = 300_000
"""How long a claim is remembered, and the outcome from then on: five minutes each."""


class Claim(enum.Enum):
    """What a claim brought."""

    MINE = "mine"
    """The caller is to carry it out, and nobody else will."""
    DONE = "done"
    """It was carried out: there is an outcome."""
    TAKEN = "taken"
    """Another process has claimed it and has not said what became of it. It may have died."""
    OTHER = "other"
    """The key was used for something else."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """`outcome` is b"" unless it is DONE."""

    claim: Claim
    outcome: bytes


class Outcomes:
    """Each request has a digest of its key, and one of what it asks for.

    At most one process gets MINE for a key while it is remembered. That process carries the request out and settles it,
    or releases it where it did nothing. If it dies before, nobody knows whether the request was carried out, and nobody
    may until it is forgotten.
    """

    def __init__(self, connections: Connections, keys: Keys) -> None:
        self._connections = connections
        self._keys = keys

    async def claim(self, digest: str, owner: str, asked: str) -> Claimed:
        """May be repeated by the same owner, whose answer was lost. Raises BusError."""
        command = call(CLAIM_OUTCOME, (self._keys.outcome(digest),), owner, asked, KEPT_MS)
        [[claim, outcome]] = await self._connections.run(command)
        return Claimed(Claim(claim.decode()), outcome)

    async def settle(self, digest: str, owner: str, asked: str, outcome: bytes) -> None:
        """Writes down what became of the owner's request. May be repeated. Raises BusError."""
        key = self._keys.outcome(digest)
        await self._connections.run(call(SETTLE_OUTCOME, (key,), owner, asked, outcome, KEPT_MS))

    async def release(self, digest: str, owner: str) -> None:
        """Forgets the owner's claim: it did nothing. Not where it was settled. May be repeated. Raises BusError."""
        await self._connections.run(call(RELEASE_OUTCOME, (self._keys.outcome(digest),), owner))
