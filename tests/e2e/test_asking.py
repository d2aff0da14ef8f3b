"""Questions to many clients, and between app-nodes, in a cluster of real processes some of which are killed."""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
import socketio
from redis.asyncio import Redis
from tests.conformance.raw import Wire
from tests.conftest import ROOT
from tests.e2e.test_restart_app import ENV

from app_node import ClusterServer, Config, get_client
from sio_stack import Stack
from sio_stack.ready import answers_http

pytestmark = [pytest.mark.forked, pytest.mark.e2e, pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope="module")]

APP = str(ROOT / "tests/e2e/asking_app.py") + ":sio"
TIMEOUT_S = 15.0
OF_A_KIND = 50


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stack() -> AsyncIterator[Stack]:
    async with Stack(io_nodes=4, app_nodes=3, app=APP, port=0, env=ENV) as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="module")
async def program(stack: Stack) -> AsyncIterator[ClusterServer]:
    """A program that only emits."""
    sio = get_client(Config(REDIS_URL=stack.redis_url, HEARTBEAT_MS=300))
    yield sio
    await sio.shutdown()


class Voter:
    """A client that answers (`answer`), fails in its handler and ends (`raise`), or says nothing more (`vanish`)."""

    def __init__(self, wire: Wire, kind: str) -> None:
        self.wire = wire
        self.kind = kind
        self.sid = ""
        self.asked = asyncio.Event()

    async def run(self, rooms: list[str]) -> None:
        await self.wire.send("40" + json.dumps({"rooms": rooms}))
        self.sid = json.loads(str(await self.wire.receive(10))[2:])["sid"]

    async def listen(self, questions: int) -> None:
        packets = [str(await self.wire.receive(30)) for _ in range(questions)]
        assert all(packet.startswith("42") and packet.endswith('["vote"]') for packet in packets), packets
        self.asked.set()
        match self.kind:
            case "answer":
                await self.wire.send(*[f'43{packet[2 : packet.index("[")]}["{self.sid}"]' for packet in packets])
            case "raise":
                await self.wire.socket.close()
            case "vanish":
                self.wire.answers_pings = False


async def test_each_of_200_is_named_with_the_right_reason(stack: Stack, program: ClusterServer) -> None:
    """50 answer, 50 raise, 50 vanish, and 50 are killed with their node. Only those who vanish are waited for."""
    kinds = ("answer", "raise", "vanish")
    dying = stack.io_nodes[3]
    async with AsyncExitStack() as connections:
        voters = []
        for number in range(3 * OF_A_KIND):
            wire = await connections.enter_async_context(Wire.open(stack.io_nodes[number // OF_A_KIND].url))
            voters.append(Voter(wire, kinds[number % 3]))
        for _ in range(OF_A_KIND):
            voters.append(Voter(await connections.enter_async_context(Wire.open(dying.url)), "killed"))
        await asyncio.gather(*(one.run(["all"] if one.kind == "vanish" else ["all", "outspoken"]) for one in voters))
        listening = [asyncio.create_task(one.listen(1 if one.kind == "vanish" else 2)) for one in voters]
        began = time.monotonic()
        outspoken = asyncio.create_task(program.call_many("vote", room="outspoken", timeout=TIMEOUT_S))
        everybody = asyncio.create_task(program.call_many("vote", room="all", timeout=TIMEOUT_S))
        await asyncio.gather(*(one.asked.wait() for one in voters))
        os.kill(dying.pid, signal.SIGKILL)
        answers = await outspoken
        lasted_s = time.monotonic() - began
        assert lasted_s < TIMEOUT_S - 2, f"it waited for {lasted_s} s, although nobody was silent"
        expected = {one.sid: one.sid for one in voters if one.kind == "answer"}
        reasons = {"raise": "disconnected", "vanish": "timeout", "killed": "node lost"}
        missing = {one.sid: reasons[one.kind] for one in voters if one.kind in reasons}
        assert dict(answers) == expected
        assert Counter(answers.missing.values()) == {"disconnected": OF_A_KIND, "node lost": OF_A_KIND}
        assert answers.missing == {sid: why for sid, why in missing.items() if why != "timeout"}
        answers = await everybody
        assert time.monotonic() - began >= TIMEOUT_S - 1
        assert dict(answers) == expected
        assert answers.missing == missing
        await asyncio.gather(*listening)


async def test_an_io_node_that_is_stopped_and_then_killed_before_it_has_asked(
    stack: Stack, program: ClusterServer
) -> None:
    """It could not say whom it would have asked."""
    await serving(stack)
    staying, dying = stack.io_nodes[0], stack.io_nodes[1]
    async with AsyncExitStack() as connections:
        voters = [
            Voter(await connections.enter_async_context(Wire.open(node.url)), kind)
            for node, kind in ((staying, "answer"), (dying, "killed"), (dying, "killed"))
        ]
        await asyncio.gather(*(one.run(["few"]) for one in voters))
        os.kill(dying.pid, signal.SIGSTOP)
        listening = asyncio.create_task(voters[0].listen(1))
        asking = asyncio.create_task(program.call_many("vote", room="few", timeout=TIMEOUT_S))
        await listening
        os.kill(dying.pid, signal.SIGKILL)
        async with asyncio.timeout(TIMEOUT_S - 2):
            answers = await asking
        assert dict(answers) == {voters[0].sid: voters[0].sid}
        assert answers.missing == {one.sid: "node lost" for one in voters[1:]}


async def test_a_handler_asks(stack: Stack, program: ClusterServer) -> None:
    await serving(stack)
    async with Wire.open(stack.io_nodes[0].url) as asker, Wire.open(stack.io_nodes[1].url) as wire:
        pollster = Voter(asker, "asks")
        voter = Voter(wire, "answer")
        await asyncio.gather(pollster.run(["pollsters"]), voter.run(["pollsters"]))
        await asker.send('421["poll","pollsters"]')
        await voter.listen(1)
        answer: Any = json.loads(str(await asker.receive(15))[3:])
        assert answer == [{voter.sid: voter.sid}, {}]


@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_official_clients(stack: Stack, program: ClusterServer, transport: str) -> None:
    """Whatever their handlers return comes with their names. One that raises answers nothing, and stays connected."""
    await serving(stack)
    answers = {"value": 7, "several": ("a", {"b": [1]}), "nothing": None, "bytes": b"\x00\xff", "raises": None}
    sids: dict[str, str] = {}
    async with AsyncExitStack() as exits:
        for kind in answers:
            client = socketio.AsyncClient(reconnection=False, logger=False)

            async def vote(question: Any, kind: str = kind) -> Any:
                assert question == {"data": b"x"}
                if kind == "raises":
                    raise ValueError("by intent")
                return answers[kind]

            client.on("vote", vote)
            await client.connect(stack.url, transports=[transport], auth={"rooms": [transport]}, wait_timeout=5)
            exits.push_async_callback(client.disconnect)
            sids[kind] = client.get_sid("/")
        got = await program.call_many("vote", {"data": b"x"}, room=transport, timeout=3)
        assert got.missing == {sids["raises"]: "timeout"}
        expected = {sids[kind]: answer for kind, answer in answers.items() if kind != "raises"}
        assert dict(got) == expected
        came: dict[str, Any] = {}
        async for sid, value in program.answers(
            "vote", {"data": b"x"}, room=transport, skip_sid=sids["raises"], timeout=30
        ):
            came[sid] = value
        assert came == expected
    began = time.monotonic()
    assert len(await program.call_many("vote", room=transport, timeout=30)) == 0  # nobody is there any more
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("io_nodes", "most"), [(1, 3), (4, 12)])
async def test_what_a_question_costs_redis(stack: Stack, program: ClusterServer, io_nodes: int, most: int) -> None:
    """Appends of the cheapest one, as docs/server.md says: to the io-nodes, who was asked, and the answers."""
    await serving(stack)
    redis = Redis.from_url(stack.redis_url)
    async with AsyncExitStack() as connections:
        connections.push_async_callback(redis.aclose)
        voters = [
            Voter(await connections.enter_async_context(Wire.open(node.url)), "answer")
            for node in stack.io_nodes[:io_nodes]
        ]
        await asyncio.gather(*(one.run(["costly"]) for one in voters))
        room = "costly" if io_nodes > 1 else voters[0].sid

        async def appends() -> int:
            return int((await redis.info("commandstats"))["cmdstat_xadd"]["calls"])

        costs = [most + 1]
        # Nodes append canaries, too, and a busy machine makes two messages of the answers of one moment.
        while min(costs) > most and len(costs) < 300:
            before = await appends()
            listening = [asyncio.create_task(one.listen(1)) for one in voters]
            answers = await program.call_many("vote", room=room, timeout=TIMEOUT_S)
            await asyncio.gather(*listening)
            assert len(answers.check()) == io_nodes
            costs.append(await appends() - before)
        assert min(costs) <= most, costs


async def test_app_nodes_answer_each_other(stack: Stack, program: ClusterServer) -> None:
    answers = await program.call_server("pid", timeout=10)
    assert sorted(answers.check().values()) == sorted(node.pid for node in stack.app_nodes)
    victim = stack.app_nodes[0]
    [lost] = [node for node, pid in answers.items() if pid == victim.pid]
    asking = asyncio.create_task(program.call_server("hang", timeout=30))
    await asyncio.sleep(0.5)
    os.kill(victim.pid, signal.SIGKILL)
    began = time.monotonic()
    while lost in await program.call_server("pid", timeout=10):
        pass  # it may still wait for the answer of one that has died
    assert time.monotonic() - began < 10
    assert not asking.done()
    asking.cancel()


async def serving(stack: Stack) -> None:
    """Until those that were killed serve again."""
    async with asyncio.timeout(30):
        while not all([await answers_http(node.port, "/readyz") for node in stack.io_nodes]):
            await asyncio.sleep(0.05)
