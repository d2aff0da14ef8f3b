"""In which rooms a home has members: whoever says something to a room asks it nothing where it has none.

Beside each inbox stands an *account* of the rooms in which clients of that home are, wherever they are connected. It
may name too many rooms, and never too few: what is appended only for rooms that it does not name concerns nobody
(`appends.AppendResult.NOBODY`). The reader of the inbox keeps the account, with a word of its own, the token:

    token = secrets.token_hex(8)
    last = await interest.begin(home, token)              # from now on appends note which rooms clients enter by them
    ...                                                   # carry out the inbox up to `last`
    await interest.keep(home, token, members=rooms)       # the rooms in which clients are by then
    await interest.believe(home, token)                   # from now on it is looked at
    await interest.keep(home, token, empty=["lobby"], up_to=last)   # whenever rooms have lost their last members

A room is taken out only where every entry by which a client enters it has been carried out. So the account is right at
the moment at which an entry has been appended, whoever has appended it, and also while the reader stands still.

Nobody looks at an account that was not begun, or not believed, that was given up, has expired, or was lost: everything
is appended then.
"""

from collections.abc import Sequence
from typing import Protocol

from sio_cluster.protocol.messages import Room

MOST_ROOMS = 1_000
"""For how many rooms one append may be, and how many one `keep` takes: Redis serves nobody else meanwhile."""


def require_few(rooms: int) -> None:
    """Raises ValueError for more rooms than one call takes."""
    if rooms > MOST_ROOMS:
        raise ValueError(f"one call takes at most {MOST_ROOMS} rooms")


class Interest(Protocol):
    """The accounts of all homes. All methods may be repeated. They raise BusError."""

    async def begin(self, home: str, token: str) -> bytes:
        """Begins an account in place of the one that was there. Appends note their rooms from now on.

        Returns the last id of the inbox (b"0-0": it is empty): what clients enter by entries up to there is not noted.
        """

    async def keep(
        self, home: str, token: str, *, members: Sequence[Room] = (), empty: Sequence[Room] = (), up_to: bytes = b"0-0"
    ) -> bool:
        """Notes `members`, and takes out the rooms that are `empty` once all entries up to this id are carried out. A
        room that a client enters by a later entry stays.

        Returns whether the account has this token still. Else nothing happens. At most MOST_ROOMS rooms.
        """

    async def believe(self, home: str, token: str) -> bool:
        """From now on appends look at the account. Returns whether it has this token still. Else nothing happens."""

    async def give_up(self, home: str) -> None:
        """Removes the account, whoever began it."""
