"""Counts what waits in a node for its clients, so that all buffers together have a bound.

A message that waits for many connections is one object in memory, so its bytes count once, however many wait for it.
Each place in a queue counts besides. What leaves at the end of the turn in which it came is not counted: sessions call
`hold` only for what stays.
"""

from collections.abc import Callable
from typing import Final

_OBJECT_BYTES: Final = 300
"""What a message takes besides its bytes, roughly: the objects around them, and its entry in here."""
_PLACE_BYTES: Final = 16
"""What a place in a session's queue takes, with the room that a list keeps free."""
_RELIEVED: Final = 0.9
"""Once the bound was exceeded, buffers go until this share of it is left. So one new message does not exceed it again.
"""


class Buffers:
    """What waits for all connections of a node, in bytes, and how many it may be.

    One object that is larger than the bound by itself does not count while it is the only such: it is let through.
    """

    __slots__ = ("_giant_bytes", "_giants", "_holders", "_limit_bytes", "_on_full", "_told", "waiting_bytes")

    def __init__(self, limit_bytes: int, on_full: Callable[[], None]) -> None:
        """`on_full` is called once when more than `limit_bytes` wait, and not again before `relieved` was."""
        self.waiting_bytes = 0
        self._limit_bytes = limit_bytes
        self._on_full = on_full
        self._told = False
        self._holders: dict[int, int] = {}
        """How many hold each object, by its `id`. It exists as long as it is held, so its id is its own."""
        self._giants = 0
        self._giant_bytes = 0

    @property
    def full(self) -> bool:
        """Whether more waits than may."""
        return self._judged_bytes > self._limit_bytes

    @property
    def has_room(self) -> bool:
        """Whether enough has gone after the bound was exceeded."""
        return self._judged_bytes <= self._limit_bytes * _RELIEVED

    def hold(self, item: object, size: int) -> None:
        """This object of `size` bytes waits, in one more place than before."""
        key = id(item)
        holders = self._holders.get(key, 0)
        self._holders[key] = holders + 1
        if holders:
            self.waiting_bytes += _PLACE_BYTES
        else:
            self.waiting_bytes += size + _OBJECT_BYTES + _PLACE_BYTES
            if size > self._limit_bytes:
                self._giants += 1
                self._giant_bytes += size
        if self.waiting_bytes > self._limit_bytes and not self._told and self.full:
            self._told = True
            self._on_full()

    def release(self, item: object, size: int) -> None:
        """It waits in one place less. `size` is what `hold` was told."""
        key = id(item)
        holders = self._holders.pop(key)
        self.waiting_bytes -= _PLACE_BYTES
        if holders > 1:
            self._holders[key] = holders - 1
            return
        self.waiting_bytes -= size + _OBJECT_BYTES
        if size > self._limit_bytes:
            self._giants -= 1
            self._giant_bytes -= size

    def relieved(self) -> None:
        """Enough has gone, or all that could. `on_full` may be called again."""
        self._told = False

    @property
    def _judged_bytes(self) -> int:
        return self.waiting_bytes - (self._giant_bytes if self._giants == 1 else 0)
