"""A node's presence: it is registered, its heart beats, and its bus works in both directions.

"Registered" is not "alive", and "connected to Redis" is not either. So each beat does three things: it says to the
registry that the node lives; it lets the node's own kind look after its registration (`Registration`); and it sends a
canary, a message to the node itself, through its own inbox. The bus is proved while canaries come back.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from sio_cluster.node.membership.redis_clock import RedisClock
from sio_cluster.node.rest import rest
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import BusError
from sio_cluster.protocol.messages import Canary
from sio_cluster.streams.api.appends import Append, Appender, AppendResult
from sio_cluster.streams.api.registry import Registry

log = structlog.get_logger()

MISSED_BEATS = 3
"""How many canaries may be missing before the bus is not proved any more."""

_LEAST_PATIENCE_S = 0.5


class Registration(Protocol):
    """What one kind of node does so that it is in the registry: `IoNodeRegistration`, `AppNodeRegistration`."""

    async def refresh(self) -> float | None:
        """Registers the node where that is needed. Raises BusError: the next beat tries again.

        Returns after how many seconds the next beat is due, None for the usual time.
        """

    async def leave(self) -> None:
        """Takes the node out of the registry, for good. Raises BusError."""


@dataclass(frozen=True, slots=True)
class Pace:
    """`beat_ms`: the time between two beats. `ttl_ms`: how long one beat counts."""

    beat_ms: int
    ttl_ms: int


class BusProof:
    """Canaries of one node through its own inbox. The bus works in both directions while they come back in time."""

    def __init__(
        self,
        node_id: str,
        inbox: str,
        inbox_max_bytes: int,
        beat_ms: int,
        *,
        appender: Appender,
        encode: Callable[[int, Canary], bytes],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`inbox`: the key of this node's inbox. `encode(seq, canary)` makes an entry for an inbox of this kind.

        `clock` gives seconds.
        """
        self._node_id = node_id
        self._inbox = inbox
        self._inbox_max_bytes = inbox_max_bytes
        self._appender = appender
        self._encode = encode
        self._clock = clock
        self.patience_s = max(MISSED_BEATS * beat_ms / 1000, _LEAST_PATIENCE_S)
        """For how long a canary that came back proves the bus."""
        self._nonce = 0
        self._proved_at = float("-inf")

    @property
    def stands(self) -> bool:
        """Whether a canary came back of late."""
        return self._clock() - self._proved_at <= self.patience_s

    async def send(self) -> None:
        """Sends the next canary. Raises BusError."""
        self._nonce += 1
        entry = self._encode(self._nonce, Canary(self._nonce))
        # Urgent: a node must be able to prove the bus while Redis is full, since it must work Redis off then.
        append = Append(self._inbox, self._node_id, self._nonce, entry, self._inbox_max_bytes, urgent=True)
        [result] = await self._appender.append([append])
        if result is AppendResult.FULL:
            log.warning("own_inbox_full", stream=self._inbox)

    def returned(self, canary: Canary) -> None:
        """A canary came through the inbox. One that took three beats or longer proves nothing."""
        if self._nonce - canary.nonce < MISSED_BEATS:
            self._proved_at = self._clock()


def unready_because(proof: BusProof, *, stopping: bool, started: bool) -> str:
    """Why a node cannot serve now, "" where it can: one rule for both kinds of node.

    `started`: whether the node is so far that it may serve.
    """
    if stopping:
        return "the node is stopping"
    if not started:
        return "the node is starting"
    return "" if proof.stands else "Redis does not pass messages in both directions"


class Presence:
    """The heartbeat of one node. `run` is a loop for as long as the node lives."""

    def __init__(
        self,
        node_id: str,
        pace: Pace,
        *,
        registry: Registry,
        registration: Registration,
        proof: BusProof,
        redis_clock: RedisClock,
        retry: Retry,
    ) -> None:
        self._node_id = node_id
        self._pace = pace
        self._registry = registry
        self._registration = registration
        self._proof = proof
        self._redis_clock = redis_clock
        self._retry = retry
        self._beating = asyncio.Lock()
        self._left = False
        self.beats = 0

    async def run(self) -> None:
        """Beats until `leave`, then only waits to be cancelled. While Redis is away it tries again with backoff.

        Raises ClusterMismatch where Redis lost its data, and another node has founded a cluster that this one does not
        fit.
        """
        while True:
            try:
                pause_s = await self.beat()
            except BusError as error:
                pause_s = self._retry.failed(error)
            else:
                self._retry.succeeded()
            await rest(pause_s)
        await asyncio.Event().wait()  # a loop of a node never ends by itself (`Loops`)

    async def beat(self) -> float:
        """One beat; none after `leave`. Returns the seconds until the next one is due. Raises BusError."""
        usual_s = self._pace.beat_ms / 1000
        async with self._beating:
            if self._left:
                return usual_s
            said, due_s = await asyncio.gather(  # in this order, and in one round trip
                self._say_alive(), self._registration.refresh(), return_exceptions=True
            )
            if isinstance(said, BaseException):
                raise said
            if isinstance(due_s, BaseException):
                raise due_s
            await self._proof.send()
            self.beats += 1
        return usual_s if due_s is None else min(usual_s, due_s)

    async def _say_alive(self) -> None:
        asked_at = self._redis_clock.clock()
        redis_s = await self._registry.heartbeat(self._node_id, self._pace.ttl_ms)
        if redis_s is not None:
            self._redis_clock.heard(redis_s, asked_at)

    async def leave(self) -> None:
        """Takes the node out of the registry. No beat follows that could bring it back. Raises BusError."""
        async with self._beating:
            self._left = True
            await self._registration.leave()
