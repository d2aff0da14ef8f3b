"""Whom a question to many clients has reached, as one hub knows it."""

from collections.abc import Iterator
from dataclasses import dataclass

from sio_cluster.protocol.messages import AckExpected

PART_SIDS = 1_000
"""How many sids one message names: about 40 KB."""


@dataclass(frozen=True, slots=True)
class AskedMany:
    """`here`: they were asked. `elsewhere` and `away`: as in `AckExpected`."""

    here: list[str]
    elsewhere: list[str]
    away: list[str]

    def messages(self, home: str, ack_id: int) -> Iterator[AckExpected]:
        """What the app-node that asked is told. At least one message, also where nobody was asked."""
        longest = max(len(self.here), len(self.elsewhere), len(self.away))
        parts = max(1, -(-longest // PART_SIDS))
        for part in range(parts):
            cut = slice(part * PART_SIDS, (part + 1) * PART_SIDS)
            yield AckExpected(home, ack_id, self.here[cut], self.elsewhere[cut], self.away[cut], part, parts)
