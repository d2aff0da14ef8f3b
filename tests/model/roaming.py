"""Clients that lose their connection and claim their session back, again and again.

Each connection of such a client stands for one on an io-node of its own: what is said of two connections may come in
any order. So one may be half-open for a long time, and a claim may be over before its connect was passed on.
"""

import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from tests.model.history import ClientRecord, History

from sio_cluster.protocol.messages import ClientConnected, ClientDisconnected, Fact, Handshake
from sio_cluster.protocol.recovery import hash_of
from sio_cluster.streams.api.records import Claim, ClaimRefused, ClientRecords

KEEP_MS = 3_600_000
PID = hash_of("secret")
DELAYS_S = (0.0, 0.0, 0.001, 0.02, 0.3, 1.5)
"""Until an io-node says what has become of a connection."""

_HANDSHAKE = Handshake("GET", "/socket.io/", "EIO=4&transport=polling", [("host", "example.org")], "10.1.2.3", 99)


@dataclass
class _Roamer:
    """One such client. `generation`: that of its newest connection, which is there while `up`."""

    record: ClientRecord
    generation: int = 0
    up: bool = True
    accepted: int = -1  # the newest generation that was let in
    claiming: bool = False


class Roamers:
    """`put(delay_s, facts)` passes facts on, in order, after that time. `persist` tries until Redis answers."""

    def __init__(
        self,
        *,
        records: ClientRecords,
        history: History,
        draws: random.Random,
        put: Callable[[float, Sequence[Fact]], None],
        persist: Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]],
    ) -> None:
        self._records = records
        self._history = history
        self._draws = draws
        self._put = put
        self._persist = persist
        self._roamers: dict[str, _Roamer] = {}

    def __contains__(self, sid: str) -> bool:
        return sid in self._roamers

    def connect(self, sid: str, record: ClientRecord) -> None:
        record.roams = True
        self._roamers[sid] = _Roamer(record)
        self._put(0.0, [_connected(sid, 0)])

    def drop(self, sid: str) -> None:
        """Its connection is lost. Its io-node finds out, sooner or later."""
        roamer = self._roamers[sid]
        if roamer.up and roamer.accepted == roamer.generation:
            roamer.up = False
            self._put(self._draws.choice(DELAYS_S), [_gone(sid, roamer.generation)])

    async def claim(self, sid: str) -> None:
        """It comes back on another connection, and may lose that one at once. It can once it was let in."""
        roamer = self._roamers[sid]
        if roamer.claiming or roamer.accepted < 0:
            return
        roamer.claiming = True
        claim = await self._persist(lambda: self._records.claim(sid, "/", PID, sid.partition(".")[0]))
        roamer.claiming = False
        if isinstance(claim, ClaimRefused):
            if claim is not ClaimRefused.PENDING and not roamer.record.cut:
                self._history.violated(f"{sid} could not come back: {claim}")
            return
        assert isinstance(claim, Claim)
        if roamer.up:  # half-open
            self._put(self._draws.choice(DELAYS_S), [_gone(sid, roamer.generation)])
        roamer.generation = claim.generation
        roamer.up = self._draws.random() < 0.8
        connected = _connected(sid, claim.generation)
        if roamer.up or self._draws.random() < 0.5:
            await self._persist(lambda: self._records.store([connected]))
            self._put(self._draws.choice(DELAYS_S), [connected] + [_gone(sid, claim.generation)] * (not roamer.up))
        else:
            self._put(self._draws.choice(DELAYS_S), [_gone(sid, claim.generation)])

    def let_in(self, sid: str, generation: int) -> None:
        roamer = self._roamers[sid]
        roamer.accepted = max(roamer.accepted, generation)

    def evict(self, sid: str, generation: int) -> None:
        """Its connections up to this generation end: whoever has them hears of them by `_gone` anyway."""
        if generation >= self._roamers[sid].generation:
            self._history.violated(f"{sid} is evicted, and has no newer connection")

    def check(self) -> None:
        """When all faults are over: the application knows what is true."""
        for sid, roamer in self._roamers.items():
            turns = roamer.record.turns
            if roamer.record.cut:
                continue
            if roamer.up and (roamer.accepted != roamer.generation or turns[-1:] != ["connect"]):
                self._history.violated(f"{sid} is there, {roamer.accepted} of {roamer.generation} was let in: {turns}")
            if not roamer.up and turns[-1:] not in ([], ["disconnect"]) and not roamer.record.disconnect_aside:
                self._history.violated(f"{sid} is gone, and the application heard {turns}")


def _connected(sid: str, generation: int) -> ClientConnected:
    return ClientConnected(sid, "c", "/", None, _HANDSHAKE, "polling", PID, "", generation)


def _gone(sid: str, generation: int) -> ClientDisconnected:
    return ClientDisconnected(sid, "transport close", generation, KEEP_MS)
