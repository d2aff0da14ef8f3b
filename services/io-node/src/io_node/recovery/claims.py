"""Decides whether a client that shows a pid may have its session back.

1. The record of the client says whether the pid is right. So nobody makes this node read a log who has no session.
2. The log of its home reaches back to the last event that the client has, or nothing was said to it before the log.
3. `ClientRecords.claim` makes this node the holder, in one step. Who knows a pid was let in. Where the record does not
   say so yet, it is asked again for a while: an app-node writes it when its Accept is in Redis.
4. Its former connection closes: at once where it is here, else by an Evict.
5. The application is told of the client, as of a new one. When it accepts it, the hub asks the `Replay` what it missed.

Where 1, 2 or 3 says no, the client becomes a new one, and why is counted. While Redis is away it is asked again.

Redis answers many at once. If all went on together, a thousand claims would take 60 ms of one turn of the event loop.
So few go on at a time, and the others wait, in order.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar

import msgspec
import structlog

from io_node.engineio.api import Outbound
from io_node.recovery.evictions import Evictions
from io_node.recovery.home import Home, Pinned
from io_node.recovery.home_log import Since
from io_node.recovery.homes import OpenHomes
from io_node.socketio.capability import RECOVERABLE, Asked
from io_node.socketio.client import Client, RoomsAt
from sio_cluster.node.retry import Backoff, Retry
from sio_cluster.protocol import reasons
from sio_cluster.protocol.errors import HomeLost
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import ClientConnected, ClientDisconnected, Evict, UplinkItem
from sio_cluster.protocol.recovery import Pid, Position, is_same, parse_offset, position_of
from sio_cluster.streams.api.homes import AtHorizon, Homes
from sio_cluster.streams.api.records import Claim, ClaimRefused, ClientRecords, io_node_of

log = structlog.get_logger()

_T = TypeVar("_T")

_LET_IN_S = 5.0
"""So long a claim waits for the record to say that the application has let the client in."""
_AT_ONCE = 100
"""So many claims are at the first step at a time, and as many behind it, without those that wait for a log or to be let
in. Each goes on five times in all, and takes some 50 us then."""


class Facts(Protocol):
    """The uplink."""

    def put(self, destination: int | str, fact: UplinkItem, sender: None) -> None: ...

    def is_renounced(self, sid: str) -> bool:
        """Whether nobody may claim this session any more, and Redis does not know it yet."""


class _Refused(Exception):  # no error: it says why the client becomes a new one
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class _Left(Exception):  # no error: nobody waits for the answer any more
    pass


@dataclass(slots=True)
class _UnderWay:
    """The claims of one sid that are under way. Those up to the generation `superseded` come too late."""

    number: int = 0
    superseded: int = -1


class LogReplay:
    """The `Replay` of one client. `told`: up to where the application knows the client's rooms without this node."""

    __slots__ = ("_at", "_pinned", "_since", "_told", "_who")

    def __init__(self, pinned: Pinned, sid: str, namespace: str, at: AtHorizon, since: Since) -> None:
        self._pinned = pinned
        self._who = (sid, namespace)
        self._at = at
        self._since = since
        self._told = position_of(pinned.home.place, 0)

    def rooms(self, place: Position) -> RoomsAt:
        return self._pinned.log.rooms(*self._who, self._at, place, self._told)

    def events(self, after: Position | None, until: Position) -> Iterator[Outbound | None]:
        since = self._since if after is None else Since(after, after)
        return self._pinned.log.events(*self._who, self._at, since, until)

    def end(self) -> None:
        self._pinned.unpin()


class LogClaims:
    """The session's `Claims`. One task for each client whose claim is looked at."""

    def __init__(
        self,
        node_id: str,
        lanes: int,
        *,
        homes: OpenHomes,
        logs: Homes,
        records: ClientRecords,
        facts: Facts,
        evictions: Evictions,
        retry: Retry,
        window_ms: int,
    ) -> None:
        self._node_id = node_id
        self._lanes = lanes
        self._homes = homes
        self._logs = logs
        self._records = records
        self._facts = facts
        self._evictions = evictions
        self._retry = retry
        self._window_ms = window_ms
        self._claiming: dict[Client, str | None] = {}
        """Those whose claim is looked at, and why the connection has closed meanwhile."""
        self._claims: dict[str, _UnderWay] = {}
        """By sid: those claims that Redis is asked for now."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking = asyncio.Semaphore(_AT_ONCE)
        self._taking = asyncio.Semaphore(_AT_ONCE)

    def begin(self, client: Client) -> None:
        """Calls `client.session.pass_on(client)` later: as the client whose session it is, or as a new one."""
        self._claiming[client] = None
        task = asyncio.create_task(self._decide(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def leave(self, client: Client, reason: str) -> bool:
        """Its connection has closed. True if its claim was looked at, and it is not passed on then."""
        if client not in self._claiming:
            return False
        self._claiming[client] = reason
        return True

    def evict(self, evict: Evict) -> None:
        """The client has come back elsewhere: close its connection here, whichever its home.

        Answers to claims of one sid may come in another order than the claims were made. So one that is still under way
        hears of it, too.
        """
        if (under_way := self._claims.get(evict.sid)) is not None:
            under_way.superseded = max(evict.generation, under_way.superseded)
        for hub in self._homes.hubs():
            hub.evict(evict)

    async def idle(self, timeout_s: float) -> None:
        """Wait until no claim is looked at, but no longer than that."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout_s)

    async def stop(self) -> None:
        """Look at no claim any more."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- one claim

    async def _decide(self, client: Client) -> None:
        assert client.asked is not None
        try:
            await self._claim(client, client.asked)
        except _Left:
            pass
        except (_Refused, HomeLost) as refusal:
            reason = refusal.reason if isinstance(refusal, _Refused) else "home"
            log.info("claim_refused", reason=reason, connection=client.session.name)
            self._begin_anew(client, reason)
        except Exception:  # a defect, or a record that cannot be read: whoever waits must not wait for ever
            log.exception("claim_failed", connection=client.session.name)
            self._begin_anew(client, "error")
        finally:
            self._claiming.pop(client, None)

    def _begin_anew(self, client: Client, reason: str) -> None:
        """The client becomes a new one, if it is still there and was not passed on."""
        client.session.counters.claims_refused[reason] += 1
        if self._claiming.get(client, "") is None:
            del self._claiming[client]
            client.session.pass_on(client)

    async def _claim(self, client: Client, asked: Asked) -> None:
        pid = asked.pid
        if pid is None:
            raise _Refused("malformed")
        offset = parse_offset(asked.offset)
        if offset is None and asked.offset is not None:
            raise _Refused("malformed")
        async with self._looking:
            known = await self._look_at_record(client, pid)
        pinned = await self._ask(client, lambda: self._homes.pin(io_node_of(pid.sid), client.session.connection))
        try:
            async with self._taking:
                await self._claim_pinned(client, pinned, pid, offset, known.since)
        finally:
            if client.replay is None:
                pinned.unpin()

    async def _claim_pinned(
        self, client: Client, pinned: Pinned, pid: Pid, offset: Position | None, waited: str
    ) -> None:
        at, since = await self._begin_of_replay(client, pinned, pid, offset, parse_offset(waited))
        with self._under_way(pid.sid) as under_way:
            claim = await self._take(client, pid)
            if claim.generation <= under_way.superseded:
                client.session.evict()
                raise _Left
        if pinned.home.lost:
            self._end(pid, claim, reasons.TRANSPORT_ERROR, 0)
            raise _Refused("home")
        self._close_former(pid, claim)
        reason = self._claiming.pop(client)
        if reason is not None:  # it has left: the client is away again
            self._end(pid, claim, reason, self._window_ms if reason in RECOVERABLE else 0)
            raise _Left
        replay = LogReplay(pinned, pid.sid, client.namespace, at, since)
        self._pass_on(client, claim, pinned.home, replay, waited)

    @contextmanager
    def _under_way(self, sid: str) -> Iterator[_UnderWay]:
        """Hears meanwhile whether the client comes back on yet another connection."""
        claims = self._claims.setdefault(sid, _UnderWay())
        claims.number += 1
        try:
            yield claims
        finally:
            claims.number -= 1
            if not claims.number:
                del self._claims[sid]

    async def _look_at_record(self, client: Client, pid: Pid) -> ClientConnected:
        """What is known of the session that the pid names, if it is the right one."""
        record = await self._ask(client, lambda: self._records.load(pid.sid))
        if record is None:
            raise _Refused(ClaimRefused.GONE.value)
        if record.connected.namespace != client.namespace or not is_same(record.connected.pid_hash, pid.hash):
            raise _Refused(ClaimRefused.WRONG.value)
        return record.connected

    async def _begin_of_replay(
        self, client: Client, pinned: Pinned, pid: Pid, offset: Position | None, waited: Position | None
    ) -> tuple[AtHorizon, Since]:
        home = pinned.home.name
        at = await self._ask(client, lambda: self._logs.rooms(home, pid.sid, waited))
        if at is None:
            raise _Refused("home")
        since = pinned.log.since(pid.sid, at, offset, waited)
        if since is None:
            since = await self._quiet_since(client, pid, at, offset, waited)
        if not pinned.log.has_all(pid.sid, client.namespace, at, since):
            raise _Refused("window")
        if offset is not None and offset[:2] > position_of(pinned.home.place, 0)[:2]:
            # Either the former io-node was ahead of this one, or it is no offset of this log.
            later = await self._ask(client, lambda: self._logs.page(home, _before(offset), 1))
            if not later:
                raise _Refused("future")
        return at, since

    async def _quiet_since(
        self, client: Client, pid: Pid, at: AtHorizon, offset: Position | None, waited: Position | None
    ) -> Since:
        """The log does not reach so far back. But it may be that nothing was said to the client meanwhile."""
        home, namespace = io_node_of(pid.sid), client.namespace
        marks = await self._ask(client, lambda: self._logs.marks(home, pid.sid, namespace, at.rooms))
        reached = marks.reached(offset, at.horizon, waited) if pid.sid in at.rooms else None
        if reached is None:
            raise _Refused("window")
        return Since(reached, reached)

    async def _take(self, client: Client, pid: Pid) -> Claim:
        """Claim the session. Once that was tried, it must be known what became of it, also where nobody waits."""
        claim = await self._try(client, pid)
        ends_at = asyncio.get_running_loop().time() + _LET_IN_S
        backoff = Backoff(20, 500)
        while claim is ClaimRefused.PENDING and asyncio.get_running_loop().time() < ends_at:
            self._taking.release()
            try:
                await asyncio.sleep(next(backoff))
            finally:
                await self._taking.acquire()
            claim = await self._try(client, pid)
        if isinstance(claim, ClaimRefused):
            raise _Refused(claim.value)
        return claim

    async def _try(self, client: Client, pid: Pid) -> Claim | ClaimRefused:
        namespace = client.namespace
        tried = False

        async def once() -> Claim | ClaimRefused:
            nonlocal tried
            if not tried and self._claiming[client] is not None:
                raise _Left
            if self._facts.is_renounced(pid.sid):
                return ClaimRefused.GONE
            tried = True
            return await self._records.claim(pid.sid, namespace, pid.hash, self._node_id)

        return await self._retry.call(once)

    def _close_former(self, pid: Pid, claim: Claim) -> None:
        """Closes the connection that the client had before, wherever it is."""
        evict = Evict(pid.sid, claim.generation - 1)
        self.evict(evict)
        if claim.former not in ("", self._node_id):
            self._evictions.put(claim.former, evict)

    def _pass_on(self, client: Client, claim: Claim, home: Home, replay: LogReplay, waited: str) -> None:
        """From now on the client is the one whose session it has claimed."""
        asked = client.asked
        assert asked is not None
        assert asked.pid is not None
        connected = msgspec.structs.replace(
            client.connected,
            sid=asked.pid.sid,
            pid_hash=asked.pid.hash,
            holder="" if home.name == self._node_id else self._node_id,
            generation=claim.generation,
            since=waited,
        )
        client.claimed(connected, lane_of(asked.pid.sid, self._lanes), home.hub, asked.secret_pid, replay)
        client.session.pass_on(client)

    def _end(self, pid: Pid, claim: Claim, reason: str, keep_ms: int) -> None:
        fact = ClientDisconnected(pid.sid, reason, claim.generation, keep_ms)
        self._facts.put(lane_of(pid.sid, self._lanes), fact, None)

    async def _ask(self, client: Client, once: Callable[[], Awaitable[_T]]) -> _T:
        """The answer of Redis, asked until it comes or nobody waits for it."""

        async def attempt() -> _T:
            if self._claiming[client] is not None:
                raise _Left
            return await once()

        return await self._retry.call(attempt)


def _before(offset: Position) -> bytes:
    """An id that is smaller than that of this entry, and no smaller than that of the one before."""
    return b"%d-%d" % ((offset.ms, offset.number - 1) if offset.number else (max(offset.ms, 1) - 1, 2**63))
