"""Keeps the account of the rooms in which this home has members: see `streams.api.interest`.

It is begun when all nodes of the cluster note what their commands let clients into, and given up while one does not. A
Redis on a new connection has no account any more; then it is begun anew.

A program of an older release that only emits is not registered, and notes nothing either. A room that a client enters
by its command is noted here, within LOOK_S of the command.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterable
from typing import NoReturn, Protocol

import structlog

from io_node.bus.progress import Progress
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.messages import INTEREST_LEVEL, Room
from sio_cluster.streams.api.inboxes import order
from sio_cluster.streams.api.interest import MOST_ROOMS, Interest

log = structlog.get_logger()

LOOK_S = 0.5
"""How often rooms are looked at that have got their first member or lost the last one."""
_CHECK_LOOKS = 8
"""After so many looks without a change Redis is asked whether it has the account still."""
_CAUGHT_UP_S = 0.05
"""How often it is looked whether what stood in the inbox at the beginning is carried out."""
_MOST_WAITS = 100
"""After so many of these looks it begins anew."""


class Members(Protocol):
    """The clients of this home, wherever they are connected."""

    @property
    def knows_all_rooms(self) -> bool:
        """Whether the rooms of each of them are known."""

    def all_rooms(self) -> Iterable[Room]:
        """Each room in which one of them is, in any namespace. A room may come twice."""

    def is_empty(self, room: Room) -> bool:
        """Whether none of them is in this room, in any namespace."""

    def take_touched(self) -> set[Room]:
        """The rooms that have got their first member or lost the last one since the last call, and maybe others."""


class InterestKeeper:
    """`run` is a loop for as long as the node lives."""

    def __init__(
        self,
        home: str,
        interest: Interest,
        members: Members,
        *,
        level: Callable[[], int],
        retry: Retry,
        look_s: float = LOOK_S,
    ) -> None:
        """`level`: what the oldest node of the cluster understands. 0: not known yet."""
        self._home = home
        self._interest = interest
        self._members = members
        self.progress = Progress()
        """Whoever carries out the inbox says there how far it is."""
        self._level = level
        self._retry = retry
        self._look_s = look_s
        self._token = ""
        self._touched: set[Room] = set()
        self._empty: set[Room] = set()
        """Rooms that were empty at the last look. They go if they still are: whoever claims a session back while its
        former connection ends for good is heard of by then."""
        self._quiet_looks = 0

    @property
    def is_kept(self) -> bool:
        """Whether the account was believed when Redis was asked last."""
        return bool(self._token)

    async def run(self) -> NoReturn:
        """For as long as the node lives."""
        await self._retry.forever(self.look, pause_s=self._look_s)

    async def look(self) -> None:
        """Bring the account up to date. Raises BusError: call it again."""
        self._touched |= self._members.take_touched()
        if not self._may_be_kept():
            await self._give_up()
        elif not self.is_kept:
            await self._begin()
        else:
            await self._follow()

    def _may_be_kept(self) -> bool:
        return self._level() >= INTEREST_LEVEL and self._members.knows_all_rooms

    async def _give_up(self) -> None:
        self._touched.clear()
        self._empty.clear()
        if self.is_kept:
            await self._interest.give_up(self._home)
            self._token = ""
            log.info("interest_given_up", level=self._level(), knows_all_rooms=self._members.knows_all_rooms)

    async def _begin(self) -> None:
        """From the first step on appends note their rooms. What was appended before is carried out, and noted here."""
        token = secrets.token_hex(8)
        last = order(await self._interest.begin(self._home, token))
        for _ in range(_MOST_WAITS):
            if order(self.progress.carried_out) >= last:
                break
            await asyncio.sleep(_CAUGHT_UP_S)
        else:
            return  # the inbox is long, or Redis has lost it meanwhile: begin again
        rooms = list(dict.fromkeys(self._members.all_rooms()))
        for first in range(0, len(rooms), MOST_ROOMS):
            if not await self._interest.keep(self._home, token, members=rooms[first : first + MOST_ROOMS]):
                return
        if self._may_be_kept() and await self._interest.believe(self._home, token):
            self._token = token
            log.info("interest_kept", rooms=len(rooms))

    async def _follow(self) -> None:
        """Note rooms that have members now, and take out those that had none at the last look, and have none."""
        touched, before = self._touched, self._empty
        self._touched, self._empty = set(), set()
        rooms = [*touched, *(before - touched)]
        self._quiet_looks += 1
        try:
            while rooms or self._quiet_looks >= _CHECK_LOOKS:
                self._quiet_looks = 0
                if not await self._keep(rooms[:MOST_ROOMS], before):
                    log.warning("interest_lost")
                    self._token = ""
                    return
                del rooms[:MOST_ROOMS]
        finally:
            self._touched.update(rooms)  # what could not be said is said later

    async def _keep(self, rooms: list[Room], before: set[Room]) -> bool:
        """Say what is so of these rooms. `before`: those that were empty at the last look.

        While an entry is under way, nobody knows by which id its rooms are noted. Returns whether the account is ours.
        """
        empty = {room for room in rooms if self._members.is_empty(room)}
        gone = set() if self.progress.under_way else empty & before
        self._empty |= empty - gone
        members = [room for room in rooms if room not in empty]
        up_to = self.progress.carried_out
        return await self._interest.keep(self._home, self._token, members=members, empty=list(gone), up_to=up_to)
