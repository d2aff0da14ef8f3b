"""Looks who watches, and tells them what the nodes say and which clients there are."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import structlog

from app_node.admin.differences import Shown, changes, shown
from app_node.admin.doorway import ENDED, Doorway
from app_node.admin.feed import MOST_CHANGES, PAUSE_S, Feed
from app_node.admin.newest_clients import NewestClients
from app_node.admin.server import Server
from app_node.admin.stats import Traffic, server_stats
from app_node.downlink.landing import landing_as_one
from sio_cluster.node.retry import Retry
from sio_cluster.protocol.errors import NodesTooOld
from sio_cluster.streams.api.records import ClientRecord

log = structlog.get_logger()

IDLE_S = 2.0
"""How often it is looked whether somebody watches."""
MOST_WATCHERS = 100
"""So many administrators are told anything. Further ones can only give orders."""
_RESYNC_S = 10.0
"""So long it takes at least, from one list of clients to the next."""
_ROUND_S = 1.0
"""So long a round may take."""
_FIGURES_S = 7.0
"""So long it takes at most, from somebody's coming, until all io-nodes say of which namespaces they have clients."""
_ABANDONED_S = 10.0
"""So much longer than it should take an administrator may be without a list, before another app-node sends one."""


class Rounds:
    """One app-node's part. `run` is a loop for as long as the node lives.

    `feed` None: production mode, in which nobody hears of single clients.
    """

    def __init__(
        self,
        server: Server,
        namespace: str,
        *,
        doorway: Doorway,
        interval_s: float,
        feed: Feed | None,
        clock: Callable[[], float],
    ) -> None:
        """`doorway` says who came in by the credentials of now. Others are sent away. `interval_s`: between two
        `server_stats` of a node. `clock`: this node's seconds."""
        self._server = server
        self._node = server.node
        self._namespace = namespace
        self._doorway = doorway
        self._interval_s = interval_s
        self._feed = feed
        self._clock = clock
        self._retry = Retry("admin", self._node.counters.redis_retries)
        self._newest = NewestClients(server, self._retry)
        self._traffic = Traffic()
        self._wake = asyncio.Event()
        self._synced_at = float("-inf")
        self._without_list: dict[str, float] = {}
        """Those who watch and have no list of clients, and since when this app-node knows of them."""
        self._further: str | None = None
        """Where to look on for administrators to be sent away, behind the first MOST_WATCHERS."""
        self.watchers: list[str] = []
        """The sids of those who watch, as of the last look."""

    def look_now(self) -> None:
        """Somebody has come."""
        self._wake.set()

    async def run(self) -> None:
        """A round after the other. While the room index is not exact, nobody is told anything."""
        while True:
            try:
                async with asyncio.timeout(self._interval_s if self.watchers else IDLE_S):
                    await self._wake.wait()
            except TimeoutError:
                pass  # nobody has come here, but perhaps elsewhere
            self._wake.clear()
            try:
                await self._round()
            except NodesTooOld:
                self._see([])
            except Exception:  # a defect of ours must not end the node, which does not need administrators
                log.exception("admin_round_failed")

    async def tell(self, event: str, *args: Any, volatile: bool = False) -> None:
        """Tells all who watch."""
        if not self.watchers:
            return
        if event == "room_joined" and self._without_list:  # they may know of it: then they would list the client twice
            await self._say([*self._without_list], "room_left", *args)
        await self._say(self.watchers, event, *args, volatile=volatile)

    async def introduce(self, sid: str) -> None:
        """An administrator has come in here: it gets the one list of clients. What other app-nodes did not tell it,
        since they did not know of it yet, it gets as changes: a second list would replace all that the page shows.

        Where this app-node dies in the midst, the one in charge sends a list.
        """
        before = await self._show_clients(sid)
        await asyncio.sleep(self._known_after_s)
        known = self._newest.namespaces  # of these all clients are seen now
        now = await self._catch_up(sid, before, await self._newest.clients())
        await self._catch_up_once_more(sid, now)
        await self._show_late_namespaces(sid, known)
        await self._doorway.note_knows_clients(sid)

    @property
    def _known_after_s(self) -> float:
        """So long after its coming each app-node knows of an administrator."""
        return max(IDLE_S, self._interval_s) + _ROUND_S

    async def _show_clients(self, to: str | list[str]) -> dict[str, Shown]:
        """The clients that connected last, to these administrators. Returns what they were told."""
        clients = await self._newest.clients()
        await self._say(to, "all_sockets", clients)
        return _all_shown(clients)

    async def _catch_up_once_more(self, to: str | list[str], before: dict[str, Shown]) -> None:
        """What was told in the moment between reading clients and showing them: the page did not know these clients
        then, or forgot them for what was shown."""
        await asyncio.sleep(PAUSE_S)
        await self._catch_up(to, before, await self._newest.clients())

    async def _show_late_namespaces(self, sid: str, known: set[str]) -> None:
        """The clients of namespaces that nobody knew of, since io-nodes name them only while somebody watches."""
        await asyncio.sleep(_FIGURES_S)
        if set(await self._newest.all_namespaces()) <= known:
            return
        listed = await self._newest.clients()
        before = _all_shown(client for client in listed if client["nsp"] in known)
        await self._catch_up_once_more(sid, await self._catch_up(sid, before, listed))

    async def _catch_up(
        self, to: str | list[str], before: dict[str, Shown], listed: list[dict[str, Any]]
    ) -> dict[str, Shown]:
        """What has changed since these administrators were told of these clients. If that is much, the list anew.
        Returns what they were told."""
        clients = {client["id"]: client for client in listed}
        missing = [gone for gone in before if gone not in clients]
        if len(missing) <= MOST_CHANGES:  # a list that is full leaves out clients that are still there
            found = await asyncio.gather(*map(self._node.clients.queries.one, missing))
            displaced = {record.connected.sid for record in found if record is not None}
            some = [*islice(changes(before, clients, displaced, time.time()), MOST_CHANGES + 1)]
            if len(some) <= MOST_CHANGES:
                with landing_as_one() as landing:
                    for event, args in some:
                        await self._say(to, event, *args)
                await landing.landed()
                return _all_shown(listed)
        await self._say(to, "all_sockets", listed)
        return _all_shown(listed)

    # --- a round

    async def _round(self) -> None:
        is_in_charge = self._node.keeper.holds(0)
        is_looking = is_in_charge or self._feed is not None
        try:
            watchers = await self._who_watches(send_away=is_in_charge) if is_looking else []
        except NodesTooOld:
            watchers = []
        self._see(watchers)
        await self._retry.call(lambda: self._node.membership.presence.watch(is_in_charge and bool(self.watchers)))
        if not self.watchers:
            return
        if is_in_charge:
            await self._tell_figures()
        if self._feed is not None:
            await self._show_what_was_missed(self._feed)
            if is_in_charge:
                await self._show_to_abandoned()

    async def _who_watches(self, *, send_away: bool) -> list[str]:
        queries = self._node.clients.queries
        if not await queries.count(self._namespace, None):
            return []
        page = await queries.page(self._namespace, None, MOST_WATCHERS, None)
        watchers = await self._those_that_count(page.records, send_away=send_away)
        without_list = [record.connected.sid for record in page.records if not self._doorway.knows_clients(record)]
        now = self._clock()
        self._without_list = {sid: self._without_list.get(sid, now) for sid in without_list if sid in watchers}
        if send_away and page.cursor is not None:
            await self._look_further(page.cursor)
        return watchers

    async def _look_further(self, first: str) -> None:
        """Sends away those behind the first ones: some in each round, then from `first` on again."""
        page = await self._node.clients.queries.page(self._namespace, None, MOST_WATCHERS, self._further or first)
        self._further = page.cursor
        await self._those_that_count(page.records, send_away=True)

    async def _those_that_count(self, records: Sequence[ClientRecord], *, send_away: bool) -> list[str]:
        watchers = []
        for record in records:
            if self._doorway.counts(record):
                watchers.append(record.connected.sid)
            elif send_away:
                log.warning("admin_ended", sid=record.connected.sid, why=ENDED)
                await self._server.disconnect(record.connected.sid, namespace=self._namespace)
        return watchers

    def _see(self, watchers: list[str]) -> None:
        self.watchers = watchers
        if self._feed is None:
            return
        self._node.clients.sightings.observer = self._feed if watchers else None
        if not watchers:
            self._feed.forget()

    async def _tell_figures(self) -> None:
        registry = self._node.bus.registry
        infos = await self._retry.call(registry.io_nodes)
        infos = {**infos, **await self._retry.call(registry.app_nodes)}
        self._traffic.forget_others(infos)
        namespaces, now_s = self._newest.known_namespaces(infos), time.time()
        with landing_as_one() as landing:
            for node, info in infos.items():
                stats = server_stats(node, info, namespaces, self._traffic, now_s)
                await self.tell("server_stats", stats, volatile=True)
        await landing.landed()

    async def _show_what_was_missed(self, feed: Feed) -> None:
        """The list of clients anew, where a change of one was left out."""
        now = self._clock()
        if feed.is_incomplete and now - self._synced_at > _RESYNC_S:
            self._synced_at, feed.is_incomplete = now, False
            before = await self._show_clients(self.watchers)
            if not feed.is_incomplete:  # else the list comes anew soon
                await self._catch_up_once_more(self.watchers, before)

    async def _show_to_abandoned(self) -> None:
        """The list of clients for those who got none: the app-node that let them in has died, or could not read it."""
        limit = self._clock() - self._known_after_s - _FIGURES_S - 2 * PAUSE_S - _ABANDONED_S
        abandoned = [sid for sid, since in self._without_list.items() if since < limit]
        if abandoned:
            await self._catch_up_once_more(abandoned, await self._show_clients(abandoned))
            for sid in abandoned:
                await self._doorway.note_knows_clients(sid)

    async def _say(self, to: str | list[str], event: str, *args: Any, volatile: bool = False) -> None:
        await self._server.emit(event, args, to, namespace=self._namespace, volatile=volatile)


def _all_shown(clients: Iterable[dict[str, Any]]) -> dict[str, Shown]:
    return {client["id"]: shown(client) for client in clients}
