"""Keeps few connections from flooding a lane: whoever sends most of it is not read until the lane is short again.

A lane is *crowded* when more than LANE_FAIR_BYTES wait for it, in Redis and here, until less than half of that waits.
While it is crowded, a connection is paused that has of late put more into it than both

- a sixteenth of LANE_FAIR_BYTES, and
- four times the median of all connections that put something into it.

It is read again when that is no longer true, or when the lane is short. Where up to 8 connections fill a lane their
median says little: then nobody may put more than LANE_FAIR_BYTES into it.

So the events of others wait behind about LANE_FAIR_BYTES. A lane that is long because many send the same amount, or
because no app-node reads it, stops nobody here. LANE_MAX_BYTES does that.

Redis is asked only about lanes into which much was put, at most every 50 ms.
"""

import asyncio
from typing import Protocol

import structlog

from io_node.backpressure import Backpressure, Paused, Sender
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import BusError
from sio_cluster.streams.api.appends import Appender

log = structlog.get_logger()

LOOK_S = 0.05

_FEW = 8
"""Up to this many senders, the median says little about what is usual."""
_TIMES = 4
"""A sender stands out when it puts this many times the median into a lane."""
_HALF_LIFE_LOOKS = 20
"""While a lane of many senders is crowded, what each has put into it is halved after this many looks."""


class Queue(Protocol):
    """What waits in this process for one lane."""

    stream: str
    waiting_bytes: int


class _Lane:
    """`put` bytes went into this lane since the last look that found it short: `shares[sender]` of them from each.

    While it is `crowded`, a sender whose share exceeds `bound` is paused.
    """

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
    """`run` is a loop for as long as the node lives."""

    def __init__(self, appender: Appender, fair_bytes: int, *, backpressure: Backpressure, retry: Retry) -> None:
        self._appender = appender
        self._fair_bytes = fair_bytes
        self._small_bytes = fair_bytes // 16
        self._backpressure = backpressure
        self._retry = retry
        self._lanes: dict[str, _Lane] = {}
        self._suspects: dict[_Lane, None] = {}
        self._wake = asyncio.Event()

    def put(self, queue: Queue, size: int, sender: Sender) -> None:
        """The sender has put `size` bytes into this lane. Until Redis was asked, it may put LANE_FAIR_BYTES."""
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
            self._backpressure.pause(lane.paused, sender)

    def forget(self, sender: Sender) -> None:
        """The connection has closed."""
        for lane in self._lanes.values():
            lane.shares.pop(sender, None)

    async def run(self) -> None:
        """Look at suspected lanes for ever. While Redis is away no lane is found to be short."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._suspects:
                lanes = list(self._suspects)
                try:
                    held = await self._appender.held_bytes([lane.queue.stream for lane in lanes])
                except BusError as error:
                    for lane in lanes:
                        if lane.crowded:
                            self._compare(lane)
                    await asyncio.sleep(self._retry.failed(error))
                else:
                    self._retry.succeeded()
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
        self._backpressure.release_all(lane.paused)

    def _compare(self, lane: _Lane) -> None:
        """Pause who stands out in a crowded lane, and release who no longer does."""
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
                self._backpressure.pause(lane.paused, sender)
        released = min(usual, lane.bound)
        self._backpressure.release(
            lane.paused, [sender for sender in lane.paused if lane.shares.get(sender, 0) <= released]
        )
