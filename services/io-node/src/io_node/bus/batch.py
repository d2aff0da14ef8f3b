"""One stream entry of the uplink: as many facts as fit."""

from collections import deque
from dataclasses import dataclass
from typing import assert_never

from sio_cluster.protocol.codec import encode_app_inbox, encode_uplink
from sio_cluster.protocol.messages import (
    AckReceived,
    ClientConnected,
    ClientDisconnected,
    ClientUpgraded,
    EventReceived,
    Fact,
)

MAX_BATCH_FACTS = 1_000
MAX_BATCH_BYTES = 1_000_000
"""An entry that a single large fact fills may exceed this; MAX_PAYLOAD_BYTES bounds it."""

_FACT_BYTES = 100
"""What a fact weighs besides its payload, roughly: its sid and its tag on the wire, its objects in memory."""


@dataclass(slots=True)
class Batch:
    """An encoded entry. `connected` are the clients whose records have not been stored yet; `size` is what its facts
    weighed in the buffer."""

    seq: int
    entry: bytes
    facts: int
    size: int
    connected: list[ClientConnected]


def size_of(fact: Fact) -> int:
    """What the fact weighs in the buffer, in bytes, roughly."""
    match fact:
        case EventReceived() | AckReceived():
            size = _FACT_BYTES + len(fact.data)
            return size + sum(map(len, fact.attachments)) if fact.attachments else size
        case ClientConnected():
            handshake = fact.handshake
            headers = sum(len(name) + len(value) + 16 for name, value in handshake.headers)
            return _FACT_BYTES + headers + len(handshake.query) + len(fact.namespace) + len(fact.auth or b"")
        case ClientUpgraded() | ClientDisconnected():
            return _FACT_BYTES
        case _:
            assert_never(fact)


def next_batch(waiting: deque[Fact], node_id: str, seq: int, *, for_inbox: bool) -> Batch:
    """Take the first facts out of `waiting`, which is not empty, and encode them."""
    facts: list[Fact] = []
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
        answers = [fact for fact in facts if isinstance(fact, AckReceived)]
        return Batch(seq, encode_app_inbox(node_id, seq, list(answers)), len(facts), total, connected)
    return Batch(seq, encode_uplink(node_id, seq, facts), len(facts), total, connected)
