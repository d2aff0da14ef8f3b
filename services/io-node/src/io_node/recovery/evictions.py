"""Tells other io-nodes to close connections whose clients have come back here."""

import asyncio
from collections import defaultdict

import structlog

from sio_cluster.node.retry import Retry
from sio_cluster.protocol.codec import encode_downlink
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import Command, Evict
from sio_cluster.streams.api.appends import Append, Appender, AppendResult

log = structlog.get_logger()

_MOST = 1_000
"""So many go into one entry."""
_FULL_S = 0.2
"""How long a full inbox is left alone."""


class Evictions:
    """Sends what was put, in order. `run` is a loop. While Redis is away or an inbox is full it tries again.

    Bound: one small message for each client that has come back here. CONNECT_RATE bounds how fast they do.
    """

    def __init__(self, node_id: str, keys: Keys, *, appender: Appender, max_bytes: int, retry: Retry) -> None:
        """`max_bytes`: INBOX_MAX_BYTES."""
        self._node_id = node_id
        self._keys = keys
        self._appender = appender
        self._max_bytes = max_bytes
        self._retry = retry
        self._waiting: dict[str, list[Command]] = defaultdict(list)
        self._wake = asyncio.Event()
        self._seq = 0

    def put(self, io_node: str, evict: Evict) -> None:
        """To this io-node."""
        self._waiting[io_node].append(evict)
        self._wake.set()

    async def run(self) -> None:
        """For as long as the node lives."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            waiting, self._waiting = self._waiting, defaultdict(list)
            for io_node, evicts in waiting.items():
                for start in range(0, len(evicts), _MOST):
                    await self._send(io_node, evicts[start : start + _MOST])
            if self._waiting and not self._wake.is_set():
                await asyncio.sleep(_FULL_S)
                self._wake.set()

    async def _send(self, io_node: str, evicts: list[Command]) -> None:
        """One entry. Where the inbox is full, they wait: others have their turn."""
        self._seq += 1
        entry = encode_downlink(self._node_id, self._seq, evicts)
        append = Append(self._keys.inbox(io_node), self._node_id, self._seq, entry, self._max_bytes)
        [result] = await self._retry.call(lambda: self._appender.append([append]))
        if result is AppendResult.FULL:
            log.warning("stream_full", stream=append.stream, evicts=len(evicts))
            self._waiting[io_node][:0] = evicts
