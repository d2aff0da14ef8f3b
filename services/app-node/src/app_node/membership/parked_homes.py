"""Homes that outlive their io-nodes, until no client can come back to them.

An io-node that died or left may have clients that are away, or that another io-node has now. What is said to them still
goes into its inbox, from which they get it. So such a home is parked, and the app-node that holds lane 0 does what its
io-node did: it tells of clients that are gone, keeps the log small, and forgets who has not come back in time, and who
has appended nothing for long. It ends the home when it has no clients any more.

For the clients of all homes: if the application has not heard that a client is gone (RECOVERY_NOTICE=late), and the
client has not come back in time, it hears of it now.

Each of these may be repeated, so another app-node goes on with it at any point.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from app_node.clock import Clock
from app_node.counters import Counters
from app_node.membership.farewells import Farewells
from app_node.membership.parked_log import ParkedLog, RedisTime
from sio_cluster.node.membership.inbox import FORGET_S
from sio_cluster.protocol.messages import RECOVERY_LEVEL
from sio_cluster.streams.api.homes import Homes
from sio_cluster.streams.api.records import OVERDUE_COUNT, ClientRecords
from sio_cluster.streams.api.registry import Registry

log = structlog.get_logger()

SLACK_MS = 10_000
"""How much longer than it takes a client to come back its messages are kept."""

SWEEP_S = 5.0
"""How often those are forgotten whose time is over."""

TELL_AGAIN_S = 60.0
"""After that time, clients are told of again whose disconnect was not handled: what was written may be lost."""


@dataclass(slots=True)
class _Parked:
    """What this app-node knows of one parked home. `told_at`: when all that it had was told of. `last_seq`: the
    sequence numbers of those who appended to it, as they were at `forgot_at`."""

    log: ParkedLog
    told_at: float = float("-inf")
    forgot_at: float = float("-inf")
    last_seq: Mapping[str, int] = field(default_factory=dict)


class ParkedHomes:
    """Looks after all parked homes while `is_in_charge()`, and sweeps those of living io-nodes too.

    `number` and `absent` are for `/metrics`: how many homes are parked, and how many clients of all homes are away or
    held by another io-node than their home.
    """

    def __init__(
        self,
        *,
        window_ms: int,
        node_timeout_ms: int,
        log_max_bytes: int,
        inbox_max_bytes: int,
        clock: Clock,
        registry: Registry,
        homes: Homes,
        records: ClientRecords,
        farewells: Farewells,
        is_in_charge: Callable[[], bool],
        counters: Counters,
    ) -> None:
        """`window_ms`: for how long clients may come back, 0: never. `log_max_bytes`: how much of its past a home
        keeps. `inbox_max_bytes`: how much it may hold besides that nobody has read."""
        self._window_ms = window_ms
        self._keep_ms = window_ms + node_timeout_ms + SLACK_MS
        self._log_max_bytes = log_max_bytes
        self._most_bytes = log_max_bytes + inbox_max_bytes
        self._clock = clock
        self._time = RedisTime(clock)
        self._registry = registry
        self._homes = homes
        self._records = records
        self._farewells = farewells
        self._is_in_charge = is_in_charge
        self._counters = counters
        self._parked: dict[str, _Parked] = {}
        self._absent: dict[str, int] = {}
        self._swept_at = float("-inf")
        self._told_late: dict[tuple[str, int], float] = {}  # when each client that is overdue was told of

    @property
    def number(self) -> int:
        return len(self._parked)

    @property
    def absent(self) -> int:
        return sum(self._absent.values())

    async def park(self, node: str) -> bool:
        """Parks the home of an io-node that died. False where it must be unregistered: nobody can come back, or not
        all nodes know of parked homes. Raises BusError."""
        if not self._window_ms or await self._registry.level() < RECOVERY_LEVEL:
            return False
        await self._homes.park(node, self._most_bytes)
        return True

    async def look(self) -> None:
        """One turn. Raises BusError."""
        parked = await self._registry.parked_io_nodes()
        self._parked = {home: self._parked.get(home) or _Parked(self._log_of(home)) for home in parked}
        for home, known in list(self._parked.items()):
            if not self._is_in_charge():
                return
            await self._tend(home, known)
        if self._clock() - self._swept_at >= SWEEP_S:
            self._swept_at = self._clock()
            await self._sweep()

    def rest(self) -> None:
        """Another app-node is in charge."""
        self._parked.clear()
        self._absent.clear()
        self._told_late.clear()

    async def _tend(self, home: str, known: _Parked) -> None:
        now = self._clock()
        if now - known.told_at >= TELL_AGAIN_S:
            clients = await self._records.clients_of(home)
            if clients:
                log.warning("clients_lost", home=home, clients=len(clients))
            if not await self._farewells.tell_of(clients, home, self._window_ms):
                return
            known.told_at = now
        await known.log.shorten(self._is_in_charge)
        if now - known.forgot_at >= FORGET_S:
            known.last_seq = await self._homes.forget_silent(home, known.last_seq)
            known.forgot_at = now

    async def _sweep(self) -> None:
        homes = await self._registry.registered_io_nodes()
        if not await self._tell_late(homes):
            return
        absent: dict[str, int] = {}
        for home in homes:
            if not self._is_in_charge():
                return
            absent[home] = await self._records.away(home)
        self._absent = absent
        for home in homes:
            if not self._is_in_charge():
                return
            if home in self._parked and not absent[home] and await self._homes.end(home):
                log.info("home_ended", home=home)
                del self._parked[home]

    async def _tell_late(self, homes: Sequence[str]) -> bool:
        """Tells of those who are overdue. One that was told of stays so until its handler has run."""
        known, self._told_late = self._told_late, {}
        for home in homes:
            overdue = await self._records.overdue(home)
            now, never = self._clock(), float("-inf")
            untold = [client for client in overdue if now - known.get(client[:2], never) >= TELL_AGAIN_S]
            known |= {client[:2]: now for client in untold}
            self._told_late |= {client[:2]: known[client[:2]] for client in overdue}
            if not await self._farewells.tell_late(untold):
                return False
            if len(overdue) == OVERDUE_COUNT:  # there may be more
                self._swept_at = float("-inf")
        return True

    def _log_of(self, home: str) -> ParkedLog:
        return ParkedLog(
            home,
            homes=self._homes,
            records=self._records,
            time=self._time,
            keep_ms=self._keep_ms,
            max_bytes=self._log_max_bytes,
            counters=self._counters,
        )
