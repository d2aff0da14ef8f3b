"""The room index: who is connected, and who is in which room.

A client is *connected* from when the application has let it in until its disconnect is in its record. While it is away
(it has lost its connection, and may claim its session back), it is not connected, and is again from the claim on. Its
own sid is no room here.

The index is kept by each change of a record, in the same step. Nodes of a release before this one do not keep it. So a
note in Redis says whether it is *exact*. Who founds a cluster writes the note. `Registry.level` removes it where such a
node is registered, and `restore` brings it back when none is any more.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.records import ClientRecord

PAGE_LIMIT = 1_000
"""How many clients a page has, at most."""


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Some connected clients. `cursor`: the sid behind which the next page begins, None where there is none."""

    records: list[ClientRecord]
    cursor: str | None


class RoomIndex(Protocol):
    """Answers from Redis alone, with one command for each lane. Reads, but for `restore`.

    Each method raises IndexNotExact where the index is not exact, unless its docstring says otherwise.
    """

    async def count(self, namespace: str, room: Room | None = None) -> int:
        """How many clients of this namespace are connected; with `room`, how many of those in it. One round trip."""

    async def counts(self, namespace: str, prefix: str = "") -> dict[Room, int]:
        """The rooms of this namespace, and how many connected clients are in each. Rooms without any are left out.

        `prefix`: only rooms whose names are text and begin like this. "" stands for all rooms.
        """

    async def page(
        self, namespace: str, room: Room | None = None, limit: int = 1000, cursor: str | None = None
    ) -> RecordPage:
        """At most `limit` of the connected clients, in an order that does not change. Three round trips at most for
        each 1,000 clients, as a rule.

        A page may have fewer, even none, before the last one. A walk over all pages brings everybody who was connected
        (and in the room) all the time once, and nobody twice. ValueError for another `limit` than 1 to PAGE_LIMIT, and
        for what is no cursor.
        """

    async def is_exact(self) -> bool:
        """Whether the other methods answer. Raises no IndexNotExact."""

    async def restore(self) -> None:
        """Builds the index anew from the records, and then notes that it is exact, unless the note was removed again
        meanwhile. While it runs, records may change. Raises no IndexNotExact."""


class Lookup(Protocol):
    """Reads while the caller's thread waits: for python-socketio's methods that are not async.

    Raises BusUnavailable after 250 ms at most, and BusRefused. It has a connection of its own, which its first use
    opens. Not thread-safe.
    """

    def record(self, sid: str) -> ClientRecord | None:
        """The client's record, None when it is gone."""

    def sids(self, namespace: str, room: Room | None = None) -> Iterator[str]:
        """The connected clients of this namespace; with `room`, those in it. As `RoomIndex.page` brings them.

        Each step raises IndexNotExact where the index is not exact. The time is that of one step.
        """
