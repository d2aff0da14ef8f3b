"""Lanes that few connections flood: whoever sends most of it is read no further until the lane is short again.

A lane is *crowded* while more than LANE_FAIR_BYTES of it wait, in Redis and here; until it is below half of that. Then
those are paused who put far more into it of late than the others: more than a sixteenth of LANE_FAIR_BYTES and four
times the median. They are read again once that is true no more, or the lane is short. Of a few senders none may put
more than LANE_FAIR_BYTES into it. So the others wait for no more than a short lane; and a lane that is long since many
send, or since nobody takes from it, stops nobody here (LANE_MAX_BYTES does).

Redis is asked only about lanes into which much was put, each 50 ms at most.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeAlias

import structlog

from sio_cluster.node.retry import Backoff
from sio_cluster.protocol.errors import BusError

log = structlog.get_logger()

LOOK_S = 0.05

_FEW = 8
"""Up to so many senders say too little about what is usual."""
_TIMES = 4
"""So many times the median is far more than the others."""
_HALF_LIFE_LOOKS = 20
"""While a lane of many senders is crowded, what was put into it counts half after so many looks."""


class Sender(Protocol):
    """The connection that a fact comes from."""

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class Queue(Protocol):
    """What waits here for one lane."""

    stream: str
    waiting_bytes: int


class Holds(Protocol):
    async def held_bytes(self, streams: Sequence[str]) -> list[int]: ...


Paused: TypeAlias = dict[Sender, None]
"""Connections that are not read for one reason, in the order in which they were paused."""


class _Lane:
    """What was put into a lane since the last look that found it short, and how much of it one sender may have put."""

    __slots__ = ("bound", "crowded", "looks", "paused", "put", "queue", "shares")

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.put = 0
        self.shares: dict[Sender, int] = {}
        self.crowded = False
        self.bound = 0
        self.looks = 0
        self.paused: Paused = {}


class Fairness:
    """`run` is a task for as long as the node lives. `pause` and `release` carry out what it finds."""

    def __init__(
        self,
        redis: Holds,
        fair_bytes: int,
        *,
        pause: Callable[[Paused, Sender], None],
        release: Callable[[Paused, Iterable[Sender]], None],
    ) -> None:
        self._redis = redis
        self._fair_bytes = fair_bytes
        self._small_bytes = fair_bytes // 16
        self._pause = pause
        self._release = release
        self._lanes: dict[str, _Lane] = {}
        self._suspects: dict[_Lane, None] = {}
        self._wake = asyncio.Event()

    def put(self, queue: Queue, size: int, sender: Sender) -> None:
        """The sender has put so much into this lane. Until Redis was asked, one alone may put LANE_FAIR_BYTES."""
        lane = self._lanes.get(queue.stream)
        if lane is None:
            lane = self._lanes[queue.stream] = _Lane(queue)
        lane.put += size
        share = lane.shares[sender] = lane.shares.get(sender, 0) + size
        if lane.put <= self._fair_bytes // 2:
            return
        if not lane.crowded and lane not in self._suspects:
            self._suspects[lane] = None
            self._wake.set()
        if share > (lane.bound if lane.crowded else self._fair_bytes):
            self._pause(lane.paused, sender)

    def forget(self, sender: Sender) -> None:
        """The connection is closed."""
        for lane in self._lanes.values():
            lane.shares.pop(sender, None)

    async def run(self) -> None:
        """Look at crowded lanes for ever; with backoff while Redis is away, when nothing is found to be short."""
        backoff = Backoff()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._suspects:
                lanes = list(self._suspects)
                try:
                    held = await self._redis.held_bytes([lane.queue.stream for lane in lanes])
                except BusError as error:
                    log.debug("lanes_not_measured", error=str(error))  # the flush says it aloud
                    for lane in lanes:
                        if lane.crowded:
                            self._compare(lane)
                    await asyncio.sleep(next(backoff))
                else:
                    backoff.reset()
                    for lane, held_bytes in zip(lanes, held, strict=True):
                        self._judge(lane, held_bytes + lane.queue.waiting_bytes)
                    await asyncio.sleep(LOOK_S)

    def _judge(self, lane: _Lane, waiting_bytes: int) -> None:
        if waiting_bytes > (self._fair_bytes // 2 if lane.crowded else self._fair_bytes):
            if not lane.crowded:
                log.info("lane_crowded", stream=lane.queue.stream, waiting_bytes=waiting_bytes)
            lane.crowded = True
            self._compare(lane)
            return
        lane.crowded = False
        lane.put = lane.looks = 0
        lane.shares.clear()
        del self._suspects[lane]
        self._release(lane.paused, list(lane.paused))

    def _compare(self, lane: _Lane) -> None:
        """Pause those who put far more into a crowded lane than others, and release those of whom that is not true."""
        many = len(lane.shares) > _FEW
        lane.looks += many
        if many and lane.looks % _HALF_LIFE_LOOKS == 0:
            lane.shares = {sender: share // 2 for sender, share in lane.shares.items() if share > 1}
        shares = sorted(lane.shares.values())
        usual = _TIMES * shares[(len(shares) - 1) // 2] if len(shares) > 1 else 0
        lane.bound = max(self._small_bytes, usual)
        if not many:
            lane.bound = min(lane.bound, self._fair_bytes)
        for sender, share in lane.shares.items():
            if share > lane.bound:
                self._pause(lane.paused, sender)
        as_others = min(usual, lane.bound)
        self._release(lane.paused, [sender for sender in lane.paused if lane.shares.get(sender, 0) <= as_others])
