"""Lane entries leave their lanes with their output. The appender is played by the test."""

import asyncio

import pytest

from app_node.lanes.lane import Lane
from sio_cluster.protocol.errors import BusUnavailable
from sio_cluster.streams.api.appends import COMMIT_IDS
from sio_cluster.streams.api.leases import Lease

from .benches import Bench, lane, settle


async def until_idle(lane: Lane) -> None:
    async with asyncio.timeout(5):
        await lane.idle.wait()


async def test_an_entry_goes_with_its_last_output(bench: Bench) -> None:
    its, appender = lane(), bench.appender
    entry = bench.entry(its, 1)
    bench.put("a", "first", entry)
    bench.put("b", "second", entry)
    entry.end()
    await until_idle(its)
    assert appender.tries == [[("a", 1), ("b", 1)]]
    assert appender.committed == [([b"1-0"], 10)]
    assert bench.counters.entries_committed == 1


async def test_one_whose_handler_still_runs_stays(bench: Bench) -> None:
    its, appender = lane(), bench.appender
    entry = bench.entry(its, 1)
    bench.put("a", "first", entry)
    await bench.outbox.emptied()
    assert appender.committed == []
    bench.put("a", "last", entry)
    entry.end()
    await until_idle(its)
    assert appender.committed == [([b"1-0"], 10)]
    assert appender.tries == [[("a", 1)], [("a", 2)]]


async def test_entries_without_output_go_by_themselves(bench: Bench) -> None:
    its = lane()
    for number in range(1, 4):
        bench.entry(its, number).end()
    await until_idle(its)
    assert bench.appender.committed == [([b"1-0", b"2-0", b"3-0"], 30)]
    assert bench.appender.tries == [[]]


async def test_one_whose_output_found_no_room_stays(bench: Bench) -> None:
    its, appender = lane(), bench.appender
    entry, done = bench.entry(its, 1), bench.entry(its, 2)
    appender.full.add("a")
    bench.put("a", "waits", entry)
    bench.put("b", "goes", done)
    entry.end()
    done.end()
    async with asyncio.timeout(5):
        while not appender.committed:  # nobody tells
            await asyncio.sleep(0.001)
    assert appender.committed == [([b"2-0"], 10)]
    assert its.in_work == {b"1-0"}
    appender.full.clear()
    await until_idle(its)
    assert appender.committed == [([b"2-0"], 10), ([b"1-0"], 10)]


@pytest.mark.parametrize("after", [False, True], ids=["the try was lost", "the answer was lost"])
async def test_a_flush_is_tried_again_with_what_it_commits(bench: Bench, after: bool) -> None:
    its, appender = lane(), bench.appender
    done, ending = bench.entry(its, 1), bench.entry(its, 2)
    if after:
        appender.lose_reply = True
    else:
        appender.troubles = [BusUnavailable("away")]
    bench.put("a", "output", ending)
    done.end()
    ending.end()
    await until_idle(its)
    assert appender.committed == [([b"1-0", b"2-0"], 20)] * (2 if after else 1)
    assert appender.arrived == {"a": ["output"]}
    assert bench.counters.entries_committed == 2


async def test_with_a_lost_lease_the_others_go_on(bench: Bench) -> None:
    """What the handlers of the lost lane said is not written, since the next holder's handlers say it again."""
    lost, other, appender = lane(), Lane(Lease(4, "app", 7), float("inf"), lambda: 0.0), bench.appender
    appender.lost_leases = [lost.lease]
    entries = [bench.entry(lost, 1), bench.entry(other, 2)]
    bench.put("a", "of the lost lane", entries[0])
    bench.put("a", "of the other", entries[1])
    for entry in entries:
        entry.end()
    await until_idle(other)
    assert bench.lost == [lost]
    assert appender.arrived == {"a": ["of the other"]}
    assert appender.committed == [([b"2-0"], 10)]
    assert bench.counters.commands_dropped["lane_lost"] == 1


async def test_a_redis_out_of_memory_is_relieved_at_once(bench: Bench) -> None:
    """What is done is removed while appends wait."""
    its, appender = lane(), bench.appender
    appender.out_of_memory = True
    bench.put("a", "of nobody's handler")
    async with asyncio.timeout(5):
        while not appender.tries:  # nobody tells
            await asyncio.sleep(0)
    began = asyncio.get_running_loop().time()
    bench.entry(its, 1).end()
    await until_idle(its)
    assert asyncio.get_running_loop().time() - began < 0.05
    assert appender.committed == [([b"1-0"], 10)]
    assert appender.arrived == {}


async def test_very_many_go_by_and_by(bench: Bench) -> None:
    its = lane()
    for number in range(1, COMMIT_IDS + 3):
        bench.entry(its, number).end()
    await until_idle(its)
    assert [len(ids) for ids, _ in bench.appender.committed] == [COMMIT_IDS, 2]


async def test_those_of_a_lane_that_was_lost_stay(bench: Bench) -> None:
    its = lane()
    bench.appender.gate.clear()
    entry = bench.entry(its, 1)
    its.lost = True
    entry.end()
    bench.appender.gate.set()
    await settle()
    assert bench.appender.committed == []
    assert its.in_work == {b"1-0"}
