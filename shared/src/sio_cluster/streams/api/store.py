"""The server that keeps all streams and records."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class StoreMemory:
    """What the server uses of its memory, for all of its users together."""

    used_bytes: int
    limit_bytes: int
    """How much it may use (`maxmemory`). 0: as much as there is."""
    policy: str
    """What it does at that limit (`maxmemory-policy`). "noeviction": it refuses writes."""


class Store(Protocol):
    """Questions about the server itself."""

    async def memory(self) -> StoreMemory | None:
        """What it uses now. None where it does not tell this node, which may lack the right to ask."""
