"""The ids under which an app-node asks clients for answers.

An ack id is (epoch << 20) + counter. Each app-node gets an epoch of its own, below 2**11, so an ack id is unique in the
cluster, also across restarts: a late answer to an app-node that died never calls a callback of the next one.

An ack id stays below 2**31, since the clients in Java, Rust and other languages keep it in 32 bits with a sign. They
cannot read a packet with a larger one.
"""

import itertools
from collections.abc import Callable, Iterator

from sio_cluster.streams.api.registry import EPOCHS

COUNTERS = 2**31 // EPOCHS
"""How many ids an app-node has. Then it begins again, and leaves out those that still wait."""


def ack_ids(epoch: int, waits: Callable[[int], bool]) -> Iterator[int]:
    """Ids without end for the app-node with this epoch. `waits` says whether an id still waits for its answer."""
    for counter in itertools.cycle(range(COUNTERS)):
        ack_id = epoch * COUNTERS + counter
        if not waits(ack_id):
            yield ack_id
