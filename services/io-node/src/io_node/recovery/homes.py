"""The homes that this node reads: its own, and those whose clients came back to it.

A home is read on as long as this node holds clients of it. Its log is in memory only while clients come back. However
many do so at once, it is loaded once.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import structlog

from io_node.bus.counters import BusCounters
from io_node.bus.downlink import Downlink
from io_node.bus.repeats import Repeats
from io_node.engineio.api import Connection
from io_node.recovery.home import Home, LoadedLog, Pinned
from io_node.recovery.home_log import HomeLog
from io_node.socketio.hub import Hub
from io_node.turns import in_turns
from sio_cluster.node.rest import rest
from sio_cluster.node.retry import Retry
from sio_cluster.node.turn import TURN_S
from sio_cluster.protocol import reasons
from sio_cluster.protocol.codec import decode_downlink
from sio_cluster.protocol.errors import BusError, HomeLost, MalformedBatch
from sio_cluster.protocol.messages import Command
from sio_cluster.streams.api.homes import Homes, HomeTail
from sio_cluster.streams.api.inboxes import InboxEntry

log = structlog.get_logger()

_UNUSED_S = 60.0
"""So long a log stays in memory after the last client has come back, and a home is read that has none left."""
_GROWTH = 0.25
"""A log that grew by so much of the bound since a client last came back goes, too."""
_LEAST_BYTES = 100_000
"""The bound is no less: a few clients and their rooms alone take some KB."""
_SHORTENED = 0.75
"""A log that takes more than the bound while it is loaded is cut to so much of it."""
_LOOK_S = 1.0
"""How often it is looked at what nobody needs any more."""
_BLOCK_MS = 2_000
"""How long one read of another home waits for entries."""
_SLICE = 1_000
"""So many commands of an entry are taken into the log between two looks at the clock."""


class LogsHeld(NamedTuple):
    """What logs take in memory, about, and how many entries of inboxes are in them."""

    log_bytes: int
    log_entries: int


class OpenHomes:
    """All homes that this node reads. `run` is a loop that closes those that nobody needs.

    Bound: a log takes at most `max_bytes` when it is loaded: its oldest events are left out, and whoever missed one of
    these begins anew. It is loaded again for whoever comes back `max_age_s` later. It goes when nobody has needed it
    for a minute, or while it grew by a quarter of the bound. While clients that came back wait for the application or
    catch up, it grows. When the logs of a home take more than twice the bound together, the oldest goes. Clients that
    need it are closed, as any other would be for which too much waits.
    """

    def __init__(
        self,
        own: Home,
        logs: Homes,
        *,
        new_hub: Callable[[str], Hub],
        counters: BusCounters,
        retry: Retry,
        max_bytes: int,
        max_age_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`new_hub` makes the hub of another home, given its name."""
        self._own = own
        self._logs = logs
        self._new_hub = new_hub
        self._counters = counters
        self._retry = retry
        self._max_bytes = max(max_bytes, _LEAST_BYTES)
        self._max_age_s = max_age_s
        self._clock = clock
        self._homes = {own.name: own}
        self._loading: dict[str, asyncio.Task[LoadedLog]] = {}

    @property
    def adopted(self) -> int:
        """How many homes of others are read here."""
        return len(self._homes) - 1

    @property
    def logs_in_memory(self) -> tuple[LogsHeld, LogsHeld]:
        """The logs of this node's own home, and of all that it has adopted."""
        return _held([self._own]), _held([home for home in self._homes.values() if home is not self._own])

    def hubs(self) -> Iterator[Hub]:
        """The hubs of all homes, this node's own first."""
        return (home.hub for home in list(self._homes.values()))

    def clients(self) -> int:
        """How many clients of all homes are here."""
        return sum(len(hub) for hub in self.hubs())

    async def pin(self, name: str, connection: Connection) -> Pinned:
        """The home of this name, with its log in memory. Raises HomeLost and BusError."""
        home = self._homes.get(name)
        loaded = home.logs[-1] if home is not None and home.logs else None
        now = self._clock()
        if home is None or loaded is None or now - loaded.loaded_at > self._max_age_s:
            loading = self._loading.get(name)
            if loading is None:
                loading = self._loading[name] = asyncio.create_task(self._load(name))
                loading.add_done_callback(lambda _: self._loading.pop(name, None))
            loaded = await asyncio.shield(loading)
            home = self._homes.get(name)
            if home is None or loaded not in home.logs:
                raise HomeLost(f"{name} was lost as soon as it was loaded")
        home.used_at = loaded.used_at = self._clock()
        loaded.used_size = loaded.log.size
        return Pinned(home, loaded, connection)

    async def drop_adopted(self) -> None:
        """Redis lost its data, and with it the logs of the others: their clients go."""
        for home in [home for home in self._homes.values() if home is not self._own]:
            await self._lose(home)

    async def run(self) -> None:
        """For as long as the node lives."""
        try:
            while True:
                await rest(_LOOK_S)
                await self.tidy()
        finally:
            tasks: list[asyncio.Task[Any]] = [home.tail for home in self._homes.values() if home.tail is not None]
            tasks += self._loading.values()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def tidy(self) -> None:
        """Close what nobody needs. Raises what a reader of a home raised that must not."""
        now = self._clock()
        for home in list(self._homes.values()):
            if self._homes.get(home.name) is not home:
                continue  # it was lost while another one was looked at
            if home.tail is not None and home.tail.done():
                home.tail.result()
            for loaded in list(home.logs):
                if not loaded.pins and (loaded is not home.logs[-1] or self._is_unused(loaded)):
                    home.logs.remove(loaded)
            if home.logs and home.size > 2 * self._max_bytes:
                await self._give_up(home, home.logs[0])
            unused = not home.logs and not len(home.hub) and now - home.used_at > _UNUSED_S
            if unused and home is not self._own and home.name not in self._loading:
                await self._close(home)

    def _is_unused(self, loaded: LoadedLog) -> bool:
        grown = loaded.log.size - loaded.used_size
        return grown > self._max_bytes * _GROWTH or self._clock() - loaded.used_at > _UNUSED_S

    # --- loading

    async def _load(self, name: str) -> LoadedLog:
        """The log of a home up to the place to which it was carried out here, which then goes on by `Home.took`."""
        horizon = await self._logs.horizon(name)
        if horizon is None:
            raise HomeLost(f"there is no home {name}")
        home = self._homes.get(name)
        loaded = LoadedLog(HomeLog(), self._clock(), self._clock())
        after, repeats = horizon, Repeats()
        while True:
            place = home.place if home is not None else b""
            page = await self._logs.page(name, after)
            after, is_reached = await self._take_page(loaded.log, home, after, page, repeats)
            if home is not None and (is_reached or (not page and home.place == place)):
                break
            if home is None and not page:
                home = self._homes[name] = Home(name, self._new_hub(name), after, used_at=self._clock())
                home.tail = asyncio.create_task(self._follow(home, repeats), name=f"home {name}")
                break
        if home.lost:
            raise HomeLost(f"{name} was lost while it was loaded")
        loaded.used_size = loaded.log.size  # else it would seem to have grown unused before anybody could pin it
        home.logs.append(loaded)
        self._counters.home_logs_loaded += 1
        log.info("home_log_loaded", home=name, size=loaded.log.size, cut=loaded.log.is_cut)
        return loaded

    async def _take_page(
        self, into: HomeLog, home: Home | None, after: bytes, page: list[InboxEntry], repeats: Repeats
    ) -> tuple[bytes, bool]:
        """Take entries into the log, but none that was not carried out here. Returns the last one's id, and whether
        the place was reached."""
        ends_at = time.perf_counter() + TURN_S
        for entry in page:
            if home is not None and _order(entry.id) > _order(home.place):
                return after, True
            skipped = home.repeated if home is not None else ()
            for first, commands in () if entry.id in skipped else _slices(entry, repeats):
                into.add(entry.id, commands, first)
                if into.size > self._max_bytes:
                    for _ in into.shorten(round(self._max_bytes * _SHORTENED)):
                        await asyncio.sleep(0)
                if time.perf_counter() > ends_at:
                    await asyncio.sleep(0)
                    ends_at = time.perf_counter() + TURN_S
            after = entry.id
        return after, home is not None and _order(after) >= _order(home.place)

    # --- reading on

    async def _follow(self, home: Home, repeats: Repeats) -> None:
        """Carries out what comes to another home, for its clients that are here. `repeats`: as of its place."""
        downlink = Downlink(
            home.hub.execute,
            on_batch=home.took,
            on_repeated=home.passed_over,
            repeats=repeats,
            counters=self._counters,
        )
        tail = self._logs.tail(home.name, home.place)
        try:
            await self._read(tail, downlink)
        except HomeLost as error:
            say = log.warning if len(home.hub) else log.info  # else nobody has lost anything by it
            say("home_lost", home=home.name, error=str(error), clients=len(home.hub))
            await self._lose(home)
        finally:
            await tail.close()

    async def _read(self, tail: HomeTail, downlink: Downlink) -> None:
        while True:
            try:
                entries = await tail.read(_BLOCK_MS)
            except BusError as error:
                await asyncio.sleep(self._retry.failed(error))
            else:
                self._retry.succeeded()
                await downlink.take(entries)

    async def _lose(self, home: Home) -> None:
        """Its clients here cannot be told any more what is said to them: they come back as new ones."""
        home.lost = True
        if self._homes.get(home.name) is home:
            del self._homes[home.name]
        if home.tail is not None and home.tail is not asyncio.current_task():
            home.tail.cancel()
        async for connection in in_turns([client.session.connection for client in home.hub.clients()]):
            connection.fail(reasons.TRANSPORT_ERROR)

    async def _close(self, home: Home) -> None:
        del self._homes[home.name]
        log.info("home_closed", home=home.name)
        if home.tail is not None:
            home.tail.cancel()
            await asyncio.gather(home.tail, return_exceptions=True)

    async def _give_up(self, home: Home, loaded: LoadedLog) -> None:
        """It goes in the next look, when nobody has it any more. One that nobody has now goes at once."""
        if not loaded.pins:
            home.logs.remove(loaded)
            return
        log.warning("home_log_full", home=home.name)
        async for connection in in_turns([pinned.connection for pinned in loaded.pins]):
            connection.overflow("home_log_full")


def _held(homes: Sequence[Home]) -> LogsHeld:
    entries = sum(loaded.log.entries for home in homes for loaded in home.logs)
    return LogsHeld(sum(home.size for home in homes), entries)


def _slices(entry: InboxEntry, repeats: Repeats) -> Iterator[tuple[int, Sequence[Command]]]:
    """The commands of an entry, some at a time, each with the number of the first one. Nothing where it came before."""
    try:
        batch = decode_downlink(entry.entry)
    except MalformedBatch as error:
        log.error("malformed_batch", error=str(error), size=len(entry.entry))  # whoever carried it out passed it over
        return
    if repeats.is_repeated(batch.node, batch.seq):
        return
    for first in range(0, len(batch.commands), _SLICE):
        yield first, batch.commands[first : first + _SLICE]


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)
