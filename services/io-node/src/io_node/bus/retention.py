"""Keeps the log of this node's inbox as long as clients may come back, and no longer or larger than the settings say.

What was read and carried out stays in Redis for RECOVERY_WINDOW_MS and the time in which a dead node is found, or until
RECOVERY_MAX_BYTES are kept. When entries go, what they said of rooms is told with them (`InboxReader.forget_log`), and
what must be known of clients that hear nothing for longer (`streams.api.quiet`).
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import structlog

from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import RedisFull
from sio_cluster.protocol.messages import Command, Room
from sio_cluster.streams.api.homes import Homes
from sio_cluster.streams.api.inboxes import InboxEntry, InboxReader, RoomOp
from sio_cluster.streams.api.quiet import Gone

log = structlog.get_logger()

SPARE_MS = 10_000
"""How much longer than necessary entries stay, since nobody's clock is quite right."""

_LOOK_S = 0.5
"""How often it is looked whether something is due."""
_STRETCH_S = 0.25
"""Entries that were carried out within this time are forgotten together."""
_LONG_STRETCH_S = 5.0
"""As long as they are few, those of this time are."""
_FEW_BYTES = 64_000
"""Or a hundredth of RECOVERY_MAX_BYTES."""
_OP_BYTES = 200
"""What a change of a room takes in memory, about. Closing a room is one command, and a change for each member."""
_SLICE = 250
"""So many commands are looked at at a time."""
_MOST_OPS = 5_000
"""No stretch says more of rooms, by much."""


@dataclass(slots=True)
class _Stretch:
    """Entries that follow each other. `began_at`: when the first was carried out, in seconds. `ops`: what they say of
    rooms, without the own rooms of clients that were accepted: `gone` has these.
    """

    began_at: float
    gone: Gone
    last: bytes = b""
    size: int = 0
    ops: list[RoomOp] = field(default_factory=list)


class Retention:
    """Notes what the downlink carries out, and forgets what is too old or too much. `run` is a loop."""

    def __init__(
        self,
        home: str,
        reader: InboxReader,
        homes: Homes,
        *,
        keep_ms: int,
        max_bytes: int,
        is_known: Callable[[str], bool],
        own_text: Callable[[str], str] = str,
        retry: Retry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`is_known`: whether a client of this home is here, or may come back. `own_text`: as for `Gone`."""
        self._home = home
        self._reader = reader
        self._homes = homes
        self._keep_s = keep_ms / 1000
        self._max_bytes = max_bytes
        self._is_known = is_known
        self._own_text = own_text
        self._retry = retry
        self._clock = clock
        self._stretches: deque[_Stretch] = deque()
        self._size = 0
        self._noted = 0
        self._horizon_at = clock()
        self._forgetting = asyncio.Lock()

    @property
    def window_s(self) -> float:
        """How old the oldest entry is that is kept: so long a client may have been away."""
        return self._clock() - self._horizon_at

    @property
    def kept_bytes(self) -> int:
        """What was carried out and is kept."""
        return self._size

    def took(self, entry: InboxEntry, commands: Sequence[Command]) -> Iterator[None]:
        """This entry is carried out when the iterator has ended. Other work may go on between its steps."""
        now = self._clock()
        stretch = self._stretches[-1] if self._stretches else None
        if stretch is None or self._is_full(stretch, now):
            stretch = _Stretch(now, Gone(self._own_text))
            self._stretches.append(stretch)
        size = len(entry.entry)
        stretch.last = entry.id
        stretch.size += size
        self._size += size
        for first in range(0, len(commands), _SLICE):
            stretch.gone.add(entry.id, commands[first : first + _SLICE], first)
            yield

    def note(self, sid: str, room: Room, inside: bool) -> None:
        """The entry says that this client is in a room now, or is not any more."""
        if not self._stretches:
            return
        stretch = self._stretches[-1]
        if room == sid and inside and sid in stretch.gone.accepted:
            return
        stretch.ops.append(RoomOp(sid, room, inside))
        self._noted += _OP_BYTES
        if not inside:
            stretch.gone.left(sid, room)

    async def run(self) -> NoReturn:
        """For as long as the node lives."""
        await self._retry.forever(self.forget_due, pause_s=_LOOK_S)

    async def forget_due(self) -> None:
        """Forget what is due now. Raises BusError: nothing is lost, call it again.

        One call waits for the other: both would take the same stretch, and drop the next one untold.
        """
        async with self._forgetting:
            while len(self._stretches) > 1 and self._is_due(self._stretches[0]):
                await self._forget(self._stretches[0])
                await asyncio.sleep(0)

    async def _forget(self, stretch: _Stretch) -> None:
        await self._mark(stretch)
        own_rooms = [RoomOp(sid, sid, True) for sid in stretch.gone.accepted]
        await self._reader.forget_log(stretch.last, own_rooms + stretch.ops)
        self._stretches.popleft()
        self._size -= stretch.size
        self._noted -= len(stretch.ops) * _OP_BYTES
        self._horizon_at = stretch.began_at

    async def _mark(self, stretch: _Stretch) -> None:
        """A Redis that is out of memory gets no marks: entries must go all the same."""
        stretch.gone.keep_only(self._is_known)
        try:
            await self._homes.mark_gone(self._home, stretch.gone, stretch.last)
        except RedisFull as error:
            log.warning("marks_given_up", error=str(error))

    def _is_due(self, stretch: _Stretch) -> bool:
        return (
            max(self._size, self._noted) > self._max_bytes
            or self._clock() - stretch.began_at > self._keep_s + _LONG_STRETCH_S
        )

    def _is_full(self, stretch: _Stretch, now: float) -> bool:
        age_s = now - stretch.began_at
        is_large = stretch.size > min(_FEW_BYTES, self._max_bytes // 100) and age_s > _STRETCH_S
        return is_large or age_s > _LONG_STRETCH_S or len(stretch.ops) + len(stretch.gone.accepted) > _MOST_OPS
