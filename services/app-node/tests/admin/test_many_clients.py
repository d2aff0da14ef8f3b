"""The page stands some hundred clients, and a cluster has more."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from app_node.admin.newest_clients import MOST_SOCKETS
from app_node.admin.sockets import serialized
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


async def test_the_list_is_made_in_small_parts(memory_stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other clients wait for as long as a turn of the event loop takes."""
    turn, done = 0, Counter[int]()

    def count_turns() -> None:
        nonlocal turn
        turn += 1
        asyncio.get_running_loop().call_soon(count_turns)

    def serialized_counted(record: Any) -> Any:
        done[turn] += 1
        return serialized(record)

    sio, io = memory_stage.echo_server(), await memory_stage.io_node()
    monkeypatch.setattr("app_node.admin.newest_clients.serialized", serialized_counted)
    sio.instrument(auth=PASSWORD)
    written: list[int] = []
    emit = sio.emit

    async def emit_noted(event: str, *args: Any, **options: Any) -> None:
        if event == "all_sockets":
            written.append(turn)
        await emit(event, *args, **options)

    monkeypatch.setattr(sio, "emit", emit_noted)
    await sio.start()
    await let_in(io, 500)
    count_turns()
    ada = await io.connect("/admin", PASSWORD)
    await heard(io, "all_sockets", sid=ada)
    assert sum(done.values()) >= 500
    assert max(done.values()) <= 50
    assert written
    assert not done.keys() & set(written), "writing the list takes a turn of its own"


async def test_where_more_happens_than_is_told_the_page_gets_the_list_anew(stage: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("app_node.admin.rounds._RESYNC_S", 0.1)
    monkeypatch.setattr("app_node.admin.rounds.IDLE_S", 0.1)
    sio, io = stage.echo_server(), await stage.io_node()
    sio.instrument(auth=PASSWORD, server_stats_interval=0.1)
    await sio.start()
    ada = await io.connect("/admin", PASSWORD)
    await stage.until(lambda: sio.node.clients.sightings.observer is not None)
    await heard(io, "all_sockets", 1, ada)
    io.commands.clear()
    facts = [io.connected() for _ in range(300)]
    await io.bus.records.store(facts)
    await io.send(*facts)
    sids = {fact.sid for fact in facts}
    await io.until(lambda: any(sids <= {one["id"] for one in clients} for [clients] in named(io, "all_sockets", ada)))
