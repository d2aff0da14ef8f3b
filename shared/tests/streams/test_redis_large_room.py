"""What a room of 100,000 clients takes of Redis and of the process that asks."""

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.streams.api.records import Accepted, Joined
from sio_cluster.streams.api.selections import RoomsChange, Selection
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.turns import turns
from sio_cluster.testing.valkey import Valkey

from .real_server import connected

# alone: Redis counts the time in which it has no processor too
pytestmark = [pytest.mark.slow, pytest.mark.alone, pytest.mark.timeout(180)]

AT_A_TIME = 500
"""Clients whose rooms one call changes, as `app_node.clients.selections` does."""
MACHINE = 2
"""So often a busy machine may hold a process up on its own account, in a quarter of a minute."""


async def test_a_room_of_100_000_holds_nobody_up_for_50_ms(server: Valkey) -> None:
    """Neither Redis nor, in CPU time, a turn of the process that asks: also where the whole room is one set."""
    bus, members = RedisBus(Config(REDIS_URL=server.url, LANES=1)), [connected(number) for number in range(100_000)]
    await bus.start()
    await bus.connections.run(("CONFIG", "SET", "appendonly", "no"))
    for begin in range(0, len(members), 2_000):
        some = members[begin : begin + 2_000]
        await bus.records.store(some)
        await bus.records.update([change for one in some for change in (Joined(one.sid, "/", "r"), Accepted(one.sid))])
    assert await bus.room_index.count("/", "r") == len(members)
    await bus.connections.run(("CONFIG", "SET", "slowlog-log-slower-than", 50_000), ("SLOWLOG", "RESET"))
    async with turns() as found:
        page = await bus.room_index.page("/", "r")
        assert (await bus.room_index.counts("/"), len(page.records)) == ({"r": len(members)}, 1_000)
        for inside in (True, False):
            await change_all(bus, RoomsChange(("b",), inside))
    slow, _ = await bus.connections.run(("SLOWLOG", "GET", 10), ("SLOWLOG", "RESET"))
    await bus.stop()
    assert len(slow) <= MACHINE, slow
    assert sum(turn >= 0.05 for turn in found) <= MACHINE, max(found)


async def change_all(bus: RedisBus, change: RoomsChange) -> None:
    """As `enter_rooms` and `leave_rooms` do."""
    selection, cursor = Selection("/", ("r",)), None
    while True:
        found = await bus.selections.candidates(selection, cursor)
        for begin in range(0, len(found.sids), AT_A_TIME):
            await bus.selections.change(selection, found.sids[begin : begin + AT_A_TIME], change)
        cursor = found.cursor
        if cursor is None:
            return
