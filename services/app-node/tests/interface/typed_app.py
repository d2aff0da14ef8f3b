"""An application as its author's type checker sees it. `make types` reads it, nobody runs it.

Each `type: ignore` is a mistake that must be found: mypy and Pyright complain of one that is not needed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, assert_type

from app_node import Answers, ClusterServer, Namespace, Page, Presence, RemoteClient, get_client

sio = get_client({"LANES": 4}, always_connect=True)
assert_type(sio, ClusterServer)


@sio.event
async def connect(sid: str, environ: Mapping[str, Any], auth: Any, is_reconnect: bool) -> None:
    await sio.enter_room(sid, "lobby")
    await sio.enter_room(sid, 7)
    await sio.enter_room(sid, 7.5)  # type: ignore[arg-type]
    await sio.save_session(sid, {"user": "anna"})


@sio.event(namespace="/shop", atomic=True)
async def pay(sid: str, cents: int) -> bool:
    await sio.emit("paid", cents, to=sid, skip_sid=[sid], namespace="/shop")
    await sio.emit("paid", cents, room=["a", 2], callback=paid)
    await sio.emit("paid", cents, rooms="a")  # type: ignore[call-arg]
    await sio.emit("paid", cents, local=True)  # type: ignore[call-arg]
    await sio.emit(5)  # type: ignore[arg-type]
    await sio.emitt("paid")  # type: ignore[attr-defined]
    async with sio.session(sid) as session:
        session["paid"] = True
    return True


@sio.on("*", namespace="*")
def anything(event: str, namespace: str, sid: str, *args: Any) -> int:
    return len(args)


def paid(*args: Any) -> None: ...


async def tick(seconds: float) -> int:
    await sio.sleep(seconds)
    return 5


class Shop(Namespace):
    async def on_look(self, sid: str, thing: str) -> list[str | int]:
        await self.emit("seen", thing, skip_sid=sid)
        await self.emit("seen", thing, skip=sid)  # type: ignore[call-arg]
        await self.close_connection(sid)
        assert_type(self.presence("look", linger=2.5), Presence)
        await self.enter_rooms(["a", 7], room=sid, except_room={"b"})
        await self.enter_rooms("a", rooms="b")  # type: ignore[misc]
        await self.leave_rooms("a", except_room=sid)
        await self.disconnect_room(None, close=True)
        await self.disconnect_room()  # type: ignore[call-arg]
        page = await self.clients("a", limit=50)
        assert_type(page, Page)
        assert_type([client.sid for client in page], list[str])
        await self.clients("a", cursor=page.cursor)
        async for client in self.iter_clients(7):
            await client.enter_room("b")
        one = await self.client(sid)
        assert_type(one, RemoteClient | None)
        await self.emit("found", one.sid)  # type: ignore[union-attr]
        assert_type(await self.count("a"), int)
        assert_type(await self.all_rooms("a"), dict[str | int, int])
        assert_type(await self.call_many("vote", room=["a", 7]), Answers)
        assert_type(self.was_recovered(sid), bool)
        return self.rooms(sid)


async def use() -> None:
    # What is decorated stays what it was.
    assert_type(await pay("sid", 5), bool)
    handler: Callable[[str, str, str], int] = anything
    assert_type(sio.on("later", handler), None)
    sio.register_namespace(Shop("/shop"))
    assert_type(sio.rooms("sid"), list[str | int])
    assert_type(sio.transport("sid"), str)
    assert_type(sio.start_background_task(tick, 0.5), asyncio.Task[int])
    sio.start_background_task(paid)  # type: ignore[arg-type]
    waits: Awaitable[None] = sio.serve()
    await waits
    assert_type(sio.was_recovered("sid"), bool)
    lobby = sio.presence("lobby")
    await lobby.track("sid", "ada", {"tab": 1})
    await lobby.track("sid", 7)  # type: ignore[arg-type]
    await lobby.send_state("sid")
    assert_type(await lobby.list(), dict[str, dict[str, Any]])
