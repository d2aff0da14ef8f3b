"""One stream entry of the uplink: as many facts as fit."""

from collections import deque
from dataclasses import dataclass
from typing import cast

from io_node.backpressure import size_of
from sio_cluster.protocol.codec import encode_app_inbox, encode_uplink
from sio_cluster.protocol.messages import AppInboxItem, ClientConnected, Fact, UplinkItem

MAX_BATCH_FACTS = 1_000
MAX_BATCH_BYTES = 1_000_000
"""An entry exceeds this only where a single fact does. MAX_PAYLOAD_BYTES bounds that."""


@dataclass(slots=True)
class Batch:
    """An encoded entry.

    `facts`: how many it holds. `size`: what they weighed in the buffer. `connected`: the new clients among them whose
    records have not been stored yet. `since`: when the first of its facts came.
    """

    seq: int
    entry: bytes
    facts: int
    size: int
    connected: list[ClientConnected]
    since: float


def next_batch(waiting: deque[UplinkItem], node_id: str, seq: int, since: float, *, for_inbox: bool) -> Batch:
    """Take the first facts out of `waiting`, which is not empty, and encode them."""
    facts: list[UplinkItem] = []
    connected: list[ClientConnected] = []
    total = 0
    while waiting and len(facts) < MAX_BATCH_FACTS:
        fact = waiting[0]
        size = size_of(fact)
        if facts and total + size > MAX_BATCH_BYTES:
            break
        waiting.popleft()
        facts.append(fact)
        total += size
        if isinstance(fact, ClientConnected):
            connected.append(fact)
    if for_inbox:
        answers = cast(list[AppInboxItem], facts)  # `Uplink.put` lets nothing else into an inbox
        return Batch(seq, encode_app_inbox(node_id, seq, answers), len(facts), total, connected, since)
    return Batch(seq, encode_uplink(node_id, seq, cast(list[Fact], facts)), len(facts), total, connected, since)
