"""What is said outside of handlers, and whoever gives up waiting for it. The appender is played by the test."""

import asyncio

import pytest

from app_node.downlink.landing import Landing, landing_as_one, landing_together
from sio_cluster.protocol.messages import CloseRoom, Emit

from .benches import Bench, settle


def emit(name: str) -> Emit:
    return Emit("/", f'2["{name}"]'.encode(), [], None, [], False)


async def until_cancelled(work: "asyncio.Task[None]") -> None:
    await settle(50)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work


async def test_an_emit_whose_caller_gives_up_is_taken_back_and_a_change_of_a_room_is_not(bench: Bench) -> None:
    bench.appender.full = {"a", "b"}

    async def say() -> None:
        landing = Landing()
        landing.put(bench.outbox, ["a", "b"], emit("first"), 10)
        await settle()  # they are on their way
        landing.put(bench.outbox, ["a", "b"], emit("second"), 10)
        landing.put(bench.outbox, ["a"], CloseRoom("/", "lobby"), 0)
        await landing.landed()

    await until_cancelled(asyncio.create_task(say()))
    assert bench.counters.commands_dropped["taken_back"] == 2
    assert bench.outbox.waiting == 3


async def test_several_commands_are_waited_for_together_and_taken_back_together(bench: Bench) -> None:
    bench.appender.gate.clear()
    bench.put("a", "before")
    await settle()

    async def say() -> None:
        with landing_as_one() as landing:
            assert landing_together() is landing
            landing.put(bench.outbox, ["a"], emit("one"), 10)
            landing.put(bench.outbox, ["a"], emit("two"), 10)
            await asyncio.Event().wait()  # something else, which takes too long

    await until_cancelled(asyncio.create_task(say()))
    assert landing_together() is None
    assert bench.counters.commands_dropped["taken_back"] == 2
    bench.appender.gate.set()
    await bench.outbox.emptied()
    assert bench.appender.arrived["a"] == ["before"]
