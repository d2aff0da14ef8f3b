"""The application of the chaos suite: its handlers write down what they see (tests/chaos/records.py says how).

Each event is answered by an ack and by a `down` to its sender; each process tells all clients its `news`. Some
handlers take a while, so that a fault finds them at work. `CHAOS_RECORDS` is the folder, `CHAOS_NEWS_MS` the pace of
the news (0: none). A file `hush` there ends them. All clients are in the room `everybody`, and each moves from one
table to the next now and then (tests/chaos/rooms.py). With `CHAOS_ASKS` each app-node asks all the time who is there.

    app-node tests/chaos/app.py:sio
"""

import asyncio
import os
import signal
import time
from collections import defaultdict
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from records import Pen, is_watched, now_us  # type: ignore[import-not-found]  # app-node puts this folder on the path

import app_node
from app_node.lanes.progress import current_progress
from sio_cluster.protocol.ids import is_quarantine

sio = app_node.get_client()
origin = os.getpid()
directory = Path(os.environ.get("CHAOS_RECORDS", "/nonexistent"))
pen = Pen(directory / f"app-{origin}.txt")
news_s = int(os.environ.get("CHAOS_NEWS_MS", "500")) / 1000

SLOW_EVERY = 20
SLOW_S = 0.02
MOVE_EVERY = 20
ASK_S = 0.02
TABLES = 5
CHUNK, CHUNKS = 10_000_000, 20

made: dict[tuple[str, int], int] = defaultdict(int)
runs = 0


@sio.event
async def connect(sid: str, environ: dict[str, Any], auth: Any, is_reconnect: bool, is_recovered: bool = False) -> None:
    flags = (int(is_reconnect), int(sio.is_redelivered()), int(is_recovered))
    pen("c", auth["client"], sid, token(), *flags)
    if is_recovered:
        session = await sio.get_session(sid)
        assert session == {"client": auth["client"]}, session
        assert "everybody" in sio.rooms(sid), sio.rooms(sid)
        return
    async with sio.session(sid) as session:
        session["client"] = auth["client"]
    await sio.enter_room(sid, "everybody")
    if is_watched(auth["client"]):
        await sio.enter_room(sid, "watched")


@sio.event
async def disconnect(sid: str, reason: str) -> None:
    session = await sio.get_session(sid)
    pen("d", session["client"], sid, int(sio.is_redelivered()), reason)


@sio.event
async def up(sid: str, client: int, seq: int, is_redelivered: bool) -> int:
    global runs
    runs = run = runs + 1
    held = token()
    pen("s", run, client, seq, sid, held, int(is_redelivered))
    try:
        if seq % SLOW_EVERY == SLOW_EVERY - 1:
            await asyncio.sleep(SLOW_S)
        if seq % MOVE_EVERY == MOVE_EVERY // 2:
            await move(sid, seq // MOVE_EVERY)
        made[sid, held] = n = made[sid, held] + 1
        pen("m", client, sid, held, n, seq)
        await sio.emit("down", (seq, origin, held, n), to=sid)
    except asyncio.CancelledError:
        pen("x", run)
        raise
    pen("e", run)
    return seq


async def move(sid: str, turn: int) -> None:
    if turn:
        await sio.leave_room(sid, f"table{(turn - 1) % TABLES}")
    await sio.enter_room(sid, f"table{turn % TABLES}")


@sio.event
async def idle(sid: str, value: int) -> None:
    """An event that leaves no record."""


@sio.event
async def fail(sid: str) -> None:
    raise RuntimeError("a handler of the chaos suite fails on purpose")


@sio.event
async def hang(sid: str, seconds: float) -> None:
    await asyncio.sleep(seconds)


@sio.event
async def block(sid: str, seconds: float, is_redelivered: bool) -> None:
    """Blocks the event loop, as a careless handler does. Only once: redelivered it would block the next one too."""
    if not is_redelivered:
        time.sleep(seconds)  # noqa: ASYNC251


@sio.event
async def poison(sid: str, kind: str) -> None:
    """Ends the process, or never gives the loop back: whoever handles it next suffers the same."""
    match kind:
        case "exit":
            os._exit(3)
        case "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "loop":
            (directory / f"loop-{origin}").touch()
            while True:
                pass
        case "memory":
            hoard = [b"x" * CHUNK for _ in range(CHUNKS)]
            assert hoard
            os.kill(os.getpid(), signal.SIGKILL)  # as a kernel does that is out of memory


@sio.event
async def fill(sid: str, kilobytes: int) -> None:
    """Sends 5 MB a second to everybody in the namespace /sink."""
    for number in range(kilobytes // 10):
        await sio.emit("bulk", "x" * 10_000, namespace="/sink")
        if number % 10 == 9:
            await asyncio.sleep(0.02)


@sio.on("fill me", namespace="/sink")
async def fill_me(sid: str, kilobytes: int) -> None:
    """Sends so much to this client alone, 1 MB a second."""
    for _ in range(kilobytes // 100):
        await sio.emit("bulk", "x" * 100_000, to=sid, namespace="/sink")
        await asyncio.sleep(0.1)


@sio.on("connect", namespace="/sink")
async def connect_sink(sid: str, environ: dict[str, Any]) -> None:
    """A namespace whose clients leave no record."""


def rooms(sender: str, sids: list[str]) -> dict[str, list[str]]:
    """The rooms of each of these clients, as this app-node knows them or finds out."""
    return {sid: [str(room) for room in sio.rooms(sid) if room != sid] for sid in sids}


if hasattr(sio, "on_server"):  # the last release, which tests/upgrade runs this on, has none
    sio.on_server("rooms", rooms)


@sio.on_start
async def tell_news() -> None:
    if news_s:
        sio.start_background_task(_tell_news)


async def _tell_news() -> None:
    n = 0
    while True:
        await asyncio.sleep(news_s)
        if (directory / "hush").exists():
            continue
        n += 1
        await sio.emit("news", (origin, n), room="everybody")
        pen("b", n)


@sio.on_start
async def ask() -> None:
    if os.environ.get("CHAOS_ASKS"):
        sio.start_background_task(_ask)


async def _ask() -> None:
    while not (directory / "hush").exists():
        await _note("count", sio.count())
        await _note("watched", sio.count("watched"))
        await _note("clients", _watched())
        await _note("all_rooms", _watched_by_all_rooms())
        await asyncio.sleep(ASK_S)


async def _watched() -> str:
    return ",".join([client.sid for client in await sio.clients("watched")])


async def _watched_by_all_rooms() -> int:
    return (await sio.all_rooms("watch")).get("watched", 0)


async def _note(what: str, question: Awaitable[object]) -> None:
    began = now_us()
    try:
        answer = await question
    except Exception as error:  # noqa: BLE001 - whatever it is, no question may fail
        pen("K", what, now_us() - began, repr(error))
    else:
        pen("k", what, now_us() - began, answer)


def token() -> int:
    """The fencing token of the lane under which the running handler acts, below 0 if it acts for a quarantine."""
    progress = current_progress.get()
    assert progress is not None
    lane = progress.lane
    return -lane.token if is_quarantine(lane.number) else lane.token
