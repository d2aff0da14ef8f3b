"""Requests with an idempotency key: once each, whatever Redis and the callers do."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from app_node.api.desk import Answer
from app_node.api.once import Once
from app_node.api.problems import Problem
from sio_cluster.node.retry import Retry
from sio_cluster.streams.redis.outcomes import Outcomes
from sio_cluster.testing.configs import config_of
from sio_cluster.testing.valkey import Valkey, start_valkey

from .conftest import SHOP, World, close_world, open_world

pytestmark = pytest.mark.slow


async def test_a_request_that_is_sent_again_is_answered_as_before(world: World) -> None:
    body = {"event": "e", "data": 1, "idempotency_key": "k1"}
    first = await world.post("emit", body)
    again = await world.post("emit", body)
    by_header = await world.post("emit", body, **{"Idempotency-Key": "k1"})
    assert first.status_code == again.status_code == by_header.status_code == 200
    assert first.json() == again.json() == by_header.json()
    assert await world.packets() == ['2["e",1]']


async def test_the_header_alone_does_it_and_each_caller_has_keys_of_its_own(world: World) -> None:
    body = {"event": "e", "namespace": "/shop"}
    for key in ("admin-key-0123456789", SHOP, SHOP):
        assert (await world.post("emit", body, key, **{"Idempotency-Key": "k1"})).status_code == 200
    assert len(await world.packets()) == 2


async def test_an_error_that_is_an_outcome_is_kept_too(world: World) -> None:
    body = {"sid": "io9-aaaaaa.AAAAAAAAAAAAAAAA", "room": "a", "idempotency_key": "k1"}
    answers = [await world.post("enter_room", body) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert answers[0].json() == answers[1].json()


async def test_where_nothing_was_done_the_key_is_free_again(world: World) -> None:
    """During an upgrade a node is too old. Sent again after it, the request is carried out."""
    await world.bus.registry.register_io_node("io2-aaaaaa", {"level": "1"})
    body = {"event": "e", "except_room": "a", "idempotency_key": "k1"}
    for _ in range(2):
        refused = await world.post("emit", body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "nodes_too_old")
    await world.bus.registry.unregister_io_node("io2-aaaaaa")
    assert [(await world.post("emit", body)).status_code for _ in range(2)] == [200, 200]
    assert await world.packets() == ['2["e"]']


async def test_a_batch_is_one_request(world: World) -> None:
    commands = [{"verb": "emit", "event": "e", "data": number} for number in range(3)]
    for _ in range(2):
        done = await world.post("batch", {"commands": commands, "idempotency_key": "k1"})
        assert done.json() == {"result": [{"result": None}] * 3}
    assert len(await world.packets()) == 3


async def test_a_key_stands_for_one_request(world: World) -> None:
    await world.post("emit", {"event": "e", "idempotency_key": "k1"})
    for verb, body in [("emit", {"event": "other"}), ("close_room", {"room": "a"})]:
        reused = await world.post(verb, {**body, "idempotency_key": "k1"})
        assert (reused.status_code, reused.json()["error"]["code"]) == (409, "key_reused")
    both = await world.post("emit", {"event": "e", "idempotency_key": "k1"}, **{"Idempotency-Key": "k2"})
    assert (both.status_code, both.json()["error"]["field"]) == (400, "idempotency_key")
    assert await world.packets() == ['2["e"]']


async def test_another_process_says_that_it_is_under_way(world: World) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def slowly() -> Answer:
        begun.set()
        await go.wait()
        return Answer(200, b"{}")

    def once(owner: str) -> Once:
        outcomes = Outcomes(world.bus.connections, world.bus.keys)
        return Once(outcomes, owner=owner, wait_s=5, max_bytes=1000, retry=Retry("test", Counter()))

    one, other = once("one"), once("other")
    first = asyncio.create_task(one.answer("me", "k", "asked", 10, slowly))
    await begun.wait()
    with pytest.raises(Problem, match="another process has begun"):
        await other.answer("me", "k", "asked", 10, _never)
    with pytest.raises(Problem, match="another request"):
        await other.answer("me", "k", "else", 10, _never)
    with pytest.raises(Problem, match="too many"):
        await one.answer("me", "k2", "asked", 1000, _never)
    go.set()
    assert await first == await other.answer("me", "k", "asked", 10, _never) == Answer(200, b"{}")


async def test_one_that_died_between_claim_and_outcome_is_never_carried_out_again(world: World) -> None:
    outcomes = Outcomes(world.bus.connections, world.bus.keys)
    once = Once(outcomes, owner="a", wait_s=5, max_bytes=1000, retry=Retry("test", Counter()))

    async def fail() -> Answer:
        raise OSError("a defect")

    with pytest.raises(OSError, match="a defect"):
        await once.answer("me", "k", "asked", 10, fail)
    for _ in range(2):
        with pytest.raises(Problem, match="free 5 minutes after"):
            await once.answer("me", "k", "asked", 10, _never)


async def _never() -> Answer:
    raise AssertionError("carried out twice")


# --- Redis is stalled


@pytest.fixture
def stalled() -> Iterator[Valkey]:
    with start_valkey() as server:
        yield server


@pytest.fixture
async def worlds(stalled: Valkey, tmp_path: Path) -> AsyncIterator[list[World]]:
    """Two processes that serve the API, as far as Redis can tell."""
    config = config_of(REDIS_URL=stalled.url, API_TIMEOUT_MS=300)
    worlds = [await open_world(config, tmp_path) for _ in range(2)]
    for world in worlds:
        await world.sio.node.open_callbacks()
    yield worlds
    stalled.resume()
    for world in worlds:
        await close_world(world)


async def test_without_a_key_a_request_that_gave_up_leaves_nothing_behind(worlds: list[World], stalled: Valkey) -> None:
    world = worlds[0]
    assert (await world.post("emit", {"event": "before"})).status_code == 200
    stalled.pause()
    late = await asyncio.gather(*[world.post("emit", {"event": "late", "data": number}) for number in range(20)])
    again = await asyncio.gather(*[world.post("emit", {"event": "again", "data": number}) for number in range(20)])
    assert {answer.status_code for answer in (*late, *again)} == {503}
    assert {answer.json()["error"]["code"] for answer in late} == {"unavailable"}
    assert late[0].headers["retry-after"] == "1"
    stalled.resume()
    while (await world.post("emit", {"event": "after"})).status_code != 200:
        pass
    packets = await world.packets()
    assert not [packet for packet in packets if "again" in packet]  # the first ones may have been on their way


@pytest.mark.timeout(120)
async def test_a_retry_storm_with_redis_stalled_carries_each_key_out_once(worlds: list[World], stalled: Valkey) -> None:
    """60 callers, each with a key, send to either process until they hear that it is done. Redis stalls meanwhile, now
    and then for so long that connections are given up."""
    chance = random.Random(7)
    tries = Counter[int]()

    async def caller(number: int) -> None:
        body = {"event": "e", "data": number, "idempotency_key": f"k{number}"}
        await asyncio.sleep(chance.random() * 3)
        while True:
            tries[number] += 1
            answer = await chance.choice(worlds).post("emit", body)
            if answer.status_code == 200:
                return
            assert answer.json()["error"]["code"] in ("unavailable", "in_progress")
            await asyncio.sleep(0.1 + 0.3 * chance.random())

    async def trouble() -> None:
        for stall_s in (0.2, 4.0, 0.5, 4.0):
            await asyncio.sleep(0.5)
            stalled.pause()
            await asyncio.sleep(stall_s)
            stalled.resume()

    await asyncio.gather(trouble(), *[caller(number) for number in range(60)])
    assert sum(tries.values()) > 120
    for world in worlds:  # each emit goes to both io-nodes, once
        assert Counter(await world.packets()) == Counter(f'2["e",{number}]' for number in range(60))
