"""What the application knows of a client: its session, environ and transport; over the fakes and over Valkey."""

from typing import Any

import pytest

from sio_cluster.protocol.messages import (
    Ack,
    ClientUpgraded,
)


async def test_sessions_outlast_server_objects(stage: Any) -> None:
    sio = stage.server()

    @sio.event
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await sio.save_session(sid, {"user": auth, "raw": b"\xff", "list": [1, None, 2.5]})

    @sio.event
    async def count(sid: str) -> Any:
        async with sio.session(sid) as session:
            session["count"] = count = session.get("count", 0) + 1
        return count

    io = await stage.io_node()
    await sio.start()
    sid = await io.connect(auth={"name": "ada"})
    await io.send(*[stage.event(sid, "count", ack_id=n) for n in range(10)])
    assert sorted(ack.packet for ack in await io.wait(10, Ack)) == sorted(b"3%d[%d]" % (n, n + 1) for n in range(10))
    await sio.shutdown()
    other = stage.server()
    session = await other.get_session(sid)
    assert session == {"user": {"name": "ada"}, "raw": b"\xff", "list": [1, None, 2.5], "count": 10}
    with pytest.raises(KeyError):
        await other.get_session(io.connected().sid)
    with pytest.raises(KeyError):
        await other.save_session(io.connected().sid, {})
    with pytest.raises(TypeError, match="cannot hold a set"):
        await other.save_session(sid, {"x": {1}})


async def test_a_session_is_of_one_namespace(stage: Any) -> None:
    """A namespace that is left out means /, as in python-socketio: the client of another one is not found there, and
    keeps what it has, whichever app-node is asked."""
    holder, other = stage.server(), stage.server()

    @holder.on("connect", namespace="/shop")
    async def connect(sid: str, environ: Any, auth: Any) -> None:
        await holder.save_session(sid, {"cart": 1}, namespace="/shop")

    io = await stage.io_node()
    await holder.start()
    sid = await io.connect("/shop")
    for sio in (holder, other):
        with pytest.raises(KeyError):
            await sio.get_session(sid)
        with pytest.raises(KeyError):
            await sio.save_session(sid, {})
        assert await sio.get_session(sid, namespace="/shop") == {"cart": 1}


async def test_environ_and_transport(stage: Any) -> None:
    sio = stage.echo_server()
    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    environ = sio.get_environ(sid)
    assert environ["HTTP_HOST"] == "example.org:81"
    assert sio.get_environ(sid) is environ
    assert sio.environ[sid] is environ
    assert sio.get_environ("nobody") is None
    assert sio.transport(sid) == "polling"
    await io.send(ClientUpgraded(sid, "websocket"))
    await io.settle()
    assert sio.transport(sid) == "websocket"
    assert (await io.bus.records.load(sid)).transport == "websocket"
    with pytest.raises(KeyError):
        sio.transport("nobody")
