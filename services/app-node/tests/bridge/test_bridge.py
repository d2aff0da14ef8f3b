"""A bridge between programs that write into a real Valkey, and an io-node."""

import asyncio
import json
import os
from typing import Any

import msgspec
import pytest
import socketio

from app_node.bridge.process import Bridge
from app_node.bridge.stream import PAGE
from sio_cluster.protocol.errors import ConfigError
from sio_cluster.protocol.ids import new_sid
from sio_cluster.protocol.messages import CloseRoom, Disconnect, Emit, Join, Leave

pytestmark = pytest.mark.slow


def manager_of(world: Any, **options: Any) -> socketio.RedisManager:
    """What a script has: python-socketio's own."""
    return socketio.RedisManager(world.server.url, write_only=True, **options)


def broadcast(number: int, **options: Any) -> dict[str, Any]:
    """An entry of @socket.io/redis-streams-emitter."""
    packet = {"type": 2, "data": ["n", number], "nsp": "/"}
    data = {"packet": packet, "opts": {"rooms": [], "flags": {}, "except": [], **options}}
    return {"uid": "emitter", "nsp": "/", "type": "3", "data": json.dumps(data)}


async def write(world: Any, first: int, last: int) -> None:
    pipeline = world.redis.pipeline()
    for number in range(first, last):
        pipeline.xadd("socket.io", broadcast(number), maxlen=10_000, approximate=True)
    await pipeline.execute()


def numbers(emits: list[Emit]) -> list[int]:
    return [json.loads(emit.packet[1:])[1] for emit in emits]


async def test_all_that_a_redis_manager_can_say(world: Any) -> None:
    io = await world.stage.io_node()
    app = world.stage.echo_server()
    await app.start()
    sid, other = await io.connect(), await io.connect()
    await world.active()
    manager = manager_of(world)
    manager.emit("a", {"x": 1}, room=sid)
    manager.emit("b", ("one", 2), namespace="/chat", skip_sid=other)
    manager.emit("c", [b"\xff", 1], room=["r", "s"])
    manager.enter_room(sid, "/", "r")
    manager.leave_room(sid, "/", "r")
    manager.close_room("r", "/")
    manager.emit("d", None)
    say_disconnect = {"method": "disconnect", "sid": other, "namespace": "/", "host_id": "x"}
    await world.redis.publish("socketio", json.dumps(say_disconnect))  # a write-only manager's own method raises
    await io.wait(1, Disconnect)
    emits = [command for command in io.commands if isinstance(command, Emit)]
    assert [emit.packet for emit in emits] == [
        b'2["a",{"x":1}]', b'2/chat,["b","one",2]', b'51-["c",[{"_placeholder":true,"num":0},1]]', b'2["d"]',
    ]  # fmt: skip
    assert [emit.to for emit in emits] == [[sid], None, ["r", "s"], None]
    assert emits[1].skip == [other]
    assert emits[2].attachments == [b"\xff"]
    kinds = [
        type(command) for command in io.commands if isinstance(command, Emit | Join | Leave | CloseRoom | Disconnect)
    ]
    assert kinds == [Emit, Emit, Emit, Join, Leave, CloseRoom, Emit, Disconnect]


@pytest.mark.parametrize("sources", [("redis-streams-emitter",), ("redis-emitter",)])
async def test_channels_of_two_libraries_have_the_same_names(world: Any, sources: tuple[str, ...]) -> None:
    """A server with the streams adapter says `serverSideEmit` on one. Only sources that are listened to are taken."""
    app, io = world.stage.server(), await world.stage.io_node()
    heard: list[Any] = []

    @app.on_server("reload")
    async def reload(sender: str, *args: Any) -> None:
        heard.append(args)

    @app.event
    async def connect(sid: str, environ: Any) -> None:
        pass

    await app.start()
    bridge = await world.bridge(bridge_sources=sources)
    await world.until(lambda: bridge.lease.held and not bridge.unready_because)
    of_server = {"uid": "5c6e1f0a", "nsp": "/", "type": 9, "data": {"packet": ["reload", 1]}}
    of_emitter = ["emitter", {"type": 2, "data": ["e"], "nsp": "/"}, {"rooms": []}]
    for message in (of_server, of_emitter, of_server, of_emitter):
        await world.redis.publish("socket.io#/#", msgspec.msgpack.encode(message))
    [source] = sources
    await world.until(lambda: bridge.counters.delivered[source] == 2)
    assert dict(bridge.counters.read) == {source: 2}
    if source == "redis-emitter":
        assert len(await io.wait(2, Emit)) == 2
    else:
        await world.until(lambda: heard == [(1,), (1,)])


async def test_what_is_refused_is_counted_and_ends_nothing(world: Any) -> None:
    io, bridge = await world.stage.io_node(), await world.active()
    publish = world.redis.publish
    await publish("socketio", b"\x80\x04}.")
    await publish("socketio", b"nonsense")
    await publish("socketio", json.dumps({"method": "enter_room", "sid": "nobody", "room": "a"}))
    await publish("socketio", json.dumps({"method": "emit", "event": "e", "data": [1], "room": 2**70}))
    half = {"method": "enter_room", "sid": new_sid(io.id, os.urandom), "room": "a", "namespace": "/\ud800"}
    await publish("socketio", json.dumps(half))
    await publish(
        "socket.io-request#/#", json.dumps({"type": 2, "opts": {"rooms": ["a"]}, "rooms": [new_sid(io.id, os.urandom)]})
    )
    await publish(
        "socket.io-request#/#", json.dumps({"type": 2, "opts": {"rooms": [new_sid(io.id, os.urandom)]}, "rooms": ["b"]})
    )
    await publish("socket.io-request#/n#", json.dumps({"type": 6, "data": ["hello"]}))
    await publish("socket.io-request#/#", json.dumps({"type": 6, "data": ["connection"]}))
    await publish("socket.io-request#/#", json.dumps({"type": 5, "requestId": "x"}))
    await world.redis.xadd("socket.io", {"no": "entry"})
    await world.redis.xadd("socket.io", {"type": "2", "uid": "x", "nsp": "/"})
    await world.redis.xadd(
        "socket.io", {"type": "9", "uid": "x", "nsp": "/", "data": '{"packet": [], "requestId": "x"}'}
    )
    manager_of(world).emit("last", 1)
    await write(world, 2, 3)
    await io.wait(2, Emit)
    await world.until(lambda: bridge.counters.delivered["redis-streams-emitter"] == 1)
    assert dict(bridge.counters.refused) == {
        ("redis-manager", "pickled"): 1,
        ("redis-manager", "malformed"): 1,
        ("redis-manager", "client_gone"): 1,
        ("redis-manager", "unsendable"): 2,
        ("redis-emitter", "client_gone"): 1,
        ("redis-emitter", "server_event"): 1,
        ("redis-emitter", "unsendable"): 2,
        ("redis-emitter", "query"): 1,
        ("redis-streams-emitter", "malformed"): 1,
        ("redis-streams-emitter", "callback"): 1,
    }
    counters = bridge.counters
    for source in counters.read:
        refused = sum(number for (of, _), number in counters.refused.items() if of == source)
        assert counters.read[source] == counters.delivered[source] + refused + counters.ignored[source]
    assert b'sio_bridge_messages_refused_total{reason="pickled",source="redis-manager"} 1.0' in bridge.metrics()


async def test_one_that_works_and_one_that_waits_are_ready_and_one_that_stops_is_not(world: Any) -> None:
    """There are alerts for 0. It is an app-node too, which serves no clients."""
    works = await world.active()
    waits = await world.bridge()
    await world.until(lambda: not waits.unready_because)
    assert (works.lease.held, waits.lease.held) == (True, False)
    for bridge in (works, waits):
        assert ready(bridge) == ["sio_app_ready 1.0", "sio_bridge_ready 1.0"]
        await world.until(lambda bridge=bridge: b"\nsio_app_loop_lag_seconds_count 0.0\n" not in bridge.metrics())
    world.bridges.remove(waits)
    await waits.stop()
    assert ready(waits) == ["sio_app_ready 0.0", "sio_bridge_ready 0.0"]


def ready(bridge: Bridge) -> list[str]:
    lines = bridge.metrics().decode().splitlines()
    return sorted(line for line in lines if line.startswith(("sio_app_ready", "sio_bridge_ready")))


async def test_channels_of_other_names(world: Any) -> None:
    io = await world.stage.io_node()
    await world.active(bridge_channel="mine", bridge_key="k*y")
    manager_of(world).emit("not this", 1)
    packet = msgspec.msgpack.encode(["x", {"type": 2, "data": ["neither"], "nsp": "/"}, {}])
    await world.redis.publish("k--y#/#", packet)
    manager_of(world, channel="mine").emit("this", 1)
    await world.redis.publish("k*y#/#", packet.replace(b"neither", b"as well"))
    assert [emit.packet for emit in await io.wait(2, Emit)] == [b'2["this",1]', b'2["as well"]']


async def test_each_entry_once_and_in_order_by_three_bridges_one_after_the_other(world: Any) -> None:
    """The one that is active stops in good order, twice. Entries come all the time."""
    io = await world.stage.io_node()
    first = await world.active()
    second = await world.bridge()
    await write(world, 0, 500)
    await io.wait(100, Emit)
    writing = asyncio.create_task(write(world, 500, 1000))
    world.bridges.remove(first)
    await first.stop()
    await writing
    third = await world.bridge()
    await world.until(lambda: second.lease.held or third.lease.held)
    await write(world, 1000, 1500)
    assert numbers(await io.wait(1500, Emit)) == list(range(1500))


async def test_a_bridge_that_is_killed_repeats_a_page_at_most(world: Any) -> None:
    io = await world.stage.io_node()
    first = await world.active()
    await write(world, 0, 3000)
    await io.wait(200, Emit)
    await world.crash(first)
    await world.bridge()
    await io.until(lambda: 2999 in numbers([command for command in io.commands if isinstance(command, Emit)][-1:]))
    got = numbers([command for command in io.commands if isinstance(command, Emit)])
    assert sorted(set(got)) == list(range(3000))
    assert len(got) <= 3000 + PAGE
    again = next((at for at in range(1, len(got)) if got[at] <= got[at - 1]), len(got))
    assert got[:again] == list(range(again))
    assert got[again:] == list(range(got[again], 3000)) if again < len(got) else True


async def test_what_came_while_no_bridge_was_there(world: Any) -> None:
    """Before the first one, it was for other servers. After that it is ours."""
    io = await world.stage.io_node()
    await write(world, 0, 10)
    first = await world.active()
    await write(world, 10, 20)
    await io.wait(10, Emit)
    await world.until_async(lambda: _stored(world, 20))
    world.bridges.remove(first)
    await first.stop()
    await write(world, 20, 200)
    await world.bridge()
    assert numbers(await io.wait(190, Emit)) == list(range(10, 200))


async def _stored(world: Any, read: int) -> bool:
    prefix = world.stage.config.redis_prefix
    return int(await world.redis.hget(f"{prefix}:{{bridge}}:position:socket.io", "read") or 0) == read


async def test_entries_that_were_trimmed_are_counted(world: Any) -> None:
    io = await world.stage.io_node()
    first = await world.active()
    await write(world, 0, 10)
    await io.wait(10, Emit)
    await world.until_async(lambda: _stored(world, 10))
    await world.crash(first)
    await write(world, 10, 50)
    await world.redis.xtrim("socket.io", maxlen=15, approximate=False)
    second = await world.bridge()
    assert numbers(await io.wait(25, Emit)) == [*range(10), *range(35, 50)]
    assert second.counters.entries_lost == 25


async def test_a_stream_that_begins_anew(world: Any) -> None:
    io = await world.stage.io_node()
    bridge = await world.active()
    await write(world, 0, 10)
    await io.wait(10, Emit)
    await world.redis.delete("socket.io")
    await write(world, 10, 15)
    await io.wait(15, Emit)
    await world.redis.flushall()
    await world.redis.xadd("socket.io", broadcast(15), id="1-1")  # a clock that went back
    assert numbers(await io.wait(16, Emit)) == list(range(16))
    assert bridge.counters.entries_lost == 0


async def test_its_redis_is_restarted(world: Any) -> None:
    io = await world.stage.io_node()
    bridge = await world.active()
    await write(world, 0, 300)
    await io.wait(50, Emit)
    await world.redis.connection_pool.disconnect()
    await asyncio.to_thread(world.server.stop)
    await world.until(lambda: bridge.unready_because)
    world.server.start()  # from this thread: the server ends with the thread that started it
    await world.until(lambda: bridge.lease.held and not bridge.unready_because)
    await write(world, 300, 400)
    manager_of(world).emit("n", 400)
    assert sorted(numbers(await io.wait(401, Emit))) == list(range(401))
    assert bridge.counters.subscriptions_lost == 1


async def test_what_was_heard_is_sent_although_the_bridge_stops(world: Any) -> None:
    """The cluster's Redis was away for a moment. A channel says nothing twice."""
    io = await world.stage.io_node()
    bridge = await world.active()
    manager_of(world).emit("n", 0)
    await io.wait(1, Emit)
    world.stage.broker.go_down()
    tried = asyncio.create_task(bridge._sio.emit("n", 1))
    await world.until(lambda: bridge._node.counters.redis_retries["outbox"])
    manager_of(world).emit("n", 2)  # waits behind the one that is tried
    await world.until(lambda: bridge.counters.delivered["redis-manager"] == 2)
    world.bridges.remove(bridge)
    stopping = asyncio.create_task(bridge.stop())
    await world.until(lambda: not bridge._channels.open)
    world.stage.broker.come_back()
    await io.start()  # its read has failed, too
    await asyncio.gather(stopping, tried)
    assert numbers(await io.wait(3, Emit)) == [0, 1, 2]


async def test_a_redis_that_refuses_us_ends_the_start(world: Any) -> None:
    with pytest.raises(ConfigError, match="BRIDGE_REDIS_URL"):
        await world.bridge(bridge_redis_url=world.server.url.replace("redis://", "redis://:wrong@"))


async def test_one_bridge_of_two_passes_a_message_on(world: Any) -> None:
    io = await world.stage.io_node()
    patient = {"lease_ms": 20_000}  # a slow machine takes none away; who stops gives it back at once
    first, second = await world.active(**patient), await world.bridge(**patient)
    for number in range(50):
        manager_of(world).emit("n", number)
    assert numbers(await io.wait(50, Emit)) == list(range(50))
    await world.until(lambda: not second.unready_because)  # it has asked
    assert not second.lease.held
    world.bridges.remove(first)
    await first.stop()
    await world.until(lambda: second.lease.held and not second.unready_because)
    manager_of(world).emit("n", 50)
    assert numbers(await io.wait(51, Emit)) == list(range(51))
