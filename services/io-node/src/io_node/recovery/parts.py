"""What the recovery of an io-node is made of, and what the node asks of it."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from io_node.bus.counters import BusCounters
from io_node.bus.downlink import Downlink
from io_node.bus.interest import InterestKeeper
from io_node.bus.retention import SPARE_MS, Retention
from io_node.durations import Durations
from io_node.recovery.claims import Facts, LogClaims
from io_node.recovery.evictions import Evictions
from io_node.recovery.home import Home
from io_node.recovery.homes import OpenHomes
from io_node.recovery.members import HomeMembers
from io_node.recovery.restoring import restore
from io_node.socketio.absent import Absent
from io_node.socketio.asked import AskedMany
from io_node.socketio.counters import ClientCounters
from io_node.socketio.hub import Hub
from io_node.tracing import Traces
from io_node.turns import Turns
from sio_cluster.node.loops import Loops
from sio_cluster.node.membership.redis_clock import RedisClock
from sio_cluster.node.retry import Retry
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol import reasons
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import (
    RECOVERY_LEVEL,
    AckMissed,
    AckRequest,
    Canary,
    ClientDisconnected,
    Command,
    Evict,
    Room,
    RoomChanged,
)
from sio_cluster.streams.api.bus import Bus
from sio_cluster.streams.api.inboxes import InboxEntry, InboxReader

_LOOK_S = 60.0
"""How often it is asked which absent clients Redis still knows."""


class Recovery:
    """The hubs of a node, and all by which clients claim their sessions back. With RECOVERY_WINDOW_MS=0 nobody can.

    `hub` is that of the node's own home, whose inbox `reader` reads; `downlink` takes what it has read. `facts` is the
    uplink. `level`: what the oldest node of the cluster understands.
    """

    def __init__(
        self,
        node_id: str,
        config: Config,
        bus: Bus,
        *,
        reader: InboxReader,
        facts: Facts,
        on_canary: Callable[[Canary], None],
        level: Callable[[], int],
        client_counters: ClientCounters,
        counters: BusCounters,
        durations: Durations,
        redis_clock: RedisClock,
        traces: Traces | None,
    ) -> None:
        self.is_on = config.recovery_window_ms > 0
        self._node_id = node_id
        self._config = config
        self._bus = bus
        self._facts = facts
        self._traces = traces
        self._client_counters = client_counters
        touched: set[Room] = set()
        self._absent = Absent(time.monotonic, touched)
        self._turns = Turns()
        self._absent_retry = Retry("absent", counters.redis_retries)
        self.hub = Hub(
            counters=client_counters,
            absent=self._absent,
            turns=self._turns,
            on_canary=on_canary,
            on_phantom=self._report_phantom,
            on_room_changed=self._report_room,
            on_evict=self._evict,
            on_room_op=self._note_room,
            on_unanswerable=self._report_unanswerable,
            on_asked=partial(self._report_asked, node_id),
            traces=traces,
            touched=touched,
        )
        self._interest = InterestKeeper(
            node_id,
            bus.interest,
            HomeMembers(self.hub, touched),
            level=level,
            retry=Retry("interest", counters.redis_retries),
        )
        self._own = Home(node_id, self.hub)
        self.downlink = Downlink(
            self.hub.execute,
            on_batch=self._took,
            on_repeated=self._passed_over,
            counters=counters,
            durations=durations,
            redis_clock=redis_clock,
            progress=self._interest.progress,
        )
        self.retention = Retention(
            node_id,
            reader,
            bus.homes,
            is_known=self._is_known,
            own_text=self.hub.own_text,
            keep_ms=config.recovery_window_ms + config.node_timeout_ms + SPARE_MS,
            max_bytes=config.recovery_max_bytes,
            retry=Retry("retention", counters.redis_retries),
        )
        self.homes = OpenHomes(
            self._own,
            bus.homes,
            new_hub=self._new_hub,
            counters=counters,
            retry=Retry("homes", counters.redis_retries),
            max_bytes=config.recovery_max_bytes,
            max_age_s=config.recovery_window_ms / 1000,
        )
        self._evictions = Evictions(
            node_id,
            bus.keys,
            appender=bus.appender,
            max_bytes=config.inbox_max_bytes,
            retry=Retry("evictions", counters.redis_retries),
        )
        self.claims = LogClaims(
            node_id,
            config.lanes,
            homes=self.homes,
            logs=bus.homes,
            records=bus.records,
            facts=facts,
            evictions=self._evictions,
            retry=Retry("claims", counters.redis_retries),
            window_ms=config.recovery_window_ms,
        )

    def is_offered(self, level: int) -> bool:
        """Whether clients get pids, in a cluster whose oldest node understands this level."""
        return self.is_on and level >= RECOVERY_LEVEL

    def _took(self, entry: InboxEntry, commands: Sequence[Command]) -> Iterator[None]:
        """An entry of this node's inbox is carried out from now on."""
        if self.is_on:
            yield from self.retention.took(entry, commands)
            yield from self._own.took(entry, commands)

    def _passed_over(self, entry: InboxEntry) -> None:
        """An entry of this node's inbox came before, and is not carried out."""
        if self.is_on:
            self._own.passed_over(entry)

    def start(self, loops: Loops) -> None:
        """Start the loops."""
        loops.start("interest", self._interest.run())
        if self.is_on:
            loops.start("evictions", self._evictions.run())
            loops.start("homes", self.homes.run())
            loops.start("retention", self.retention.run())
            loops.start("absent", self._absent_retry.forever(self._forget_absent, pause_s=_LOOK_S))

    async def leave(self) -> None:
        """Take the node out of the registry. Its home stays, parked, while clients of it may come back.

        Raises BusError.

        The last disconnects may still be on their way to Redis: so who left this node counts as well.
        """
        may_come_back = self.is_on and (len(self._absent) > 0 or await self._bus.records.away(self._node_id) > 0)
        if may_come_back:
            await self._bus.homes.park(self._node_id, self._config.inbox_max_bytes + self._config.recovery_max_bytes)
        else:
            await self._bus.registry.unregister_io_node(self._node_id)

    async def restore(self) -> None:
        """Redis lost its data: clients of this home stay. Those of others go, since nobody knows what they missed.

        Raises BusError: call it again then.
        """
        await self.homes.drop_adopted()
        await restore(self.hub, self._bus.records)

    # --- what the hubs ask

    def _new_hub(self, home: str) -> Hub:
        return Hub(
            counters=self._client_counters,
            absent=Absent(time.monotonic),
            adopted=True,
            turns=self._turns,
            on_room_changed=self._report_room,
            on_unanswerable=self._report_unanswerable,
            on_asked=partial(self._report_asked, home),
            traces=self._traces,
        )

    def _report_phantom(self, sid: str, comes_back: bool) -> None:
        """The application accepts a client that has left: say again that it is gone. A repetition does no harm.

        It says nothing of a later connection of this client, which may be elsewhere.
        """
        keep_ms = self._config.recovery_window_ms if comes_back else 0
        fact = ClientDisconnected(sid, reasons.TRANSPORT_CLOSE, keep_ms=keep_ms)
        self._facts.put(lane_of(sid, self._config.lanes), fact, None)

    def _report_room(self, lane: int, fact: RoomChanged) -> None:
        self._facts.put(lane, fact, None)

    def _report_unanswerable(self, sid: str, request: AckRequest) -> None:
        if request.hears_missed:
            self._client_counters.acks_missed += 1
            self._facts.put(request.app_node, AckMissed(sid, request.ack_id), None)

    def _report_asked(self, home: str, request: AckRequest, asked: AskedMany) -> None:
        for message in asked.messages(home, request.ack_id):
            self._client_counters.asked_many += 1
            self._facts.put(request.app_node, message, None)

    def _evict(self, evict: Evict) -> None:
        self.claims.evict(evict)

    def _is_known(self, sid: str) -> bool:
        return sid in self.hub or sid in self._absent

    def _note_room(self, sid: str, room: Room, inside: bool) -> None:
        self.retention.note(sid, room, inside)

    async def _forget_absent(self) -> None:
        keep_s = 2 * self._config.recovery_window_ms / 1000 + _LOOK_S
        if len(self._absent):
            known = set(await self._bus.homes.absent(self._node_id))
            self._absent.forget_others(known, keep_s)
        for hub in self.homes.hubs():
            if hub is not self.hub:
                hub.absent.forget_others((), keep_s)
