"""What clients show in rooms, so that others can see who is there.

    await presences.show(sid, Meta("/", "lobby", "ada", b'{"device":"phone"}', ref), linger_ms)
    await presences.metas("/", "lobby")      what all members show: each a Meta
    [news] = await presences.news([lease])   what the members have not been told
    await presences.told(lease, news)        they have

What a client shows is a part of its membership of the room. It goes, in the same step, when the client leaves the room
by whatever way, and when its record goes. A client that has lost its connection shows it for `linger_ms` more, and on
if it claims its session back within that time.

Each such change is *news*, in the same step too. The holder of the client's lane tells them to the room, in order, and
only then are they removed. So nobody's death loses one. One may be told twice.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.leases import Lease

REF_LENGTH = 16
"""How many characters a ref has."""
NEWS_COUNT = 500
"""How many news of one lane are given at once."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What one client shows in one room: under which key, and data as JSON. (The name is that of Phoenix.)

    `ref`: REF_LENGTH ASCII characters that no other Meta has. A client that shows something else has another ref.
    """

    namespace: str
    room: Room
    key: str
    data: bytes
    ref: str


@dataclass(frozen=True, slots=True)
class News:
    """A client shows this from now on, or (`shown` False) no more. `id`: its place among the news of its lane."""

    id: bytes
    shown: bool
    meta: Meta


class ShowResult(enum.Enum):
    """What became of a change of what a client shows. Unless it is DONE, nothing has changed."""

    DONE = 1
    GONE = 0
    """The client is gone, or belongs to another namespace."""
    NOT_IN_ROOM = 2
    FENCED = -1
    """The lane is lost."""


class Presences(Protocol):
    """What clients show in rooms. `lease`: as for `ClientRecords.update`."""

    async def show(self, sid: str, meta: Meta, linger_ms: int, lease: Lease | None = None) -> ShowResult:
        """The client shows this in the room, in place of what it showed there before.

        If that has the same key and data, it stays with its ref, and nobody is told. `linger_ms`: for so long the
        client shows what it shows while it is away; the longest that was ever given for it counts, for all rooms.
        """

    async def hide(self, sid: str, namespace: str, room: Room, lease: Lease | None = None) -> ShowResult:
        """The client shows nothing in this room any more. Never NOT_IN_ROOM."""

    async def metas(self, namespace: str, room: Room) -> list[Meta]:
        """What all members of the room show, in any order."""

    async def news(self, leases: Sequence[Lease]) -> list[list[News]]:
        """For each lane the oldest news that were not told, at most NEWS_COUNT. None where the lease is lost.

        First it hides what clients show that are away for longer than they may be.
        """

    async def told(self, lease: Lease, news: Sequence[News]) -> None:
        """These news of the lane are told: they are removed."""
