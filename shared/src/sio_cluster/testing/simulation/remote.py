"""The fakes of `testing.memory` as a process sees them: behind a connection."""

from collections.abc import Callable, Collection, Coroutine
from typing import Any

from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.streams.lanes import LaneEntry
from sio_cluster.testing.memory import MemoryInboxReader, MemoryLaneReader
from sio_cluster.testing.simulation.network import Link

_STEPS = 100


def carry_out(operation: Coroutine[Any, Any, Any]) -> Any:
    """Runs an operation of a fake to its end at once, which only yields its turn."""
    for _ in range(_STEPS):
        try:
            operation.send(None)
        except StopIteration as ended:
            return ended.value
    raise RuntimeError("an operation of a fake that waits for something")


class Remote:
    """Every method of `fake` as one round trip over `link`."""

    def __init__(self, link: Link, fake: Any) -> None:
        self._link = link
        self._fake = fake

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._fake, name)

        async def over_the_link(*arguments: Any, **keywords: Any) -> Any:
            return await self._link.call(name, arguments, lambda: carry_out(method(*arguments, **keywords)))

        return over_the_link

    async def close(self) -> None:
        return None


class RemoteInboxReader:
    """`InboxReader`: what a lost reply held comes with the next read."""

    def __init__(self, commands: Link, reads: Link, fake: MemoryInboxReader) -> None:
        self._reads = reads
        self._fake = fake
        self.trim = Remote(commands, fake).trim
        self._unseen: list[bytes] = []

    async def read(self, block_ms: int) -> list[bytes]:
        def effect() -> list[bytes] | None:
            self._unseen += carry_out(self._fake.read(0))
            return list(self._unseen) or None

        entries: list[bytes] = await self._reads.call("inbox.read", (), effect, block_ms / 1000)
        del self._unseen[: len(entries)]
        return entries

    async def close(self) -> None:
        return None


class RemoteLaneReader:
    """`LaneReader`: entries given out with a reply that was lost come with the next read, unless another took over."""

    def __init__(self, commands: Link, reads: Link, fake: MemoryLaneReader, is_ours: Callable[[int], bool]) -> None:
        """`is_ours` tells what Redis knows: whether this process is still the lane's reader."""
        self._commands = commands
        self._reads = reads
        self._fake = fake
        self._is_ours = is_ours
        remote = Remote(commands, fake)
        self.commit = remote.commit
        self.set_aside = remote.set_aside
        self._unseen: list[LaneEntry] = []
        self._reading = False
        self._interrupted = False

    async def read(self, lanes: Collection[int], block_ms: int, count: int) -> list[LaneEntry]:
        taken: list[LaneEntry] = []

        def effect() -> list[LaneEntry] | None:
            taken.extend(carry_out(self._fake.read(lanes, 0, count)))
            again = [entry for entry in self._unseen if entry.lane in lanes and self._is_ours(entry.lane)]
            return again + taken or ([] if self._interrupted else None)

        self._reading, self._interrupted = True, False
        try:
            entries: list[LaneEntry] = await self._reads.call("lanes.read", (), effect, block_ms / 1000)
        except BusUnavailable:
            self._unseen += taken
            raise
        finally:
            self._reading = False
        self._unseen = [entry for entry in self._unseen if entry.lane not in lanes]
        return entries

    async def claim(self, lane: int) -> list[LaneEntry]:
        entries: list[LaneEntry] = await self._commands.call(
            "claim", (lane,), lambda: carry_out(self._fake.claim(lane))
        )
        self._unseen = [entry for entry in self._unseen if entry.lane != lane]
        return entries

    async def interrupt(self) -> None:
        def effect() -> None:
            self._interrupted = self._reading

        await self._commands.call("interrupt", (), effect)

    async def close(self) -> None:
        return None
