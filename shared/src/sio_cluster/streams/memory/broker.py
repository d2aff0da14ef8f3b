"""What stands in for Redis: its data, its clock, and the ways in which it can fail."""

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.protocol.ids import lane_behind, lane_of
from sio_cluster.protocol.messages import Room
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.presences import Meta


@dataclass
class MemoryLog:
    """What is known of an inbox that its reader, the node `home`, has found. `horizon`: the last id that is gone.
    `parked`: how many bytes it may hold without a reader. `rooms`: of each client, at the horizon. `marks`: see
    `api.quiet`. `torn`: up to this id, nobody knows what was
    said of rooms."""

    home: str
    horizon: int = 0
    parked: int | None = None
    rooms: dict[str, set[Room]] = field(default_factory=dict)
    marks: dict[bytes, bytes] = field(default_factory=dict)
    torn: int = 0


@dataclass
class MemoryAccount:
    """Of an inbox, the rooms in which its home has members -> id of the last entry by which one entered: see
    `api.interest`."""

    token: str
    believed: bool = False
    rooms: dict[Room, int] = field(default_factory=dict)

    def concerns_nobody(self, rooms: Collection[Room]) -> bool:
        """Whether it is certain that there are no members in these rooms."""
        return self.believed and self.rooms.keys().isdisjoint(rooms)

    def note(self, rooms: Collection[Room], number: int) -> None:
        """Clients enter these rooms by the entry of this number."""
        self.rooms |= dict.fromkeys(rooms, number)


@dataclass
class MemoryStream:
    """One stream. Ids count from 1. Of a lane: `delivered` is the last id that its holder was given, and `done` has the
    numbers of the facts that are done, of entries that are not. Of an inbox: up to the id `given_back`, its entries are
    not counted in `held_bytes` any more."""

    entries: dict[int, bytes] = field(default_factory=dict)
    last_id: int = 0
    held_bytes: int = 0
    last_seq: dict[str, int] = field(default_factory=dict)
    bars: dict[str, int] = field(default_factory=dict)
    reader: str | None = None
    delivered: int = 0
    done: dict[int, set[int]] = field(default_factory=dict)
    given_back: int = 0
    log: MemoryLog | None = None
    account: MemoryAccount | None = None

    def add(self, entry: bytes) -> None:
        self.last_id += 1
        self.entries[self.last_id] = entry
        self.held_bytes += len(entry)

    def remove(self, ids: list[int]) -> None:
        for entry_id in ids:
            entry = self.entries.pop(entry_id, None)
            self.done.pop(entry_id, None)
            if entry is not None and entry_id > self.given_back:
                self.held_bytes -= len(entry)

    def give_back(self, up_to: int) -> None:
        self.held_bytes -= sum(len(entry) for id_, entry in self.entries.items() if self.given_back < id_ <= up_to)
        self.given_back = max(self.given_back, up_to)


@dataclass
class MemoryLease:
    """A lease, until `deadline`. `claim_until`: the last id that a former holder was given."""

    node_id: str
    token: int
    deadline: float
    claim_until: int


@dataclass
class MemoryTakeovers:
    """As `redis.scripts.lanes` counts them: who claimed the lane last, up to which ids entries were taken over.

    `given`: up to which id the last holder has claimed; None when it has claimed all.
    """

    last: str | None = None
    given: int | None = None
    once: int = 0
    twice: int = 0


@dataclass
class MemoryClient:
    """One client's record, as bytes and plain values. `away_until`: by the broker's clock; None: it is here.
    `metas`: what it shows in rooms; where it is away, until `shows_until`. `linger_ms`: see `Presences.show`."""

    connected: bytes
    namespace: str
    transport: str
    holder: str
    generation: int
    pid_hash: bytes
    session: bytes | None = None
    accepted: bool = False
    restoring: bool = False
    let_in: int | None = None
    away_until: float | None = None
    untold: str = ""
    connected_at: float = 0.0
    rooms: set[Room] = field(default_factory=set)
    metas: dict[Room, Meta] = field(default_factory=dict)
    linger_ms: int | None = None
    shows_until: float | None = None


class MemoryBroker:
    """All that the processes of one test share. `clock` gives seconds; leases and heartbeats run by it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.settings: tuple[int, int] | None = None
        self.life: str | None = None
        self.index_is_exact = False
        self._lives = itertools.count(1)
        self.streams: dict[str, MemoryStream] = defaultdict(MemoryStream)
        self.leases: dict[int, MemoryLease] = {}
        self.tokens: dict[int, int] = defaultdict(int)
        self.holders: dict[int, set[str]] = defaultdict(set)
        self.takeovers: dict[int, MemoryTakeovers] = defaultdict(MemoryTakeovers)
        self.dead: dict[int, list[tuple[bytes, str]]] = defaultdict(list)
        self.io_nodes: dict[str, dict[str, str]] = {}
        self.lost_io_nodes: set[str] = set()
        self.parked_io_nodes: set[str] = set()
        self.app_nodes: dict[str, dict[str, str]] = {}
        self.alive_until: dict[str, float] = {}
        self.epoch = 0
        self.passes: dict[str, float] = {}
        self.clients: dict[str, MemoryClient] = {}
        self.clients_of: dict[str, set[str]] = defaultdict(set)
        self.left: dict[tuple[str, Room], dict[str, float]] = defaultdict(dict)
        self.news: dict[int, dict[int, tuple[bool, Meta]]] = defaultdict(dict)
        self._news_numbers = itertools.count(1)
        self.waiters: set[asyncio.Event] = set()
        self._down = False
        self._replies_to_lose = 0

    def go_down(self) -> None:
        """From now on every operation raises BusUnavailable; so do the reads that are blocked."""
        self._down = True
        self.notify()

    def come_back(self) -> None:
        self._down = False

    def lose_data(self) -> None:
        """What says who is there and who they are; streams and leases stay."""
        self.settings = self.life = None
        self.index_is_exact = False
        self.io_nodes.clear()
        self.lost_io_nodes.clear()
        self.parked_io_nodes.clear()
        self.app_nodes.clear()
        self.alive_until.clear()
        self.passes.clear()
        self.clients.clear()
        self.clients_of.clear()
        self.left.clear()
        self.news.clear()

    def begin_life(self) -> str:
        if self.life is None:
            self.index_is_exact = True
            self.life = str(next(self._lives))
        return self.life

    def is_fenced(self, sid: str, lanes: int, lease: Lease | None) -> bool:
        """Whether a change of this client on behalf of this lease has no effect."""
        return lease is not None and lane_behind(lease.lane) == lane_of(sid, lanes) and self.is_lost(lease)

    def is_lost(self, lease: Lease) -> bool:
        """Whether this lease is not the current one of its lane."""
        current = self.leases.get(lease.lane)
        if current is None or current.deadline <= self.clock():
            return True
        return (current.node_id, current.token) != (lease.node_id, lease.token)

    def add_news(self, lane: int, meta: Meta, *, shown: bool) -> None:
        """As `api.presences.News`."""
        self.news[lane][next(self._news_numbers)] = (shown, meta)

    def hide(self, sid: str, lanes: int, room: Room) -> None:
        """A client shows nothing in this room any more."""
        meta = self.clients[sid].metas.pop(room, None)
        if meta is not None:
            self.add_news(lane_of(sid, lanes), meta, shown=False)

    def hide_all(self, sid: str, lanes: int) -> None:
        """A client shows nothing any more."""
        self.clients[sid].shows_until = None
        for room in list(self.clients[sid].metas):
            self.hide(sid, lanes, room)

    def lose_replies(self, count: int = 1) -> None:
        """The next `count` operations take effect, and raise BusUnavailable all the same."""
        self._replies_to_lose = count

    def notify(self) -> None:
        """Wakes every blocked read, to look again."""
        for waiter in self.waiters:
            waiter.set()

    def check(self) -> None:
        if self._down:
            raise BusUnavailable("the memory broker is down")

    @asynccontextmanager
    async def operation(self) -> AsyncIterator[None]:
        """One round trip: others get to run before it, and its reply may be lost."""
        await asyncio.sleep(0)
        self.check()
        yield
        if self._replies_to_lose:
            self._replies_to_lose -= 1
            raise BusUnavailable("the reply was lost")

    async def wait(self, waiter: asyncio.Event, timeout_s: float) -> None:
        """Until something changes, or until `timeout_s` has passed."""
        self.waiters.add(waiter)
        try:
            async with asyncio.timeout(timeout_s):
                await waiter.wait()
        except TimeoutError:
            pass  # the caller looks at its own deadline
        finally:
            self.waiters.discard(waiter)
