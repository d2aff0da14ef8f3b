"""The stack with stand-ins for the nodes: start, routing by sid, restarts, changes, stop."""

import asyncio
import os
import signal
from typing import Any

import aiohttp
import psutil
import pytest

from sio_stack import Stack, StackError
from sio_stack.ready import answers_ping

pytestmark = pytest.mark.slow
lasting = pytest.mark.asyncio(loop_scope="module")
"""For tests of the stack that lasts."""


async def _get(stack: Stack, sid: str | None = None) -> tuple[int, dict[str, Any]]:
    """A new connection each time, as from another browser."""
    query = "EIO=4&transport=polling" + (f"&sid={sid}" if sid else "")
    async with aiohttp.ClientSession() as session, session.get(f"{stack.url}/socket.io/?{query}") as answer:
        return answer.status, await answer.json()


async def _sid_on(stack: Stack, name: str) -> str:
    for _ in range(50):
        _, answer = await _get(stack)
        if answer["node"].startswith(f"{name}-"):
            return str(answer["sid"])
    raise AssertionError(f"nginx gave {name} no session")


@lasting
async def test_requests_with_a_sid_reach_the_node_that_owns_it(lasting_stack):
    sids = [(await _get(lasting_stack))[1]["sid"] for _ in range(8)]
    assert {sid.split("-")[0] for sid in sids} == {"io1", "io2"}
    for sid in sids * 2:
        status, answer = await _get(lasting_stack, sid)
        assert status == 200
        assert sid.startswith(answer["node"] + ".")


@lasting
@pytest.mark.parametrize(
    "sid", ["io1-aaaaaa.AAAAAAAAAAAAAAAA", "io99-aaaaaa.AAAAAAAAAAAAAAAA", "garbage", "%00", "a" * 3000]
)
async def test_a_sid_that_nobody_owns_is_an_unknown_session(lasting_stack, sid):
    status, answer = await _get(lasting_stack, sid)
    assert (status, answer["code"]) == (400, 1)


async def test_a_session_of_a_dead_node_is_an_unknown_session_at_once(stack):
    sid = await _sid_on(stack, "io1")
    await stack.io_nodes[0].process.stop(signal.SIGKILL)
    async with asyncio.timeout(1):
        status, answer = await _get(stack, sid)
    assert (status, answer["code"]) == (400, 1)
    assert answer["node"].startswith("io2-")


async def test_new_sessions_avoid_a_dead_node(stack):
    await stack.io_nodes[1].process.stop(signal.SIGKILL)
    for _ in range(6):
        status, answer = await _get(stack)
        assert status == 200
        assert answer["node"].startswith("io1-")


@lasting
async def test_headers_tell_the_node_who_came_and_by_which_name(lasting_stack):
    async with aiohttp.ClientSession() as session, session.get(f"{lasting_stack.url}/page") as answer:
        headers = (await answer.json())["headers"]
    assert headers["X-Forwarded-For"] in ("127.0.0.1", "::1")
    assert headers["X-Forwarded-Proto"] == "http"
    assert headers["Host"] == headers["X-Forwarded-Host"] == lasting_stack.url.removeprefix("http://")


@lasting
async def test_an_oversized_body_is_judged_by_the_node(lasting_stack):
    sid = (await _get(lasting_stack))[1]["sid"]
    async with aiohttp.ClientSession() as session:
        url = f"{lasting_stack.url}/socket.io/?EIO=4&transport=polling&sid={sid}"
        async with session.post(url, data=b"x" * 9_000) as answer:
            assert (await answer.json())["bytes"] == 9_000
        async with session.post(url, data=b"x" * 1_100_000) as answer:
            assert answer.status == 413
            assert "nginx" not in await answer.text()


@pytest.mark.parametrize("part", ["io1", "app1", "valkey", "nginx"])
async def test_a_part_that_dies_is_restarted_and_that_is_said(stack, said, part):
    process = {
        "io1": stack.io_nodes[0].process,
        "app1": stack.app_nodes[0].process,
        "valkey": stack.valkey,
        "nginx": stack.nginx,
    }[part]
    old = process.pid
    os.kill(old, signal.SIGKILL)
    async with asyncio.timeout(15):
        assert await said.get() == "was killed (SIGKILL): starting it again in 0.2 s"
        assert (await said.get()).startswith("serves again")
    assert process.pid not in (0, old)
    assert process.restarts == 1
    assert {name for name, _ in stack.notices} == {part}
    assert (await _get(stack))[0] == 200


async def test_an_io_node_more_gets_clients_and_one_less_gets_none(stack):
    node = await stack.add_io_node()
    assert node.name == "io3"
    sid = await _sid_on(stack, "io3")
    assert (await _get(stack, sid))[0] == 200
    await stack.remove_io_node(0)
    assert {(await _get(stack))[1]["node"].split("-")[0] for _ in range(8)} == {"io2", "io3"}


async def test_an_app_node_is_stopped_for_good_and_another_started(stack):
    old = stack.app_nodes[0]
    await stack.stop_app_node(0, signal.SIGKILL)
    assert (old.pid, stack.app_nodes, stack.notices) == (0, [], [])
    assert (await stack.start_app_node()).name == "app2"


async def test_stop_leaves_nothing_running_and_nothing_behind(stack):
    processes = [psutil.Process(pid) for pid in [node.pid for node in (*stack.io_nodes, *stack.app_nodes)]]
    processes += [psutil.Process(stack.valkey.pid), *psutil.Process(stack.nginx.pid).children()]
    port = int(stack.redis_url.split(":")[2].removesuffix("/0"))
    assert await answers_ping(port)
    run_dir = stack._run_dir
    await stack.stop()
    _, alive = psutil.wait_procs(processes, timeout=5)
    assert alive == []
    assert not await answers_ping(port)
    assert not run_dir.exists()


async def test_a_part_that_does_not_come_up_stops_the_start_with_its_own_words(stack, monkeypatch):
    monkeypatch.setattr("sio_stack.stack.render", lambda *args: "nonsense;")
    with pytest.raises(StackError, match=r"nginx ended \(exit status 1\).*unknown directive"):
        async with Stack(io_nodes=1, app_nodes=0, app="none:sio"):
            pass


async def test_outside_redis_is_used_and_left_alone(stack):
    async with Stack(io_nodes=1, app_nodes=1, app="none:sio", redis_url=stack.redis_url) as other:
        assert other.valkey is None
        assert (await _get(other))[0] == 200
    assert await answers_ping(int(stack.redis_url.split(":")[2].removesuffix("/0")))
