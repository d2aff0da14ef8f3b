"""The bus, declared once: everything that a process of the cluster does with Redis.

    import asyncio

    from sio_cluster.node.settings.config import Config
    from sio_cluster.streams.api.appends import Append
    from sio_cluster.streams.memory import MemoryBroker, MemoryBus

    async def main():
        bus = MemoryBus(Config(), MemoryBroker())          # in production: RedisBus(Config())
        await bus.start()
        hello = Append(bus.keys.uplink(3), "io1-aaaaaa", seq=1, entry=b"hello", max_bytes=1_000_000)
        print(await bus.appender.append([hello]))          # [<AppendResult.APPENDED: 0>]
        print(await bus.appender.append([hello]))          # [<AppendResult.DUPLICATE: 1>], a retry does no harm

        lease = await bus.leases.acquire(3, "app-bbbbbb", lease_ms=5_000)
        reader = bus.lane_reader("app-bbbbbb")
        left = await reader.claim(3)                       # nothing: nobody held this lane before
        for entry in [*left.entries, *await reader.read([3], block_ms=100, count=10)]:
            print(entry.entry)                             # b'hello'
            await reader.commit(lease, [entry.id])         # now it is forgotten
        await bus.stop()

    asyncio.run(main())

`streams.redis.RedisBus` and `streams.memory.MemoryBus` both provide it. One contract suite runs against both
(shared/tests/streams/test_contract.py, test_registry_contract.py).

What holds for every method, unless its docstring says otherwise:

- **Atomic**: what one call does to one stream, one lease or one client happens as a whole or not at all. A call that
  names several of them treats each by itself.
- **Lost answers**: a call that raises `BusUnavailable` may or may not have had its effect. Repeat it with the same
  arguments: the second try never doubles the effect of the first.
- **A Redis that is away**: `BusUnavailable` after 3 seconds at most. Nothing waits inside for Redis to come back; the
  caller tries again (`node.retry.Retry`).
- **A full Redis** (`maxmemory` reached): a call that needs memory raises `RedisFull` and has no effect. Calls that
  free memory work, and so do those that must come before: commit, trim, leases, heartbeats, changes of records, and
  appends that are `urgent`.
- **A Redis that lost its data**: streams and records are gone, and the cluster's life is another word
  (`Registry.life`). Readers go on with what is written from then on.
- **A lost lease**: `LeaseLost`, or a count of what had no effect. Nothing was changed.
"""

import enum
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

from sio_cluster.protocol.ids import is_quarantine, node_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import ClientConnected, Room

_T = TypeVar("_T")

# --- appending --------------------------------------------------------------------------------------------------------


class AppendResult(enum.Enum):
    """What became of one append."""

    APPENDED = 0
    """The entry is in the stream."""
    DUPLICATE = 1
    """The stream had it before, or a later one of the same node. This was the retry of a success: go on."""
    FULL = 2
    """The stream holds too many bytes. Nothing has happened: keep the entry with its `seq`, and try again later."""
    BARRED = 3
    """A lane of this node was taken over since the entry was made. Nothing has happened: ask `bars`, make the entry
    again without what belongs to lost lanes, and append it with that bar."""


@dataclass(frozen=True, slots=True)
class Append:
    """One entry for one stream.

    `node_id`: who appends. `seq` rises with each entry of this node to this stream; a retry keeps its `seq`.
    `max_bytes` bounds what the stream holds together with this entry. An empty stream takes an entry of any size.
    `bar`: how often this stream had barred the node when the entry was made, as far as the node knows.
    `urgent`: a Redis that is out of memory takes it too. For what must be written before anything can be removed.
    """

    stream: str
    node_id: str
    seq: int
    entry: bytes
    max_bytes: int
    bar: int = 0
    urgent: bool = False


class Appender(Protocol):
    """Appends entries to lanes and inboxes, each at most once however often it is tried."""

    async def append(self, appends: Sequence[Append]) -> list[AppendResult]:
        """One round trip. At most one entry for each stream, else ValueError.

        Each stream is atomic by itself. After BusUnavailable or BusRefused some may have been appended: try all of
        them again with the same `seq`.
        """

    async def held_bytes(self, streams: Sequence[str]) -> list[int]:
        """How many bytes of entries each of these streams holds. One round trip."""

    async def bars(self, streams: Sequence[str], node_id: str) -> list[int]:
        """How often each of these streams has barred this node. One round trip."""


# --- inboxes ----------------------------------------------------------------------------------------------------------


class InboxReader(Protocol):
    """Reads the inbox of one process, which nobody else reads: each entry once and in order, over lost answers too."""

    async def read(self, block_ms: int) -> list[bytes]:
        """The entries after the last one that was read. [] when none came within `block_ms` (0: does not wait)."""

    async def trim(self) -> None:
        """Removes what was read, and gives its bytes back to those who append."""

    async def forget_silent(self) -> None:
        """Forgets the sequence numbers of nodes that have appended nothing since the last call of this method.

        The first call forgets nobody. Call it at long intervals: an append that is tried again after its node was
        forgotten is appended again. What bars a node stays (`Leases.bar_former`).
        """

    async def close(self) -> None:
        """Closes the reader's own connection. Idempotent."""


# --- lanes ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lease:
    """That this app-node holds this lane. `token` is higher than that of all leases of the lane before.

    What is done on behalf of a lease has no effect once another node has taken the lane over.
    """

    lane: int
    node_id: str
    token: int


@dataclass(frozen=True, slots=True)
class LaneEntry:
    """One uplink batch, still encoded.

    `redelivered`: a former holder was given it, and may have handled it. `takeovers`: how often the lane was taken over
    from a holder that had been given it and did not finish it, at most 3. A holder that released the lane in good order
    does not count, nor does one that acquired its own lane again. In a quarantine, an entry begins with 2.
    """

    lane: int
    id: bytes
    entry: bytes
    redelivered: bool
    takeovers: int = 0


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """What the holder of a lane has yet to claim, by its lease with this token: the entries behind the id `after`."""

    lane: int
    token: int
    after: bytes


@dataclass(frozen=True, slots=True)
class Claimed:
    """One page of what former holders of a lane left, in order. `rest`: where the next page begins; None: no more."""

    entries: list[LaneEntry]
    rest: Unclaimed | None = None


class Leases(Protocol):
    """Who holds which lane. Timed by Redis' own clock alone.

    A holder must regard its lease as run out `lease_ms` after it *sent* the last renewal that worked.
    """

    async def acquire(self, lane: int, node_id: str, lease_ms: int) -> Lease | None:
        """The lease; None while another node holds the lane.

        It takes the lane's reading position over in the same step: from now on a former holder reads nothing more.
        `LaneReader.claim` then gives what former holders left. Who acquires its own lane again gets a new token.
        """

    async def renew(self, leases: Collection[Lease], lease_ms: int) -> set[int]:
        """Prolongs these leases in one round trip. Returns the lanes that are still ours."""

    async def bar_former(self, leases: Collection[Lease]) -> set[str]:
        """Bars the former holders of these lanes that have not released them in good order. Returns their node ids.

        Call it after `acquire` and before the lane's first handler. What a barred node has made until now is not
        appended to any io-node's inbox from then on (`AppendResult.BARRED`): a process that was paused may wake up
        with an append half sent. After a lost answer, repeat it: it bars again those whom it did not reach.
        """

    async def release(self, lease: Lease, *, settled: bool = True) -> None:
        """Gives the lane back, so that another node may acquire it at once. Without effect where it is not ours.

        `settled`: all that this lease has caused is in Redis. Else the next holder bars us, as after a crash.
        """


PAGE_ENTRIES = 256
"""How many entries one page of `LaneReader.claim` and `peek` brings, at most."""


class LaneReader(Protocol):
    """Reads the lanes that one app-node holds. What it read stays in the lane until it is committed.

    Each lane has a *quarantine*, which is a lane of its own with the number `ids.quarantine_of(lane)`: it is acquired,
    claimed, read and committed in the same way. Nobody appends to it; `quarantine` moves entries there.

    One `read` at a time. Entries whose answer was lost come with the next read, in order.
    """

    async def read(self, lanes: Collection[int], block_ms: int, count: int) -> list[LaneEntry]:
        """New entries of these lanes, at most `count` of each lane, in order within a lane.

        [] when none came within `block_ms`, or when `interrupt` ended the read. A lane that another node has taken
        over brings nothing; `commit` and `Leases.renew` say that it is lost.
        """

    async def claim(self, lane: int) -> Claimed:
        """The first page of what former holders were given and did not commit. Empty where the lane is not ours.

        Call it after `Leases.acquire`. Then claim the rest, page by page, before the first read of the lane. Those that
        were taken over most often come first. Entries of later pages are not given to us yet: if we die, they do not
        count as taken over from us.
        """

    async def claim_more(self, rest: Unclaimed) -> Claimed:
        """The next page. Empty where the lane is not ours, or is ours by another lease."""

    async def peek(self, lane: int, count: int = PAGE_ENTRIES, after: bytes = b"") -> list[LaneEntry]:
        """The first entries that the lane holds behind the id `after`, whoever holds it. They are given to nobody.

        At most `count` of them, and at most a page.
        """

    async def interrupt(self) -> None:
        """Ends a read that blocks at once, with []. Without effect while no read is under way."""

    async def commit(self, lease: Lease, ids: Sequence[bytes]) -> None:
        """Forgets these entries for good, and gives their bytes back. Raises LeaseLost, without effect."""

    async def quarantine(self, lease: Lease, moves: Sequence[tuple[bytes, Sequence[bytes]]]) -> None:
        """Moves entries to the end of the lane's quarantine, in this order. Raises LeaseLost.

        Each move is the id of an entry, and the entries that it becomes there. It happens as a whole or not at all, and
        a second time it does nothing. A full Redis takes it.
        """

    async def set_aside(self, lease: Lease, entry: LaneEntry, why: str) -> int:
        """Moves an entry that cannot be handled to the lane's dead letters, and commits it. Raises LeaseLost.

        A lane and its quarantine have their dead letters in common. Returns how many older dead letters went for good
        to make room: a lane keeps `DEAD_LETTERS_KEPT`.
        """

    async def close(self) -> None:
        """Closes the reader's own connection. Idempotent."""


DEAD_LETTERS_KEPT = 1_000
"""How many dead letters a lane keeps. One more, and the oldest goes."""


# --- records ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class ClientRecord:
    """All that Redis knows about one client. `session` is what `save_session` stored, still encoded.

    `restoring`: its connect handler was called with `is_reconnect` in a quarantine, and has not ended.
    """

    connected: ClientConnected
    session: bytes | None
    rooms: set[Room]
    accepted: bool
    transport: str
    restoring: bool = False


@dataclass(frozen=True, slots=True)
class Accepted:
    """The application let the client in."""

    sid: str


@dataclass(frozen=True, slots=True)
class Joined:
    """The client entered a room. It belongs to this namespace."""

    sid: str
    namespace: str
    room: Room


@dataclass(frozen=True, slots=True)
class Left:
    """The client left a room."""

    sid: str
    room: Room


@dataclass(frozen=True, slots=True)
class RoomClosed:
    """Every client of the namespace left the room, whichever its lane."""

    namespace: str
    room: Room


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The client's connection moved to another transport."""

    sid: str
    transport: str


@dataclass(frozen=True, slots=True)
class Restoring:
    """Its connect handler is called with `is_reconnect` in a quarantine, or has ended there (`begun` False)."""

    sid: str
    begun: bool


RecordChange: TypeAlias = Accepted | Joined | Left | RoomClosed | Upgraded | Restoring


class ChangeResult(enum.Enum):
    """What became of one change of a record."""

    DONE = 0
    """The record says so now."""
    GONE = 1
    """Nothing has changed: the client is gone, or belongs to another namespace."""
    FENCED = 2
    """Nothing has changed: the lease is lost. (`RoomClosed`: nothing has changed in the lane of that lease.)"""


class ClientRecords(Protocol):
    """What outlasts app-nodes: a client's connect, its session and its rooms. Changing a client that is gone does
    nothing. Who is in a room is known for each lane, so that closing it reaches the record of each member.

    A change may name the lease on whose behalf it is made: it has no effect once that lease is lost. A lease fences
    the clients of its own lane; a change to a client of another lane is not fenced, since that lease is elsewhere.
    """

    async def store(self, connected: Sequence[ClientConnected]) -> None:
        """Enters new clients. The io-node calls it before it appends their `ClientConnected`.

        Repeating it keeps what the record has gained meanwhile (session, accepted, rooms).
        """

    async def load(self, sid: str) -> ClientRecord | None:
        """The client's record, None when it is gone."""

    async def update(self, changes: Sequence[RecordChange], leases: Sequence[Lease | None] = ()) -> list[ChangeResult]:
        """Applies these changes in order, in one round trip. `leases`: none, or one (or None) for each change.

        Returns what became of each.
        """

    async def forget(self, sids: Sequence[str], leases: Sequence[Lease | None] = ()) -> int:
        """Removes clients that have disconnected. `leases`: none, or one (or None) for each sid.

        Returns how many were left alone because their lease is lost.
        """

    async def save_session(self, sid: str, session: bytes, lease: Lease | None = None) -> bool:
        """Stores the encoded session. False when the client is gone. Raises LeaseLost."""

    async def load_session(self, sid: str) -> bytes | None:
        """The encoded session. None when nothing was saved, or the client is gone."""

    async def clients_of(self, node_id: str) -> list[str]:
        """The sids of the clients that this io-node holds, in alphabetical order."""

    async def forget_node(self, node_id: str) -> None:
        """Removes the list of this io-node's clients. Their records stay."""


# --- nodes ------------------------------------------------------------------------------------------------------------


class Registry(Protocol):
    """The nodes of the cluster.

    A node is *registered* from `register_*` until `unregister_*`. It is *alive* while its last heartbeat counts.
    """

    async def join_cluster(self) -> str:
        """Checks that this node fits the cluster. The first node decides what the cluster is: its LANES, its version.

        Returns the cluster's *life*: a random word, which is another one after Redis lost its data. Raises
        ClusterMismatch.
        """

    async def life(self) -> str | None:
        """The cluster's life. None where Redis lost its data, and no node has called `join_cluster` since."""

    async def register_io_node(self, node_id: str, info: dict[str, str]) -> None:
        """Enters the node, or changes its info. It counts once it has sent a heartbeat."""

    async def register_app_node(self, node_id: str, info: dict[str, str]) -> None:
        """Enters the node, or changes its info. It counts once it has sent a heartbeat."""

    async def heartbeat(self, node_id: str, ttl_ms: int) -> None:
        """Says that the node lives for `ttl_ms` from now on."""

    async def retire_io_node(self, node_id: str) -> None:
        """Before its clients are disconnected: the node is no longer registered, and counts as lost until it is
        unregistered. If it comes back, its next heartbeat tells it so."""

    async def unregister_io_node(self, node_id: str) -> None:
        """Forgets the node, its heartbeat, its inbox and its sequence numbers.

        Only when nothing more is to come from it: a retry of its last append would not be recognised.
        """

    async def unregister_app_node(self, node_id: str) -> None:
        """Forgets the node, its heartbeat, its inbox and its sequence numbers."""

    async def is_alive(self, node_id: str) -> bool:
        """Whether the node's last heartbeat counts, registered or not. App-nodes that only emit are not."""

    async def io_nodes(self) -> dict[str, dict[str, str]]:
        """Registered and alive: node id -> info."""

    async def app_nodes(self) -> dict[str, dict[str, str]]:
        """Registered and alive: node id -> info."""

    async def registered_io_nodes(self) -> list[str]:
        """Registered, alive or not: every node that may still have clients."""

    async def lost_io_nodes(self) -> list[str]:
        """Registered or retired, but not alive."""

    async def lost_app_nodes(self) -> list[str]:
        """Registered, but not alive."""

    async def next_epoch(self) -> int:
        """A number below EPOCHS that no other app-node got in the last EPOCHS starts (see `AckRequest`)."""


EPOCHS = 1 << 11
"""(epoch << 20) + counter stays below 2**31: see `protocol.messages.AckRequest`."""


# --- all of it --------------------------------------------------------------------------------------------------------


class BusSettings(Protocol):
    """What a bus needs to know. `node.settings.config.Config` has it."""

    @property
    def redis_address(self) -> str: ...

    @property
    def redis_prefix(self) -> str: ...

    @property
    def lanes(self) -> int: ...


class Bus(Protocol):
    """One process' way to the cluster. All parts share its connections. Making one does no IO."""

    @property
    def keys(self) -> Keys: ...

    @property
    def appender(self) -> Appender: ...

    @property
    def leases(self) -> Leases: ...

    @property
    def registry(self) -> Registry: ...

    @property
    def records(self) -> ClientRecords: ...

    def inbox_reader(self, node_id: str, max_batch_bytes: int = 4_000_000) -> InboxReader:
        """A reader of this node's inbox, with a connection of its own. One read brings about `max_batch_bytes`."""

    def lane_reader(self, node_id: str, max_page_bytes: int = 1_000_000) -> LaneReader:
        """A reader of the lanes that this node holds, with a connection of its own.

        One page of a claim brings at most `max_page_bytes`, but at least one entry.
        """

    async def start(self) -> None:
        """Connects, and joins the cluster. Raises ClusterMismatch, or a BusError (`node.membership.joining`)."""

    async def stop(self) -> None:
        """Closes all connections. Idempotent; `start` opens the bus again."""


# --- for those who provide it -----------------------------------------------------------------------------------------


def require_distinct(appends: Sequence[Append]) -> None:
    """Raises ValueError where two appends of one call name the same stream.

    A stream that is full for the first could take a smaller second one, whose higher `seq` makes a duplicate of the
    first.
    """
    if len({append.stream for append in appends}) != len(appends):
        raise ValueError("one call takes at most one append for each stream")


@dataclass(frozen=True, slots=True)
class Counted:
    """Up to which place of a lane entries were taken over once and twice. Places are those of one bus, and rise."""

    once: tuple[int, int]
    twice: tuple[int, int]

    def taken_over(self, given: tuple[int, int]) -> "Counted":
        """After one more takeover, from a holder that was given the entries up to this place."""
        return Counted(max(self.once, given), max(self.twice, min(self.once, given)))

    def of(self, lane: int, place: tuple[int, int]) -> int:
        """How often the entry at this place was taken over: see `LaneEntry`."""
        if is_quarantine(lane):
            return 2 + (place <= self.once)
        return (place <= self.once) + (place <= self.twice)


def paired(changes: Sequence[_T], leases: Sequence[Lease | None]) -> Iterator[tuple[_T, Lease | None]]:
    """Each change with its lease. ValueError where `leases` are given, but not one for each change."""
    return zip(changes, leases or [None] * len(changes), strict=True)


def io_node_of(sid: str) -> str:
    """The io-node inside a sid. ValueError where it is no sid of this cluster's form."""
    node = node_of(sid)
    if node is None:
        raise ValueError(f"{sid!r} is not a sid of this cluster")
    return node
