"""What the page of the Admin UI can do; over the fakes and over Valkey."""

from typing import Any

import pytest

from sio_cluster.protocol.messages import (
    DisconnectMany,
    Emit,
    JoinMany,
    LeaveMany,
)

from .watching import PASSWORD, heard, instrumented

pytestmark = pytest.mark.slow

ORDERS = ["EMIT", "JOIN", "LEAVE", "DISCONNECT", "MJOIN", "MLEAVE", "MDISCONNECT"]


@pytest.mark.parametrize(
    ("options", "features"),
    [
        ({}, ["AGGREGATED_EVENTS", *ORDERS]),
        ({"mode": "development"}, ["AGGREGATED_EVENTS", *ORDERS, "ALL_EVENTS"]),
        ({"read_only": True}, ["AGGREGATED_EVENTS"]),
        ({"read_only": True, "mode": "development"}, ["AGGREGATED_EVENTS", "ALL_EVENTS"]),
    ],
)
async def test_the_page_is_told_what_it_can_do(memory_stage: Any, options: Any, features: list[str]) -> None:
    sio, io = instrumented(memory_stage, **options), await memory_stage.io_node()
    await sio.start()
    await io.connect("/admin", PASSWORD)
    assert await heard(io, "config") == [[{"supportedFeatures": features}]]


async def test_orders_reach_clients_wherever_they_are(stage: Any) -> None:
    sio = instrumented(stage)
    one, two = await stage.io_node("io1"), await stage.io_node("io2")
    await sio.start()
    ada, bob, eve = await one.connect("/admin", PASSWORD), await two.connect(), await two.connect()
    await one.settle()
    await one.event(ada, "join", "/", "blue", bob)
    assert await two.wait(1, JoinMany) == [JoinMany([bob], ["blue"])]
    await one.event(ada, "join", "/", "green")
    joined = (await two.wait(2, JoinMany))[1]
    assert (sorted(joined.sids), joined.rooms) == (sorted([bob, eve]), ["green"])
    await one.event(ada, "leave", "/", "green", "blue")
    assert await two.wait(1, LeaveMany) == [LeaveMany([bob], ["green"])]
    await one.event(ada, "emit", "/", "blue", "hello", 1, {"a": 2})
    await two.until(lambda: Emit("/", b'2["hello",1,{"a":2}]', to=["blue"]) in two.commands)
    await one.event(ada, "emit", "/", None, "everybody")
    await two.until(lambda: Emit("/", b'2["everybody"]') in two.commands)
    await one.event(ada, "_disconnect", "/", False, bob)
    assert await two.wait(1, DisconnectMany) == [DisconnectMany([bob], False)]
    await one.event(ada, "_disconnect", "/", True, "green")
    assert (await two.wait(2, DisconnectMany))[1] == DisconnectMany([eve], True)


async def test_a_room_whose_name_counts_as_false_is_not_everybody(memory_stage: Any) -> None:
    sio, io = instrumented(memory_stage), await memory_stage.io_node()
    await sio.start()
    ada, bob = await io.connect("/admin", PASSWORD), await io.connect()
    for room in (0, ""):
        await io.event(ada, "_disconnect", "/", False, room)
        await io.event(ada, "join", "/", "blue", room)
        await io.event(ada, "leave", "/", "blue", room)
        await io.event(ada, "emit", "/", room, "hello")
    await io.settle()
    assert not [command for command in io.commands if isinstance(command, JoinMany | LeaveMany | DisconnectMany)]
    assert [emit.to for emit in io.commands if isinstance(emit, Emit) and emit.namespace == "/"] == [[0], [""]]
    assert await sio.count(bob) == 1


async def test_who_may_only_read_gives_no_orders(memory_stage: Any) -> None:
    sio, io = instrumented(memory_stage, read_only=True), await memory_stage.io_node()
    await sio.start()
    ada, bob = await io.connect("/admin", PASSWORD), await io.connect()
    await io.event(ada, "join", "/", "blue", bob)
    await io.event(ada, "_disconnect", "/", False, bob)
    await io.settle()
    assert not [command for command in io.commands if isinstance(command, JoinMany | DisconnectMany)]
    assert await sio.count(bob) == 1


async def test_orders_that_make_no_sense_do_nothing(memory_stage: Any) -> None:
    sio, io = instrumented(memory_stage), await memory_stage.io_node()
    await sio.start()
    ada, bob = await io.connect("/admin", PASSWORD), await io.connect()
    for order in (["join"], ["join", "/", bob, bob], ["join", 7, "a"], ["join", "/", {}], ["emit", "/", None, 3]):
        await io.event(ada, *order)
    await io.event(ada, "_disconnect")
    await io.settle()
    assert not [command for command in io.commands if isinstance(command, JoinMany | DisconnectMany)]
    assert sio.node.counters.handlers_failed == 0
