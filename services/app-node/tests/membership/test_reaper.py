"""The reaper alone: whom it buries, and whom no more. Registry, records and appender are played by the test."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from app_node.counters import Counters
from app_node.membership.farewells import CHUNK, Farewells
from app_node.membership.parked_homes import ParkedHomes
from app_node.membership.reaper import APP_NODE_KEPT_S, GRACE_BEATS, Reaper
from sio_cluster.protocol.codec import decode_uplink
from sio_cluster.protocol.errors import BusError, BusUnavailable
from sio_cluster.protocol.messages import LEVEL
from sio_cluster.streams.api.appends import Append, AppendResult
from sio_cluster.streams.api.registry import Nodes

FIRST, SECOND = "io1-aaaaaa", "io2-bbbbbb"


class Cluster:
    """Two lost io-nodes, of three chunks of clients each. `after_...` is what happens meanwhile."""

    def __init__(self) -> None:
        self.lost = {FIRST, SECOND}
        self.lost_apps: list[str] = []
        self.after_forget: Callable[[], None] = lambda: None
        self.retired: list[str] = []
        self.forgotten: list[str] = []
        self.told: list[str] = []
        self.in_charge = True
        self.appends = 0
        self.answer: AppendResult | BusError = AppendResult.APPENDED
        self.after_append: Callable[[], None] = lambda: None
        self.after_retire: Callable[[], None] = lambda: None

    async def lost_io_nodes(self) -> list[str]:
        return sorted(self.lost)

    async def look(self) -> Nodes:
        return Nodes({}, {}, sorted(self.lost), self.lost_apps, LEVEL, "life")

    async def retire_io_node(self, node_id: str) -> None:
        self.retired.append(node_id)
        self.after_retire()

    async def unregister_io_node(self, node_id: str) -> None:
        self.lost.discard(node_id)
        self.forgotten.append(node_id)

    async def unregister_app_node(self, node_id: str) -> None:
        self.forgotten.append(node_id)
        self.after_forget()

    async def clients_of(self, node_id: str) -> list[tuple[str, int]]:
        return [(f"{node_id}.{number:016}", 0) for number in range(3 * CHUNK)]

    async def append(self, appends: Sequence[Append]) -> list[AppendResult]:
        self.appends += 1
        if self.answer is AppendResult.APPENDED:
            self.told += [fact.sid for append in appends for fact in decode_uplink(append.entry).facts]
        self.after_append()
        if isinstance(self.answer, BusError):
            raise self.answer
        return [self.answer] * len(appends)

    def told_of(self, node_id: str) -> int:
        return sum(sid.startswith(node_id) for sid in self.told)


async def look(cluster: Cluster, later_s: float = GRACE_BEATS) -> Counters:
    """Twice: the lost nodes are due the second time."""
    now, counters = 0.0, Counters()
    parts: Any = cluster  # it plays all of Redis
    charge: Any = {"records": parts, "is_in_charge": lambda: cluster.in_charge, "counters": counters}
    farewells = Farewells(
        node_id="app1-aaaaaa", lanes=4, lane_key=str, lane_max_bytes=1_000_000, appender=parts, **charge
    )
    reaper = Reaper(
        heartbeat_ms=1_000,
        clock=lambda: now,
        registry=parts,
        farewells=farewells,
        parked_homes=ParkedHomes(
            window_ms=0,
            node_timeout_ms=1_000,
            log_max_bytes=0,
            inbox_max_bytes=0,
            clock=lambda: now,
            registry=parts,
            homes=parts,
            farewells=farewells,
            **charge,
        ),
        **charge,
    )
    await reaper.look()
    assert cluster.retired == []
    now += later_s
    await reaper.look()
    return counters


async def test_each_client_of_a_lost_node_is_told_of() -> None:
    cluster = Cluster()
    counters = await look(cluster)
    assert len(cluster.told) == len(set(cluster.told)) == 6 * CHUNK
    assert cluster.forgotten == [FIRST, SECOND]
    assert counters.io_nodes_lost == 2


async def test_a_node_that_comes_back_while_another_is_buried_keeps_its_clients() -> None:
    cluster = Cluster()
    cluster.after_append = lambda: cluster.lost.discard(SECOND)
    counters = await look(cluster)
    assert cluster.retired == cluster.forgotten == [FIRST]
    assert cluster.told_of(SECOND) == 0
    assert counters.io_nodes_lost == 1


async def test_a_node_that_registers_anew_while_it_is_retired_keeps_its_clients() -> None:
    cluster = Cluster()
    cluster.after_retire = lambda: cluster.lost.discard(FIRST)
    counters = await look(cluster)
    assert cluster.retired == [FIRST, SECOND]
    assert cluster.told_of(FIRST) == 0
    assert cluster.forgotten == [SECOND]
    assert counters.io_nodes_lost == 1


async def test_a_node_that_comes_back_in_the_midst_of_its_burial_has_all_its_clients_told_of() -> None:
    cluster = Cluster()
    cluster.after_append = lambda: cluster.lost.discard(FIRST)
    await look(cluster)
    assert cluster.told_of(FIRST) == 3 * CHUNK
    assert cluster.forgotten == [SECOND]


async def test_who_is_not_in_charge_any_more_leaves_the_rest_to_the_next() -> None:
    cluster = Cluster()

    def lose_charge() -> None:
        cluster.in_charge = cluster.told_of(FIRST) < 3 * CHUNK

    cluster.after_append = lose_charge
    counters = await look(cluster)
    assert cluster.told_of(FIRST) == 3 * CHUNK
    assert cluster.retired == [FIRST]
    assert cluster.lost == {FIRST, SECOND}
    assert cluster.forgotten == []
    assert counters.io_nodes_lost == 0


@pytest.mark.parametrize("answer", [AppendResult.FULL, BusUnavailable("away")])
async def test_who_is_not_in_charge_any_more_does_not_wait_for_a_lane(answer: AppendResult | BusError) -> None:
    """Lanes may be full, and Redis may be away, for as long as they like. Another app-node tells of the clients."""
    cluster = Cluster()
    cluster.answer = answer

    def lose_charge() -> None:
        cluster.in_charge = cluster.appends < 2

    cluster.after_append = lose_charge
    counters = await asyncio.wait_for(look(cluster), 5)
    assert (cluster.appends, counters.reaper_facts_written) == (2, 0)
    assert cluster.retired == [FIRST]
    assert cluster.forgotten == []


async def test_who_is_not_in_charge_any_more_forgets_no_app_node() -> None:
    cluster = Cluster()
    cluster.lost = set()
    cluster.lost_apps = ["app2-aaaaaa", "app3-aaaaaa"]

    def lose_charge() -> None:
        cluster.in_charge = False

    cluster.after_forget = lose_charge
    await look(cluster, APP_NODE_KEPT_S)
    assert cluster.forgotten == ["app2-aaaaaa"]
