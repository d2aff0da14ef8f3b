"""The outbox alone: retries, holding, backpressure, dropping. The appender is played by the test."""

import asyncio

import pytest

from app_node.lanes.progress import EntryProgress
from sio_cluster.protocol.errors import BusRefused, BusUnavailable

from .benches import Bench, lane, settle


async def test_a_tick_leaves_in_one_entry_per_inbox(bench: Bench) -> None:
    for number in range(10):
        bench.put("a", f"a{number}")
        bench.put("b", f"b{number}")
    await bench.outbox.emptied()
    assert bench.appender.tries == [[("a", 1), ("b", 1)]]
    assert bench.appender.arrived == {"a": [f"a{n}" for n in range(10)], "b": [f"b{n}" for n in range(10)]}


async def test_one_flush_in_flight_and_what_gathers_meanwhile_goes_together(bench: Bench) -> None:
    bench.appender.gate.clear()
    bench.put("a", "1")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    bench.put("a", "2")
    bench.put("a", "3")
    bench.appender.gate.set()
    await bench.outbox.emptied()
    assert bench.appender.tries == [[("a", 1)], [("a", 2)]]
    assert bench.appender.arrived["a"] == ["1", "2", "3"]


@pytest.mark.parametrize("trouble", [BusUnavailable("away"), BusRefused("OOM")])
async def test_retry_keeps_the_sequence_number(bench: Bench, trouble: Exception) -> None:
    bench.appender.troubles = [trouble, trouble]
    batch = bench.put("a", "1")
    assert await batch.landed()
    assert bench.appender.tries == [[("a", 1)]] * 3
    assert bench.appender.arrived["a"] == ["1"]


async def test_a_lost_reply_makes_no_duplicate(bench: Bench) -> None:
    bench.appender.lose_reply = True
    bench.put("a", "1")
    await settle()
    bench.put("a", "2")
    await bench.outbox.emptied()
    assert bench.appender.arrived["a"] == ["1", "2"]
    assert [tries[0] for tries in bench.appender.tries] == [("a", 1), ("a", 1), ("a", 2)]


async def test_a_full_inbox_holds_only_itself_up(bench: Bench) -> None:
    bench.appender.full = {"a"}
    held = bench.put("a", "1")
    await bench.put("b", "1").landed()
    bench.put("a", "2")
    await bench.put("b", "2").landed()
    bench.appender.full.clear()
    assert await held.landed()
    await bench.outbox.emptied()
    assert bench.appender.arrived == {"a": ["1", "2"], "b": ["1", "2"]}


async def test_a_stop_in_the_moment_of_an_emit_is_heard() -> None:
    """While one inbox is held. In Python 3.11, `asyncio.wait_for` forgets a cancellation if it has its result."""
    bench = Bench()
    bench.appender.full = {"a"}
    task = asyncio.create_task(bench.outbox.run())
    bench.put("a", "1")
    await settle()
    bench.put("b", "1")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=1)
    assert task.cancelled()


async def test_the_queue_of_a_node_that_is_gone_is_dropped_and_counted(bench: Bench) -> None:
    bench.appender.full = {"gone"}
    batches = [bench.put("gone", str(number)) for number in range(5)]
    assert [await batch.landed() for batch in batches] == [False] * 5
    assert bench.counters.commands_dropped["node_gone"] == 5
    assert bench.outbox.has_room


async def test_a_node_that_comes_back_never_sees_a_sequence_number_twice(bench: Bench) -> None:
    await bench.put("c", "1").landed()
    await bench.put("b", "1").landed()
    await bench.outbox.emptied()
    assert await bench.put("c", "2").landed()
    assert bench.appender.arrived["c"] == ["1", "2"]


async def test_backpressure(bench: Bench) -> None:
    bench.appender.gate.clear()
    while bench.outbox.has_room:
        bench.put("a", "x", size=200)
    waiting = asyncio.ensure_future(bench.outbox.room(200))
    await settle()
    assert not waiting.done()
    bench.appender.gate.set()
    await asyncio.wait_for(waiting, 2)


async def emit(bench: Bench, name: str) -> None:
    """As `Emitter` does. Two of these fill the outbox."""
    if not bench.outbox.has_room:
        await bench.outbox.room(500)
    bench.put("a", name, size=500)


async def test_who_waits_for_room_speaks_before_who_comes_later(bench: Bench) -> None:
    bench.appender.gate.clear()
    emits = [asyncio.create_task(emit(bench, str(number))) for number in range(9)]
    await settle()
    assert bench.outbox.waiting == 2
    for number in range(9, 20):
        bench.appender.gate.set()
        emits.append(asyncio.create_task(emit(bench, str(number))))  # begins just when there is room again
        await asyncio.sleep(0)
        bench.appender.gate.clear()
        await asyncio.sleep(0)
    bench.appender.gate.set()
    await asyncio.wait_for(asyncio.gather(*emits), 5)
    await bench.outbox.emptied()
    assert bench.appender.arrived == {"a": [str(number) for number in range(20)]}


@pytest.mark.parametrize("when", ["before its turn", "in its turn"])
async def test_who_gives_up_waiting_for_room_holds_nobody_up(bench: Bench, when: str) -> None:
    bench.appender.gate.clear()
    emits = [asyncio.create_task(emit(bench, str(number))) for number in range(5)]
    await settle()
    if when == "before its turn":
        emits[2].cancel()
    bench.appender.gate.set()
    while bench.outbox.waiting:
        await asyncio.sleep(0)
    emits[2].cancel()
    await asyncio.wait_for(asyncio.wait(emits), 5)
    await bench.outbox.emptied()
    assert emits[2].cancelled()
    assert bench.appender.arrived == {"a": ["0", "1", "3", "4"]}
    assert bench.outbox.has_room


async def test_an_entry_ends_when_its_commands_have_landed(bench: Bench) -> None:
    done: list[EntryProgress] = []
    progress = EntryProgress(lane(), b"1-0", False, done.append)
    bench.appender.gate.clear()
    bench.put("a", "1", progress)
    bench.put("a", "2", progress)
    bench.put("b", "1", progress)
    progress.end()
    await settle()
    assert not done
    bench.appender.gate.set()
    await bench.outbox.emptied()
    assert done == [progress]


async def test_commands_of_a_lost_lane_are_not_sent(bench: Bench) -> None:
    """A process that was stopped (SIGSTOP) finds its lease run out before it sends anything."""
    now = [0.0]
    lost = lane(deadline=5.0, clock=lambda: now[0])
    done: list[EntryProgress] = []
    bench.appender.gate.clear()
    bench.put("a", "before")
    await settle()  # is in flight
    bench.put("a", "lost", EntryProgress(lost, b"1-0", False, done.append))
    bench.put("a", "other", EntryProgress(lane(), b"2-0", False, done.append))
    now[0] = 6.0
    bench.appender.gate.set()
    await bench.outbox.emptied()
    assert bench.appender.arrived["a"] == ["before", "other"]
    assert bench.counters.commands_dropped["lane_lost"] == 1
    assert lost.lost


async def test_nothing_waits_once_all_was_of_a_lost_lane(bench: Bench) -> None:
    """A clean stop waits for that."""
    lost = lane()
    lost.lost = True
    batch = bench.put("a", "1", EntryProgress(lost, b"1-0", False, lambda _: None))
    assert not await asyncio.wait_for(batch.landed(), 2)
    await asyncio.wait_for(bench.outbox.emptied(), 2)
    assert bench.appender.tries == []


# --- barred: another app-node took over a lane of ours ----------------------------------------------------------------


async def test_what_was_in_flight_for_a_lost_lane_is_barred_and_the_rest_made_anew(bench: Bench) -> None:
    """The process was paused with an append on its way; when it arrives, the lane has another holder."""
    now = [0.0]
    progress = EntryProgress(lane(5.0, lambda: now[0]), b"1-0", False, lambda _: None)
    bench.appender.gate.clear()
    bench.put("a", "of the lost lane", progress)
    landed = bench.put("a", "of a background task")
    await asyncio.sleep(0)
    bench.put("a", "later, of the lost lane", progress)
    bench.put("a", "later, of a background task")
    now[0] = 9.0
    bench.appender.barred = {"a": 1}
    bench.appender.gate.set()
    await bench.outbox.emptied()
    assert await landed.landed()
    assert bench.appender.arrived == {"a": ["of a background task", "later, of a background task"]}
    assert bench.counters.commands_dropped["lane_lost"] == 2
    assert bench.counters.commands_written == 2
    assert bench.outbox.emitted == 4
    assert bench.outbox.waiting == 0


async def test_barred_again_and_again(bench: Bench) -> None:
    bench.appender.barred = {"a": 3}
    bench.put("a", "1")
    await bench.outbox.emptied()
    bench.appender.barred = {"a": 4, "b": 1}
    bench.appender.troubles = [BusUnavailable("x"), BusRefused("OOM")]
    bench.put("a", "2")
    bench.put("b", "1")
    await bench.outbox.emptied()
    assert bench.appender.arrived == {"a": ["1", "2"], "b": ["1"]}


async def test_an_append_that_landed_before_its_sender_was_barred_is_not_sent_twice(bench: Bench) -> None:
    bench.appender.lose_reply = True
    bench.put("a", "1")
    bench.appender.barred = {}
    while bench.appender.lose_reply:
        await asyncio.sleep(0)
    bench.appender.barred = {"a": 1}
    bench.put("a", "2")
    await bench.outbox.emptied()
    assert bench.appender.arrived == {"a": ["1", "2"]}


async def test_a_retry_leaves_out_what_a_lost_lane_said(bench: Bench) -> None:
    """A process that was paused for so long that nobody knows any more that it was barred."""
    now = [0.0]
    lost = lane(5.0, lambda: now[0])
    bench.appender.gate.clear()
    gone = bench.put("a", "of the lost lane", EntryProgress(lost, b"1-0", False, lambda _: None))
    bench.put("b", "of the lost lane, too", EntryProgress(lost, b"1-0", False, lambda _: None))
    kept = bench.put("b", "of a background task")
    await settle()
    bench.appender.troubles = [BusUnavailable("lost")]
    now[0] = 9.0
    bench.appender.gate.set()
    assert not await asyncio.wait_for(gone.landed(), 2)
    assert await asyncio.wait_for(kept.landed(), 2)
    bench.put("a", "later")
    await bench.outbox.emptied()
    assert bench.appender.arrived == {"a": ["later"], "b": ["of a background task"]}
    assert bench.appender.last_seq == {"a": 2, "b": 1}  # 1 may have landed at a, who takes no number twice
    assert bench.counters.commands_dropped["lane_lost"] == 2
    assert bench.counters.commands_written == 2


# --- Redis out of memory: lane entries in work must end all the same --------------------------------------------------


async def test_a_full_redis_takes_what_is_in_front_of_what_handlers_say(bench: Bench) -> None:
    bench.appender.out_of_memory = True
    bench.appender.gate.clear()
    bench.put("a", "of a background task")
    news = bench.put("b", "of a background task")
    await settle()
    said = bench.put("a", "of a handler", EntryProgress(lane(), b"1-0", False, lambda _: None))
    bench.appender.gate.set()
    assert await asyncio.wait_for(said.landed(), 2)
    assert bench.appender.arrived == {"a": ["of a background task", "of a handler"]}
    bench.appender.out_of_memory = False
    assert await asyncio.wait_for(news.landed(), 5)


async def test_a_full_redis_makes_room_for_a_handler_that_waits_to_speak(bench: Bench) -> None:
    bench.appender.out_of_memory = True
    while bench.outbox.has_room:
        bench.put("a", "of a background task", size=200)
    waiting = asyncio.create_task(bench.outbox.room(200))
    await settle()
    assert not waiting.done()
    await asyncio.wait_for(bench.outbox.room(200, in_handler=True), 2)
    await asyncio.wait_for(waiting, 2)


async def test_what_is_taken_back_never_leaves_unless_it_is_on_its_way(bench: Bench) -> None:
    bench.appender.gate.clear()
    flying = bench.put("a", "flying")
    await settle()
    waiting = bench.put("a", "waiting")
    bench.put("a", "kept")
    commands = [command for batch in (flying, waiting) for command, _ in batch.items][:2]
    bench.outbox.take_back("a", commands)
    bench.outbox.take_back("nobody", commands)
    bench.appender.gate.set()
    await bench.outbox.emptied()
    assert bench.appender.arrived["a"] == ["flying", "kept"]
    assert bench.counters.commands_dropped["taken_back"] == 1
    assert bench.outbox.emitted == bench.counters.commands_written + 1
    assert bench.outbox.has_room
