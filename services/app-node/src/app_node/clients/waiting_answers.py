"""How much the answers weigh that nobody has taken yet: those of clients to questions to many, and those of app-nodes.

Bound: all together `max_bytes`. The question whose answer is one too many fails, and its answers are dropped.
"""

from collections.abc import Sequence

import structlog

from app_node.counters import Counters
from sio_cluster.protocol.errors import TooManyAnswers

log = structlog.get_logger()

ANSWER_BYTES = 200
"""What an answer weighs besides its data."""


class WaitingAnswers:
    """The answers of all open questions of this app-node. `bytes` is changed by those who keep them."""

    def __init__(self, max_bytes: int, counters: Counters) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._counters = counters

    def refusal(self, size: int) -> TooManyAnswers | None:
        """Why an answer of so many bytes may not wait, counted. None where it may. One alone always may."""
        if not self.bytes or self.bytes + size <= self.max_bytes:
            return None
        self._counters.answers_too_large += 1
        log.warning("answers_too_large", waiting_bytes=self.bytes)
        return TooManyAnswers(f"the answers that wait would weigh more than {self.max_bytes} bytes")


def size_of(data: bytes, attachments: Sequence[bytes]) -> int:
    """What an answer weighs, in bytes."""
    return ANSWER_BYTES + len(data) + sum(map(len, attachments))
