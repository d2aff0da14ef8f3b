"""An outbox whose appender is played by the test."""

import asyncio
from collections.abc import Sequence
from typing import Any

from app_node.counters import Counters
from app_node.downlink.outbox import Outbox
from app_node.lanes.commits import Commits
from app_node.lanes.lane import Lane
from app_node.lanes.progress import EntryProgress
from sio_cluster.protocol.codec import decode_downlink
from sio_cluster.protocol.errors import BusRefused, BusUnavailable
from sio_cluster.protocol.messages import Accept
from sio_cluster.streams.api.appends import Append, AppendResult, Commit, Flushed, are_written
from sio_cluster.streams.api.leases import Lease


async def settle(turns: int = 20) -> None:
    """Turns of the event loop, in which all comes to pass that needs no time. However busy the machine is."""
    for _ in range(turns):
        await asyncio.sleep(0)


class Appender:
    """Answers as the test says; keeps what has arrived, each sequence number once, like Redis."""

    def __init__(self) -> None:
        self.arrived: dict[str, list[str]] = {}
        self.last_seq: dict[str, int] = {}
        self.tries: list[list[tuple[str, int]]] = []
        self.full: set[str] = set()
        self.barred: dict[str, int] = {}
        self.troubles: list[Exception] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.lose_reply = False
        self.out_of_memory = False
        self.lost_leases: list[Lease] = []
        self.committed: list[tuple[list[bytes], int]] = []

    async def append(self, appends: Sequence[Append]) -> list[AppendResult]:
        raise NotImplementedError

    async def flush(self, appends: Sequence[Append], commits: Sequence[Commit]) -> Flushed:
        await self.gate.wait()
        self.tries.append([(append.stream, append.seq) for append in appends])
        if self.troubles:
            raise self.troubles.pop(0)
        if self.out_of_memory and any(not append.urgent for append in appends):
            raise BusRefused("OOM")
        if lost := [commit.lease for commit in commits if commit.lease in self.lost_leases]:
            return Flushed(lost, [], committed=False)
        results = [self._append(append) for append in appends]
        committed = are_written(results)
        if committed:
            self.committed += [(list(commit.ids), commit.size) for commit in commits]
        if self.lose_reply:
            self.lose_reply = False
            raise BusUnavailable("lost")
        return Flushed([], results, committed)

    async def held_bytes(self, streams: Sequence[str]) -> list[int]:
        raise NotImplementedError

    async def bars(self, streams: Sequence[str], node_id: str) -> list[int]:
        if self.troubles:
            raise self.troubles.pop(0)
        return [self.barred.get(stream, 0) for stream in streams]

    def _append(self, append: Append) -> AppendResult:
        if append.stream in self.full:
            return AppendResult.FULL
        if append.seq <= self.last_seq.get(append.stream, 0):
            return AppendResult.DUPLICATE
        if append.bar != self.barred.get(append.stream, 0):
            return AppendResult.BARRED
        self.last_seq[append.stream] = append.seq
        commands: Any = decode_downlink(append.entry).commands
        self.arrived.setdefault(append.stream, []).extend(command.sid for command in commands)
        return AppendResult.APPENDED


class Bench:
    def __init__(self) -> None:
        self.appender = Appender()
        self.known = {"a", "b"}
        self.now = 0.0
        self.counters = Counters()
        self.lost: list[Lane] = []
        self.commits = Commits(self.counters, on_lost=self.lose)
        self.outbox = Outbox(
            self.appender,
            node_id="app",
            inbox_key=lambda node: node,
            inbox_max_bytes=1000,
            max_bytes=1000,
            commits=self.commits,
            is_known=lambda node: node in self.known,
            clock=lambda: asyncio.get_running_loop().time() + self.now,
            counters=self.counters,
        )

    def lose(self, lane: Lane) -> None:
        lane.lost = True
        self.lost.append(lane)

    def entry(self, of: Lane, number: int) -> EntryProgress:
        """A lane entry of 10 bytes in work, which has not ended yet."""
        entry_id = b"%d-0" % number
        of.opened(entry_id, 10)
        return EntryProgress(of, entry_id, False, self.commits.put, commits=True, size=10)

    def put(self, node: str, name: str, progress: EntryProgress | None = None, size: int = 0) -> Any:
        return self.outbox.put(node, Accept(name), size, progress)


def lane(deadline: float = float("inf"), clock: Any = lambda: 0.0) -> Lane:
    return Lane(Lease(3, "app", 1), deadline, clock)
