"""The relay loses nothing, keeps its streams short, and knows who is in a room."""

import asyncio
import json
from typing import Any

import hiredis
import pytest
from loadtest.bench import targets
from loadtest.bench.load.clients import Client, Tally, connect, disconnect, join
from loadtest.bench.servers.relay.wire import Entry, Reader, Writer, pack
from loadtest.bench.targets import Target
from loadtest.bench.work import acks, fan_out

from sio_cluster.testing.valkey import start_valkey

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(90)]

WITHIN_S = 10.0


async def ask(redis_port: int, *words: bytes) -> Any:
    """What Redis answers to one command."""
    reader, writer = await asyncio.open_connection("127.0.0.1", redis_port)
    replies = hiredis.Reader(notEnoughData=...)
    writer.write(pack(*words))
    while (reply := replies.gets()) is ...:
        replies.feed(await asyncio.wait_for(reader.read(65536), WITHIN_S))
    writer.close()
    return reply


async def test_what_was_there_before_the_reader_is_read_and_trimmed() -> None:
    got: list[bytes] = []
    complete = asyncio.Event()

    def took(entries: list[Entry]) -> None:
        got.extend(value for _, (_, value) in entries)
        if got[-1] == b"199":
            complete.set()

    with start_valkey() as valkey:
        broken = asyncio.get_running_loop().create_future()
        await ask(valkey.port, b"XADD", b"stream", b"*", b"b", b"first")
        await Reader(b"stream", took, trims=True).start(valkey.port, broken)
        for number in range(200):
            await ask(valkey.port, b"XADD", b"stream", b"*", b"b", b"%d" % number)
        await asyncio.wait_for(complete.wait(), WITHIN_S)
        assert await ask(valkey.port, b"XLEN", b"stream") <= 130
        broken.cancel()
    assert got == [b"first", *(b"%d" % number for number in range(200))]


async def test_what_comes_while_a_write_is_under_way_leaves_together() -> None:
    due = [b"a"]
    gathered: list[int] = []
    answered = asyncio.Event()

    def gather() -> list[bytes]:
        commands = [pack(b"RPUSH", b"list", one) for one in due]
        gathered.append(len(commands))
        due.clear()
        if not commands:
            answered.set()
        return commands

    with start_valkey() as valkey:
        broken = asyncio.get_running_loop().create_future()
        writer = Writer(gather)
        await writer.start(valkey.port, broken)
        writer.flush()
        for one in (b"b", b"c"):
            due.append(one)
            writer.flush()
        await asyncio.wait_for(answered.wait(), WITHIN_S)
        assert gathered == [1, 2, 0]
        assert await ask(valkey.port, b"LRANGE", b"list", b"0", b"-1") == [b"a", b"b", b"c"]
        broken.cancel()


async def test_a_refusal_and_the_end_of_redis_are_told() -> None:
    """The processes of the relay end then: a measurement would be of nothing."""
    loop = asyncio.get_running_loop()
    with start_valkey() as valkey:
        refused, ended = loop.create_future(), loop.create_future()
        await ask(valkey.port, b"SET", b"text", b"")
        await Reader(b"text", print, trims=False).start(valkey.port, refused)
        with pytest.raises(hiredis.ReplyError, match="WRONGTYPE"):
            await asyncio.wait_for(refused, WITHIN_S)
        await Reader(b"stream", print, trims=False).start(valkey.port, ended)
        valkey.kill()
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(ended, WITHIN_S)


async def test_members_of_a_room_get_each_message_once() -> None:
    """Also where all clients of one process are members, and where one of them has left."""
    tally = Tally()
    async with targets.relay(2) as target:
        members = await connect(target.ports, 4, tally)
        await join(members, [["some"]] * 4)
        assert await _deliveries(target, members, tally) == 3 * 4  # all of both processes
        stranger = await connect(target.ports[:1], 1, tally)
        assert await _deliveries(target, members, tally) == 3 * 4  # all of one process
        await join(members[:2], [["few"]] * 2)
        assert await _deliveries(target, members[:2], tally, "few") == 3 * 2  # one of each process
        members.pop(0).disconnect()
        assert await _deliveries(target, members, tally) == 3 * 3  # whether or not it is known yet who left
        disconnect([*members, *stranger])


async def _deliveries(target: Target, clients: list[Client], tally: Tally, room: str = "some") -> int:
    """How many come of two messages to a room of these clients, in each kind of burst, and of another one."""
    for burst in (fan_out.volleys, fan_out.blast):
        found = await burst(target, clients, tally, room, bursts=1, burst=2)
        assert (found["lost"], found["out_of_order"]) == (0, 0)
    await clients[0].ask(json.dumps(["say", room]).encode())
    for client in clients:
        await client.ask(b'["echo",1]')
    return tally.deliveries


async def test_nothing_stays_in_redis() -> None:
    tally = Tally()
    async with targets.relay(1) as target:
        clients = await connect(target.ports, 2, tally)
        for _ in range(300):
            await clients[0].ask(acks.ECHO)
        lane = await ask(target.redis_port, b"XLEN", b"lane")
        inbox = await ask(target.redis_port, b"XLEN", b"inbox:0")
        written = await ask(target.redis_port, b"XINFO", b"STREAM", b"inbox:0")
        disconnect(clients)
    assert lane == 0
    assert dict(zip(written[::2], written[1::2], strict=True))[b"entries-added"] > 300
    assert inbox <= 130
