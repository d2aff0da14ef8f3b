"""The page stands some hundred clients, and a cluster has more."""

import asyncio
from typing import Any

import pytest

from app_node.admin.rounds import MOST_SOCKETS
from sio_cluster.streams.api.records import Accepted

from .watching import PASSWORD, heard, named

pytestmark = pytest.mark.slow


async def let_in(io: Any, number: int) -> list[str]:
    """Clients whose connect handlers have ended long ago."""
    facts = [io.connected() for _ in range(number)]
    for start in range(0, number, 500):
        some = facts[start : start + 500]
        await io.bus.records.store(some)
        await io.bus.records.update([Accepted(fact.sid) for fact in some])
    return [fact.sid for fact in facts]


async def test_of_many_clients_the_page_gets_those_that_connected_last(stage: Any) -> None:
    sio, io = stage.echo_server(), await stage.io_node()
    sio.instrument(auth=PASSWORD)
    await sio.start()
    old = await let_in(io, 500)
    await asyncio.sleep(0.01)
    new = await let_in(io, MOST_SOCKETS - 1)
    ada = await io.connect("/admin", PASSWORD)
    await io.settle()
    [clients] = (await heard(io, "all_sockets", sid=ada))[0]
    shown = {client["id"] for client in clients}
    assert len(clients) == MOST_SOCKETS
    assert shown.isdisjoint(old[:-2]), "but for the administrator, who may not be in Redis yet"
    assert len(shown & set(new)) >= MOST_SOCKETS - 2


async def test_where_more_happens_than_is_told_the_page_gets_the_list_anew(stage: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("app_node.admin.rounds._RESYNC_S", 0.1)
    monkeypatch.setattr("app_node.admin.rounds.IDLE_S", 0.1)
    sio, io = stage.echo_server(), await stage.io_node()
    sio.instrument(auth=PASSWORD, server_stats_interval=0.1)
    await sio.start()
    ada = await io.connect("/admin", PASSWORD)
    await heard(io, "all_sockets", 2, ada)  # on its arrival, and when every app-node knows of it
    io.commands.clear()
    facts = [io.connected() for _ in range(300)]
    await io.bus.records.store(facts)
    await io.send(*facts)
    sids = {fact.sid for fact in facts}
    await io.until(lambda: any(sids <= {one["id"] for one in clients} for [clients] in named(io, "all_sockets", ada)))
