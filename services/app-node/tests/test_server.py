"""The server object's semantics, over the fakes and over Valkey."""

import asyncio
import json
from typing import Any

import pytest
import socketio
from sio_cluster.protocol.messages import (
    Accept,
    Ack,
    CloseRoom,
    Disconnect,
    Emit,
    Join,
    Leave,
    Refuse,
)


async def test_connect_event_ack_disconnect(stage: Any) -> None:
    sio = stage.server()
    seen: list[Any] = []

    @sio.event
    async def connect(sid: str, environ: dict[str, Any], auth: Any) -> None:
        seen.append(("connect", environ["QUERY_STRING"], environ["REMOTE_ADDR"], auth))

    @sio.event
    async def echo(sid: str, *args: Any) -> Any:
        return args

    @sio.event
    async def disconnect(sid: str, reason: str) -> None:
        seen.append(("disconnect", reason, sio.rooms(sid)))

    io = await stage.io_node()
    await sio.start()
    sid = await io.connect(auth={"token": 1})
    await io.send(*[stage.event(sid, "echo", number, "x", ack_id=number) for number in range(50)])
    acks = await io.wait(50, Ack)
    assert [ack.packet for ack in acks] == [b'3%d[%d,"x"]' % (n, n) for n in range(50)]
    await io.disconnect(sid)
    await io.settle()
    assert seen == [
        ("connect", "EIO=4&transport=polling", "10.1.2.3", {"token": 1}),
        ("disconnect", "transport close", [sid]),
    ]
    assert await io.streams.records.load(sid) is None
    assert sio.rooms(sid) == []
