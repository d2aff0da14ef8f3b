"""The nodes of the cluster, and what they have in common."""

from dataclasses import dataclass
from typing import Protocol

EPOCHS = 1 << 11
"""(epoch << 20) + counter stays below 2**31: see `protocol.messages.AckRequest`."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """What `Registry.look` saw. Each field is what the method of that name returns."""

    io_nodes: dict[str, dict[str, str]]
    app_nodes: dict[str, dict[str, str]]
    lost_io_nodes: list[str]
    lost_app_nodes: list[str]
    level: int
    life: str | None


class Registry(Protocol):
    """The nodes of the cluster.

    A node is *registered* from `register_*` until `unregister_*`. It is *alive* while its last heartbeat counts.
    """

    async def join_cluster(self) -> str:
        """Checks that this node fits the cluster. The first node decides what the cluster is: its LANES, its version.

        Returns the cluster's *life*: a random word, which is another one after Redis lost its data. Raises
        ClusterMismatch.
        """

    async def life(self) -> str | None:
        """The cluster's life. None where Redis lost its data, and no node has called `join_cluster` since."""

    async def register_io_node(self, node_id: str, info: dict[str, str]) -> None:
        """Enters the node, or changes its info. It counts once it has sent a heartbeat. It is parked no more."""

    async def register_app_node(self, node_id: str, info: dict[str, str]) -> None:
        """Enters the node, or changes its info. It counts once it has sent a heartbeat."""

    async def heartbeat(self, node_id: str, ttl_ms: int) -> float | None:
        """Says that the node lives for `ttl_ms` from now on.

        Returns the time in seconds by the clock that gives stream entries their ids. None where ids are no times.
        """

    async def retire_io_node(self, node_id: str) -> None:
        """Before its clients are disconnected: the node is no longer registered, and counts as lost until it is
        unregistered. If it comes back, its next heartbeat tells it so."""

    async def unregister_io_node(self, node_id: str) -> None:
        """Forgets the node, its heartbeat, its inbox, its sequence numbers, and which clients it holds.

        Their records stay. Only when nothing more is to come from it: a retry of its last append would not be
        recognised.
        """

    async def unregister_app_node(self, node_id: str) -> None:
        """Forgets the node, its heartbeat, its inbox and its sequence numbers."""

    async def look(self) -> Nodes:
        """All nodes, in one round trip where no node is new. Where the life is the same as before, all is of this life.

        Does what `level` does.
        """

    async def is_alive(self, node_id: str) -> bool:
        """Whether the node's last heartbeat counts, registered or not. App-nodes that only emit are not."""

    async def io_nodes(self) -> dict[str, dict[str, str]]:
        """Registered and alive: node id -> info."""

    async def app_nodes(self) -> dict[str, dict[str, str]]:
        """Registered and alive: node id -> info."""

    async def registered_io_nodes(self) -> list[str]:
        """Registered, alive or not, or parked: every home that may still have clients."""

    async def parked_io_nodes(self) -> list[str]:
        """Homes without an io-node (`api.homes.Homes.park`). They count as neither alive nor lost."""

    async def lost_io_nodes(self) -> list[str]:
        """Registered or retired, but neither alive nor parked."""

    async def level(self) -> int:
        """The lowest `protocol.messages.LEVEL` of the nodes that are registered. LEVEL where there are none.

        A node says its level in its info, as "level". One that says none is of level 1. Where it is below
        `protocol.messages.SERVER_LEVEL`, the room index is not exact from then on (`api.room_index`).
        """

    async def lost_app_nodes(self) -> list[str]:
        """Registered, but not alive."""

    async def next_epoch(self) -> int:
        """A number below EPOCHS that no other app-node got in the last EPOCHS starts (see `AckRequest`)."""


def level_of(info: dict[str, str]) -> int:
    """What a node of this info understands: see `Registry.level`."""
    return int(info.get("level", 1))
