"""Virtual time: loops that are stepped by hand, and a network that loses what it is told to lose."""

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import pytest

from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.testing.simulation import Network, Outage, SimulatedConnection, SteppedLoop, VirtualClock


class World:
    """Two processes, each with a connection, and a log of what Redis did."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.network = Network(self.clock, random.Random(1))
        self.loops = [SteppedLoop(self.clock, offset_s=1000.0 * number) for number in range(2)]
        self.connections = [self.network.connection(loop, f"p{number}") for number, loop in enumerate(self.loops)]
        self.done: list[str] = []
        self.outcomes: dict[str, Any] = {}

    def ask(self, process: int, what: str, patience_s: float | None = None) -> None:
        self.loops[process].loop.create_task(self._ask(self.connections[process], what, patience_s))
        self.loops[process].woken = True

    async def _ask(self, connection: SimulatedConnection, what: str, patience_s: float | None) -> None:
        def effect() -> str | None:
            if patience_s is not None and not self.done:
                return None
            self.done.append(what)
            return f"{what} done"

        try:
            self.outcomes[what] = await connection.call(what, (), effect, patience_s)
        except BusUnavailable as error:
            self.outcomes[what] = error

    def run(self, seconds: float, *, paused: int | None = None) -> None:
        end = self.clock.now + seconds
        while True:
            for number, loop in enumerate(self.loops):
                if number != paused and loop.is_awake:
                    loop.turn()
            due = [loop.due_at for number, loop in enumerate(self.loops) if number != paused]
            moments = [moment for moment in (*due, self.network.next_at) if moment is not None and moment <= end]
            if not moments:
                break
            self.clock.now = max(self.clock.now, min(moments))
            self.network.fire()
        self.clock.now = end


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    for loop in world.loops:
        loop.close()


def test_time_passes_only_when_told(world: World) -> None:
    rang: list[float] = []

    async def ring() -> None:
        await asyncio.sleep(3)
        rang.append(world.loops[1].loop.time())

    began = world.loops[1].time()
    world.loops[1].loop.create_task(ring())
    world.run(2.5)
    assert rang == []
    world.run(1)
    assert rang == [began + 3]


def test_a_round_trip_takes_time_and_stays_in_order(world: World) -> None:
    for number in range(20):
        world.ask(0, f"{number:02d}")
    assert world.done == []
    world.run(1)
    assert world.done == sorted(world.done)
    assert len(world.done) == len(world.outcomes) == 20


def test_a_paused_process_has_its_effects_and_sees_no_reply(world: World) -> None:
    world.ask(0, "a")
    world.loops[0].turn()
    world.run(5, paused=0)
    assert world.done == ["a"]
    assert world.outcomes == {}
    world.run(0)
    assert world.outcomes == {"a": "a done"}


def test_a_lost_connection_fails_what_waits_and_keeps_a_prefix(world: World) -> None:
    for number in range(10):
        world.ask(0, f"{number}")
    world.loops[0].turn()
    world.connections[0].reset()
    world.ask(0, "after")
    world.run(5)
    assert all(isinstance(world.outcomes[f"{number}"], BusUnavailable) for number in range(10))
    assert world.outcomes["after"] == "after done"
    arrived = [what for what in world.done if what != "after"]
    assert arrived == [f"{number}" for number in range(len(arrived))]


def test_a_stalled_redis_does_all_of_it_later(world: World) -> None:
    world.network.become(Outage.STALLED)
    world.ask(0, "a")
    world.ask(1, "b")
    world.run(0.5)
    assert world.done == []
    world.network.become(Outage.NONE)
    world.run(0.5)
    assert sorted(world.done) == ["a", "b"]
    assert world.outcomes == {"a": "a done", "b": "b done"}


def test_an_answer_that_does_not_come_is_given_up(world: World) -> None:
    world.network.become(Outage.STALLED)
    world.ask(0, "a")
    world.run(2)
    assert isinstance(world.outcomes["a"], BusUnavailable)


def test_a_redis_that_is_gone(world: World) -> None:
    world.network.become(Outage.GONE)
    world.ask(0, "a")
    world.run(0.1)
    assert isinstance(world.outcomes["a"], BusUnavailable)
    assert world.done == []


def test_a_blocking_read_waits_for_something(world: World) -> None:
    world.ask(0, "read", patience_s=5.0)
    world.run(1)
    assert world.outcomes == {}
    world.ask(1, "write")
    world.run(1)
    assert world.outcomes == {"write": "write done", "read": "read done"}


def test_a_blocking_read_runs_into_its_time_out(world: World) -> None:
    world.ask(0, "read", patience_s=1.0)
    world.run(1.5)
    assert world.outcomes == {"read": []}


def test_a_dead_process_sends_nothing(world: World) -> None:
    world.connections[0].close()
    world.ask(0, "a")
    world.run(5)
    assert world.done == []


def test_a_busy_loop_is_told(world: World) -> None:
    async def spin() -> None:
        while True:  # that is the defect
            await asyncio.sleep(0)

    world.loops[0].loop.create_task(spin())
    with pytest.raises(RuntimeError, match="busy loop"):
        world.loops[0].turn()
