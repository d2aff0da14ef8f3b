"""What an atomic handler says: it leaves together, when the handler has ended."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from app_node.lanes.progress import EntryProgress
from sio_cluster.protocol.messages import Command, ServerItem
from sio_cluster.streams.api.appends import FLUSH_BYTES

Put: TypeAlias = Callable[[str, Command | ServerItem, int, EntryProgress], object]


class HeldOutput:
    """The commands of one running handler, each with the io-nodes that get it and its size in bytes."""

    __slots__ = ("_commands", "_size", "over")

    def __init__(self) -> None:
        self._commands: list[tuple[list[str], Command | ServerItem, int]] = []
        self._size = 0
        self.over = False  # the handler has ended: what its tasks still say is not held

    def add(self, nodes: Iterable[str], command: Command | ServerItem, size: int) -> None:
        """Raises ValueError where all of it would be too much for one step."""
        nodes = [*nodes]
        self._size += size * len(nodes)
        if self._size > FLUSH_BYTES:
            raise ValueError(f"an atomic handler may emit {FLUSH_BYTES} bytes, counted once for each io-node")
        self._commands.append((nodes, command, size))

    def release(self, put: Put, progress: EntryProgress) -> None:
        """The handler has ended. Calls `put` for each command and io-node. Raises LeaseLost where the lane is lost."""
        self.over = True
        progress.lane.require_held()
        for nodes, command, size in self._commands:
            for node in nodes:
                put(node, command, size, progress)


_held: ContextVar[HeldOutput | None] = ContextVar("held_output", default=None)


def hold_output() -> HeldOutput:
    """From now on what the running task says is held."""
    held = HeldOutput()
    _held.set(held)
    return held


@contextmanager
def nothing_held() -> Iterator[None]:
    """For a task that is made inside: what it says leaves at once."""
    token = _held.set(None)
    try:
        yield
    finally:
        _held.reset(token)


def held_output() -> HeldOutput | None:
    """Where to put what the running task says. None: it leaves at once."""
    held = _held.get()
    return None if held is None or held.over else held
