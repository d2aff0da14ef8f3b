"""An event that is done is not handled again, whatever its lane entry waits for when the app-node dies."""

import asyncio
from typing import Any

import pytest

from app_node.counters import EVENT_HANDLED
from app_node.lanes.progress import EntryProgress
from sio_cluster.protocol.messages import Ack, Emit, EventReceived

pytestmark = pytest.mark.slow


class Pair:
    """Two app-nodes, one after the other. Handlers of the first that are told to wait never end."""

    def __init__(self, stage: Any, io: Any, kill: Any) -> None:
        self.stage, self.io, self._kill = stage, io, kill
        self.calls: list[tuple[str, str, int]] = []
        self.first = self._app("first")
        self.second: Any = None

    async def second_takes_over(self) -> None:
        await self._kill(self.first)
        self.second = self._app("second")
        await self.second.start()

    def calls_of(self, name: str) -> list[int]:
        return [number for whose, event, number in self.calls if whose == name and event == "echo"]

    def _app(self, name: str) -> Any:
        sio = self.stage.server()

        @sio.event
        async def echo(sid: str, number: int) -> int:
            self.calls.append((name, "echo", number))
            await sio.emit("heard", number, to=sid)
            return number

        @sio.event
        async def slow(sid: str, number: int) -> int:
            self.calls.append((name, "slow", number))
            await sio.emit("begun", number, to=sid)
            if name == "first":
                await asyncio.Event().wait()
            return number

        @sio.event
        async def enter(sid: str, number: int) -> int:
            self.calls.append((name, "enter", number))
            await sio.enter_room(sid, f"room {number}")
            return number

        return sio


@pytest.fixture
async def pair(stage: Any, kill: Any) -> Pair:
    io = await stage.io_node()
    pair = Pair(stage, io, kill)
    await pair.first.start()
    return pair


async def test_events_beside_a_slow_one_are_not_handled_again(pair: Pair) -> None:
    """In one entry, with other events of the same client, and of another one in the same lane."""
    io, stage = pair.io, pair.stage
    sid = await io.connect()
    await io.send(
        stage.event(sid, "echo", 1, ack_id=1),
        stage.event(sid, "slow", 2, ack_id=2),
        stage.event(sid, "echo", 3, ack_id=3),
        stage.event(sid, "echo", 4, ack_id=4),
    )
    await io.wait(3, Ack)
    await pair.second_takes_over()
    await io.wait(4, Ack)
    await io.settle()
    assert pair.calls_of("first") == [1, 3, 4]
    assert [call for call in pair.calls if call[0] == "second"] == [("second", "slow", 2)]
    assert sorted(command.packet for command in await io.wait(4, Ack)) == [b"31[1]", b"32[2]", b"33[3]", b"34[4]"]
    assert len([command for command in io.commands if isinstance(command, Emit)]) == 5  # "begun" came twice
    counters = pair.second.node.counters
    assert (counters.facts_done_before, counters.facts_read_again) == (3, 1)


async def test_an_event_that_changes_a_record_is_not_done_before_that_is_written(pair: Pair) -> None:
    """If the process dies in between, it is handled again, although its answer was there."""
    io, stage = pair.io, pair.stage
    sid = await io.connect()
    written, update = asyncio.Event(), pair.first.node.bus.records.update

    async def late(*arguments: Any) -> Any:
        await written.wait()
        return await update(*arguments)

    pair.first.node.bus.records.update = late
    await io.send(stage.event(sid, "enter", 1, ack_id=1), stage.event(sid, "slow", 2, ack_id=2))
    await io.wait(1, Ack)
    await pair.second_takes_over()
    await io.wait(3, Ack)
    await io.settle()
    assert ("second", "enter", 1) in pair.calls
    record = await io.bus.records.load(sid)
    assert record is not None
    assert record.rooms == {"room 1"}


async def test_who_loses_and_regains_a_lane_goes_on_behind_what_is_done(pair: Pair) -> None:
    io, stage = pair.io, pair.stage
    sid = await io.connect()
    await io.send(stage.event(sid, "echo", 1, ack_id=1), stage.event(sid, "slow", 2, ack_id=2))
    await io.wait(1, Ack)
    keeper = pair.first.node.keeper
    lane = next(lane for lane in keeper.held.values() if lane.in_work)
    keeper.lose(lane)
    await stage.until(lambda: ("first", "slow", 2) in pair.calls[2:], 15)
    assert pair.calls_of("first") == [1]


def test_what_is_left_of_an_entry() -> None:
    facts = [EventReceived("a.b", number, b"[]") for number in range(3)]
    lane: Any = None
    progress = EntryProgress(lane, b"1-0", False, lambda _: None, commits=True)
    progress.begin_facts(facts, [0, 4, 9])
    progress.end()  # the reader's own share
    assert progress.ended_after(0) == []
    progress.begin()  # a batch of commands
    progress.end_fact(facts[2], EVENT_HANDLED)
    assert (progress.ended_after(0), progress.ended_after(1), progress.ended_after(2)) == ([], [9], [])
    progress.end_fact(facts[0], EVENT_HANDLED)
    assert (progress.ended_after(1), progress.ends_after(1)) == ([9, 0], False)
    progress.end_fact(facts[1], EVENT_HANDLED)
    assert (progress.ended_after(1), progress.ends_after(1)) == ([], True)
