"""Clients that the application disconnects; over the fakes and over Valkey."""

from typing import Any

from sio_cluster.protocol.messages import (
    Disconnect,
)


async def test_disconnect_by_the_application(stage: Any) -> None:
    sio = stage.server()
    seen = []

    @sio.event
    async def kick(sid: str) -> None:
        await sio.disconnect(sid)
        assert not sio.manager.is_connected(sid, "/")
        await sio.disconnect(sid)

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        seen.append((sid, reason, (await sio.get_session(sid))["name"]))

    io = await stage.io_node()
    await sio.start()
    sid = await io.connect()
    await sio.save_session(sid, {"name": "n"})
    await sio.disconnect(sid, namespace="/other")
    await io.event(sid, "kick")
    assert await io.wait(1, Disconnect) == [Disconnect(sid)]
    await io.disconnect(sid, "server disconnect")
    await io.event(sid, "kick")
    await io.settle()
    assert seen == [(sid, "server disconnect", "n")]
    assert await io.wait(1, Disconnect) == [Disconnect(sid)]
    assert len(sio.node.clients.known) == 0
    other = await io.connect()
    await sio.close_connection(other)
    assert (await io.wait(2, Disconnect))[1] == Disconnect(other, True)


async def test_disconnect_of_a_client_in_another_lane(stage: Any) -> None:
    app, emitter = stage.server(), stage.server()
    seen = []

    @app.event
    def disconnect(sid: str, reason: str) -> None:
        seen.append(sid)

    io = await stage.io_node()
    await app.start()
    sid = await io.connect()
    await emitter.disconnect(sid)
    assert await io.wait(1, Disconnect) == [Disconnect(sid)]
    await io.disconnect(sid, "server disconnect")
    await io.settle()
    assert seen == [sid]
    await emitter.disconnect(sid)
    await emitter.disconnect("nobody")
    assert len(await io.wait(1, Disconnect)) == 1
