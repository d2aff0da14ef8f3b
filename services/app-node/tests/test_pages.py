"""What waits in a lane is read in parts, however much it is."""

import asyncio
from typing import Any

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.messages import Ack
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.wire import Wire

INFLIGHT_BYTES = 200_000
EVENT_BYTES = 20_000
SLACK_BYTES = 10_000
"""Of an answer: what is in it besides the events."""


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of all answers that Redis gives from now on, in bytes."""
    sizes: list[int] = []
    ask = Wire.ask

    def measure(answer: asyncio.Future[list[Any]]) -> None:
        if not answer.cancelled() and answer.exception() is None:
            sizes.append(_size(answer.result()))

    def measured(wire: Wire, packed: bytes, count: int, timeout_s: float) -> asyncio.Future[list[Any]]:
        future = ask(wire, packed, count, timeout_s)
        future.add_done_callback(measure)
        return future

    monkeypatch.setattr(Wire, "ask", measured)
    return sizes


@pytest.mark.parametrize(
    ("deaths", "events"), [(0, 500), (1, 500), (2, 100)], ids=["10 MB of new ones", "10 MB", "2 MB of suspects"]
)
async def test_a_takeover_reads_no_more_at_a_time_than_may_be_in_work(
    make_stage: Any, redis_config: Config, answers: list[int], deaths: int, events: int
) -> None:
    settings = {"lanes": 1, "heartbeat_ms": 100, "lease_ms": 2_000, "max_inflight_bytes": INFLIGHT_BYTES}
    config = Config(REDIS_URL=redis_config.redis_url, REDIS_PREFIX=redis_config.redis_prefix, **settings)
    stage = make_stage(config, RedisBus, None)
    seen: list[int] = []
    first, io = stage.server(), await stage.io_node()
    first.on("connect", lambda *_: None)
    await first.start()
    sid = await io.connect()
    await first.shutdown()
    for number in range(events):
        await io.send(stage.event(sid, "note", number, "x" * EVENT_BYTES, ack_id=number))
    for death in range(deaths):
        await _take_and_die(io.bus, f"app{death}-aaaaaa", events)
    answers.clear()

    second = stage.server()
    second.on("note", lambda _, number, text: seen.append(number))
    await second.start()
    await io.wait(events, Ack, timeout_s=60)
    assert seen == list(range(events))
    await io.settle()
    assert max(answers) <= INFLIGHT_BYTES + SLACK_BYTES
    counters = second.node.counters
    assert (counters.facts_read, counters.facts_read_again) == ((0, events) if deaths else (events, 0))
    await stage.stop()


async def _take_and_die(bus: RedisBus, node_id: str, entries: int) -> None:
    """An app-node that was given all that the lane holds, and handled nothing."""
    while (lease := await bus.leases.acquire(0, node_id, 10_000)) is None:
        await asyncio.sleep(0.001)  # that of the one before runs out
    reader = bus.lane_reader(node_id, max_page_bytes=1_000_000_000)
    claimed = await reader.claim(0)
    given = len(claimed.entries)
    while claimed.rest is not None:
        claimed = await reader.claim_more(claimed.rest)
        given += len(claimed.entries)
    while given < entries:
        given += len(await reader.read([0], 0, 100))
    await bus.leases.renew([lease], 1)
    await reader.close()


def _size(reply: Any) -> int:
    """Bytes of an answer, in all its parts."""
    if isinstance(reply, list):
        return sum(map(_size, reply))
    return len(reply) if isinstance(reply, bytes) else 8
