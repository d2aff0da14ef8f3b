"""The fakes of `streams.memory` as a process sees them: behind a connection."""

from collections.abc import Collection, Coroutine
from typing import Any

from sio_cluster.streams.api.inboxes import InboxEntry
from sio_cluster.streams.api.lanes import Claimed, LaneEntry
from sio_cluster.streams.memory.entries import MemoryInboxReader
from sio_cluster.streams.memory.lanes import MemoryLaneReader, number_of
from sio_cluster.testing.simulation.network import SimulatedConnection

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
    """Every method of `fake` as one round trip over `connection`."""

    def __init__(self, connection: SimulatedConnection, fake: Any) -> None:
        self._connection = connection
        self._fake = fake

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._fake, name)

        async def over_the_connection(*arguments: Any, **keywords: Any) -> Any:
            given = (*arguments, *keywords.values())
            return await self._connection.call(name, given, lambda: carry_out(method(*arguments, **keywords)))

        return over_the_connection

    async def close(self) -> None:
        return None


class RemoteInboxReader:
    """`InboxReader`: what a lost reply held comes with the next read."""

    def __init__(self, commands: SimulatedConnection, reads: SimulatedConnection, fake: MemoryInboxReader) -> None:
        self._reads = reads
        self._fake = fake
        over_commands = Remote(commands, fake)
        self.trim, self.forget_silent = over_commands.trim, over_commands.forget_silent
        self.forget_log = over_commands.forget_log
        self._unseen: list[InboxEntry] = []

    async def read(self, block_ms: int) -> list[InboxEntry]:
        def effect() -> list[InboxEntry] | None:
            self._unseen += carry_out(self._fake.read(0))
            return list(self._unseen) or None

        entries: list[InboxEntry] = await self._reads.call("inbox.read", (), effect, block_ms / 1000)
        del self._unseen[: len(entries)]
        return entries

    async def close(self) -> None:
        return None


class RemoteLaneReader:
    """`LaneReader`: entries given out with a reply that was lost come with the next read, unless another took over."""

    def __init__(self, commands: SimulatedConnection, reads: SimulatedConnection, fake: MemoryLaneReader) -> None:
        self._commands = commands
        self._reads = reads
        self._fake = fake
        remote = Remote(commands, fake)
        self.set_aside = remote.set_aside
        self.quarantine = remote.quarantine
        self.peek = remote.peek
        self.claim_more = remote.claim_more
        self._given: dict[int, int] = {}  # the last id that this process saw
        self._claimed: set[int] = set()  # lanes claimed while a read was under way
        self._reading = False
        self._interrupted = False

    async def read(self, lanes: Collection[int], block_ms: int, count: int) -> list[LaneEntry]:
        def effect() -> list[LaneEntry] | None:
            return carry_out(self._fake.read(lanes, 0, count)) or ([] if self._interrupted else None)

        self._reading, self._interrupted = True, False
        self._claimed.clear()
        entries: list[LaneEntry] = []
        answered = False
        try:
            entries = await self._reads.call("lanes.read", (), effect, block_ms / 1000)
            answered = True
        finally:
            self._reading = False
            for lane in self._claimed if answered else lanes:
                self._fake.doubt[lane] = self._given.get(lane, 0)
        seen = [entry for entry in entries if entry.lane not in self._claimed]
        self._given.update({entry.lane: number_of(entry.id) for entry in seen})
        return seen

    async def claim(self, lane: int) -> Claimed:
        def effect() -> tuple[Claimed, int | None]:
            return carry_out(self._fake.claim(lane)), self._fake.doubt.get(lane)

        claimed: Claimed
        claimed, position = await self._commands.call("claim", (lane,), effect)
        if position is not None:
            self._given[lane] = self._fake.doubt[lane] = position
            self._claimed.add(lane)
        return claimed

    async def interrupt(self) -> None:
        def effect() -> None:
            self._interrupted = self._reading

        await self._commands.call("interrupt", (), effect)

    async def close(self) -> None:
        return None
