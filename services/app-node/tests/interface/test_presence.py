"""Who is present in a room, in the form of Phoenix' presence; over the fakes and over Valkey."""

import asyncio
import json
from typing import Any

import pytest

from app_node import Namespace
from app_node.clients.presence_news import by_room
from sio_cluster.protocol.errors import NodesTooOld
from sio_cluster.protocol.ids import lane_of
from sio_cluster.protocol.messages import SERVER_LEVEL
from sio_cluster.streams.api.presences import Meta, News

from ..presences import ROOM, come, events, metas, sees, started

pytestmark = pytest.mark.slow

GONE = "io1-aaaaaa.AAAAAAAAAAAAAAAA"


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


async def test_three_tabs_are_one_key(stage: Any) -> None:
    holder, other, io = await started(stage)
    grace = await come(io, "grace")
    tabs = [await come(io, "ada", {"tab": number}) for number in range(3)]
    three = [{"tab": number} for number in range(3)]
    page = await sees(io, grace, grace=[{}], ada=three)
    await sees(io, tabs[2], grace=1, ada=three)
    for sio in (holder, other):
        listed = await sio.presence(ROOM).list()
        assert sorted(listed) == ["ada", "grace"]
        assert sorted(metas(listed, "ada"), key=str) == three
    refs = [meta["phx_ref"] for meta in page.state["ada"]["metas"]]
    assert len({str(ref) for ref in refs}) == 3
    await io.disconnect(tabs[0])
    await holder.leave_room(tabs[1], ROOM)
    await sees(io, grace, grace=1, ada=[{"tab": 2}])
    await other.disconnect(tabs[2])
    await io.disconnect(tabs[2])
    page = await sees(io, grace, grace=1)
    assert page.keys[-3:] == [["grace"], ["ada", "grace"], ["grace"]], "Ada has come once and left once"
    assert list(await other.presence(ROOM).list()) == ["grace"]


async def test_the_form_is_that_of_phoenix(stage: Any) -> None:
    _, _, io = await started(stage)
    ada = await come(io, "ada", {"name": "Ada", "admin": True})
    await sees(io, ada, ada=1)
    await io.until(lambda: len(events(io.commands)) >= 2)
    by_event = {event: (to, content, room) for to, event, content, room in events(io.commands)}
    to, state, room = by_event["presence_state"]
    ref = state["ada"]["metas"][0]["phx_ref"]
    expected = {"ada": {"metas": [{"name": "Ada", "admin": True, "phx_ref": ref}]}}
    assert (to, state, room) == ([ada], expected, ROOM)
    assert isinstance(ref, str)
    assert by_event["presence_diff"] == ([ROOM], {"joins": expected, "leaves": {}}, ROOM)


async def test_what_is_shown_anew_takes_the_place_of_what_was(stage: Any) -> None:
    holder, other, io = await started(stage)
    grace, ada = await come(io, "grace"), await come(io, "ada", {"state": "here"})
    await sees(io, grace, grace=1, ada=[{"state": "here"}])
    await other.presence(ROOM).track(ada, "ada", {"state": "away"})
    page = await sees(io, grace, grace=1, ada=[{"state": "away"}])
    assert page.keys[-1] == ["ada", "grace"]
    before = len(events(io.commands))
    await holder.presence(ROOM).track(ada, "ada", {"state": "away"})
    await other.presence(ROOM).untrack(ada)
    page = await sees(io, grace, grace=1)
    assert page.keys == [[], ["grace"], ["ada", "grace"], ["grace"]]
    assert len(events(io.commands)) == before + 1, "what is the same is no news"
    assert ROOM in holder.rooms(ada)
    await holder.presence(ROOM).untrack(ada)


async def test_rooms_and_namespaces_are_apart(stage: Any) -> None:
    holder, other, io = await started(stage)

    @holder.on("connect", namespace="/chat")
    async def connect(sid: str, environ: Any) -> None:
        pass

    ada, chat = await io.connect(), await io.connect("/chat")
    for sid, room, namespace in ((ada, 7, "/"), (ada, "7", "/"), (chat, 7, "/chat")):
        await other.enter_room(sid, room, namespace)
        await other.presence(room, namespace).track(sid, f"{namespace}{room!r}")
    assert list(await holder.presence(7).list()) == ["/7"]
    assert list(await holder.presence("7").list()) == ["/'7'"]
    assert list(await holder.presence(7, namespace="/chat").list()) == ["/chat7"]
    assert await holder.presence("nobody").list() == {}
    shop = Namespace("/chat")
    holder.register_namespace(shop)
    assert list(await shop.presence(7).list()) == ["/chat7"]


async def test_everybody_leaves_a_room_that_is_closed(stage: Any) -> None:
    _, other, io = await started(stage)
    sids = [await come(io, f"key{number}") for number in range(5)]
    await sees(io, sids[0], **{f"key{number}": 1 for number in range(5)})
    await other.close_room(ROOM)
    await sees(io, sids[0])
    assert await other.presence(ROOM).list() == {}


async def test_a_state_that_a_diff_has_overtaken_is_mended(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The diff leaves after the state was read, and before that is in the client's inbox."""
    holder, other, io = await started(stage)
    grace, ada = await come(io, "grace"), await come(io, "ada")
    hedy = await io.connect()
    await sees(io, grace, grace=1, ada=1)
    await other.enter_room(hedy, ROOM)
    await holder.enter_room(hedy, ROOM)
    await other.presence(ROOM).send_state(hedy)
    presences, stale = other.node.clients.presences, 0
    read = presences.metas

    async def late(namespace: str, room: Any) -> Any:
        nonlocal stale
        found = await read(namespace, room)
        stale += 1
        if stale == 1:
            await io.disconnect(ada)
            await holder.presence(ROOM).track(hedy, "hedy")
            await sees(io, grace, grace=1, hedy=1)
        return found

    monkeypatch.setattr(presences, "metas", late)
    await other.presence(ROOM).send_state(hedy)
    await io.settle()
    page = await sees(io, hedy, grace=1, hedy=1)
    assert [event for to, event, *_ in events(io.commands) if to == [hedy]][1:] == ["presence_state", "presence_diff"]
    assert page.keys[-3:] == [["grace", "hedy"], ["ada", "grace"], ["grace", "hedy"]]


async def test_a_room_that_never_rests_holds_nobody_up(stage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody comes and somebody goes whenever the room is read."""
    holder, _, io = await started(stage)
    hedy, crowd = await io.connect(), [await come(io, f"key{number}") for number in range(6)]
    await holder.enter_room(hedy, ROOM)
    await sees(io, crowd[0], **{f"key{number}": 1 for number in range(6)})
    presences, reads = holder.node.clients.presences, 0
    read = presences.metas

    async def changing(namespace: str, room: Any) -> Any:
        nonlocal reads
        found, lobby = await read(namespace, room), holder.presence(ROOM)
        await lobby.untrack(crowd[reads])
        if reads:
            await lobby.untrack(hedy)  # who came when it was read last
        await lobby.track(hedy, f"hedy{reads}")
        reads += 1
        await holder.node.clients.presence_news.look()  # all of it was told before what was read is sent
        return found

    monkeypatch.setattr(presences, "metas", changing)
    async with asyncio.timeout(8):
        await holder.presence(ROOM).send_state(hedy)
    assert reads == 3
    await io.settle()
    await sees(io, hedy, hedy2=1, key3=1, key4=1, key5=1)


async def test_what_cannot_be(stage: Any) -> None:
    holder, other, io = await started(stage)
    ada = await io.connect()
    lobby = other.presence(ROOM)
    with pytest.raises(ValueError, match="not in the room 'lobby'"):
        await lobby.track(ada, "ada")
    await other.enter_room(ada, ROOM)
    for key, meta, error in (
        (5, None, TypeError),
        ("ada", ["phone"], TypeError),
        ("ada", {"image": b"png"}, TypeError),
        ("ada", {"at": object()}, TypeError),
        ("ada", {"text": "x" * 10_000}, ValueError),
        ("ada", {"deep": nested(200)}, ValueError),
        ("ada", {"deep": nested(5_000)}, ValueError),
        ("ada", {"huge": 10**400}, ValueError),
        ("\ud83d", {}, ValueError),
    ):
        with pytest.raises(error):
            await lobby.track(ada, key, meta)
    for sid in (GONE, "no sid"):
        with pytest.raises(KeyError):
            await lobby.track(sid, "ada")
        with pytest.raises(KeyError):
            await lobby.untrack(sid)
    with pytest.raises(KeyError):
        await other.presence(ROOM, "/chat").track(ada, "ada")
    with pytest.raises(ValueError, match="sid room"):
        other.presence(ada)
    with pytest.raises(TypeError):
        other.presence(None)
    for linger in (-1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="linger"):
            other.presence(ROOM, linger=linger)
    assert await lobby.list() == {}
    assert await holder.presence(ROOM).list() == {}


@pytest.mark.parametrize(
    "meta", [{"name": "Ada \ud83d"}, {"deep": nested(198)}, {"n": 10**30}], ids=["half", "deep", "big"]
)
async def test_whatever_json_is_shown_is_seen(stage: Any, meta: Any) -> None:
    """Half a surrogate pair: JavaScript cuts a name so, in the middle of an emoji."""
    _, other, io = await started(stage)
    grace = await come(io, "grace")
    await come(io, "ada", meta)
    await sees(io, grace, grace=1, ada=[meta])
    assert metas(await other.presence(ROOM).list(), "ada") == [meta]


class Json:
    """As python-socketio's `json=` option takes it. It fails on what says so."""

    loads = staticmethod(json.loads)

    @staticmethod
    def dumps(value: Any, **options: Any) -> str:
        text = json.dumps(value, **options)
        if "fail" in text:
            raise ZeroDivisionError
        return text


async def test_a_diff_that_cannot_be_written_stops_no_other(stage: Any) -> None:
    holder, _, io = await started(stage, json=Json)
    grace = await come(io, "grace")
    await sees(io, grace, grace=1)
    await holder.presence(ROOM).track(grace, "fail")
    await holder.presence(ROOM).track(grace, "grace", {"n": 2})
    await stage.until(lambda: holder.node.counters.presence_news >= 4)
    ada = await io.connect()
    await holder.enter_room(ada, ROOM)
    await holder.presence(ROOM).track(ada, "ada")
    await io.until(lambda: any("ada" in content.get("joins", {}) for _, _, content, _ in events(io.commands)))
    assert holder.node.loops.failure is None


async def test_an_atomic_handler_cannot_send_a_state(stage: Any) -> None:
    holder = stage.echo_server()
    failed: list[str] = []

    @holder.event(atomic=True)
    async def enter(sid: str) -> None:
        try:
            await holder.presence(ROOM).send_state(sid)
        except RuntimeError as error:
            failed.append(str(error))

    io = await stage.io_node()
    await holder.start()
    await io.event(await io.connect(), "enter")
    await io.settle()
    assert "atomic" in failed[0]


async def test_old_nodes_would_leave_ghosts(stage: Any) -> None:
    _, other, io = await started(stage)
    ada = await io.connect()
    await other.enter_room(ada, ROOM)
    await io.bus.registry.register_io_node(io.id, {"level": str(SERVER_LEVEL - 1)})
    lobby = other.presence(ROOM)
    for refused in (lobby.track(ada, "ada"), lobby.untrack(ada), lobby.send_state(ada)):
        with pytest.raises(NodesTooOld):
            await refused
    assert await lobby.list() == {}


async def test_news_are_counted_and_nothing_waits_at_the_end(stage: Any) -> None:
    holder, _, io = await started(stage)
    sids = [await come(io, "ada") for _ in range(4)]
    await io.disconnect(sids[0])
    await sees(io, sids[1], ada=3)
    await stage.until(lambda: holder.node.counters.presence_news == 5)
    assert b"sio_app_presence_news_total 5" in holder.node.metrics()
    leases = [lane.lease for lane in holder.node.keeper.served]
    assert {lease.lane for lease in leases} == {lane_of(sid, 4) for sid in sids} | set(range(4))
    async with asyncio.timeout(8):
        while any(await io.bus.presences.news(leases)):  # Redis tells nobody
            await asyncio.sleep(0.01)


def test_what_came_and_went_again_has_gone() -> None:
    ada, grace = (Meta("/", "a", key, b"{}", key.rjust(16, "0")) for key in ("ada", "grace"))
    elsewhere = Meta("/", "b", "ada", b"{}", "f" * 16)
    found = by_room([News(b"%d" % n, shown, meta) for n, (shown, meta) in enumerate(
        [(True, ada), (True, grace), (False, ada), (True, elsewhere)]
    )])  # fmt: skip
    assert found == {("/", "a"): ([grace], [ada]), ("/", "b"): ([elsewhere], [])}
