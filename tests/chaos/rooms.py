"""Who is in which room at the end of a scenario, as all who know it say (tests/agreement.py): the room index, the
records, each app-node by `sio.rooms`, and the io-nodes' hubs, by whom they tell what is emitted to a room."""

import asyncio
import itertools
import re
from collections.abc import Collection
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from tests.agreement import Members, by_index, differences, members_by, wrong_numbers
from tests.chaos import records
from tests.chaos.cluster import until

from app_node import ClusterServer, get_client
from sio_cluster.node.settings.config import Config
from sio_cluster.streams.redis import RedisBus

ROOMS = ("everybody", "watched", *(f"table{number}" for number in range(5)))
"""Those of tests/chaos/app.py."""
LANES = 16
AGREED_S = 10.0
"""When all must agree, once nobody changes anything."""
TOLD_S = 3.0
"""So long all have time to write down that they were told something."""
END = "end"


async def disagreements(
    redis_url: str, directory: Path, rooms: Collection[str] = ROOMS, within_s: float = AGREED_S
) -> list[str]:
    """Asks until all agree on these rooms, or the time is over. Returns what differed at last: [] is nothing.

    No client may change its rooms meanwhile, or come.
    """
    config = Config(REDIS_URL=redis_url, LOG_LEVEL="warning")
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    async with AsyncExitStack() as exits:
        bus, sio = RedisBus(config), get_client(config)
        exits.push_async_callback(bus.stop)
        exits.push_async_callback(sio.shutdown)
        for round_ in itertools.count():
            found = await _differences(bus, sio, directory, rooms, round_)
            if not found or loop.time() > deadline:
                return found
            await asyncio.sleep(0.2)
    raise AssertionError("unreachable")


async def _differences(
    bus: RedisBus, sio: ClusterServer, directory: Path, rooms: Collection[str], round_: int
) -> list[str]:
    sids = sorted(records.present(directory))
    index = await by_index(bus, rooms, LANES)
    found = await asyncio.gather(*(bus.records.load(sid) for sid in sids))
    recorded = ((sid, map(str, record.rooms)) for sid, record in zip(sids, found, strict=True) if record is not None)
    answers = await sio.call_server("rooms", sids, timeout=AGREED_S)
    if answers.missing:
        return [f"app-node {node} did not say who is in which room: {why}" for node, why in answers.missing.items()]
    places = {
        "index": index,
        "records": members_by(recorded),
        "io-nodes": await _told(sio, directory, rooms, round_, len(sids)),
        **{f"app-node {node}": members_by(known.items()) for node, known in answers.items()},
    }
    gone = gone_unheard(directory)
    seen = {place: {room: sids - gone for room, sids in members.items()} for place, members in places.items()}
    return differences(seen) + await wrong_numbers(bus, index, LANES)


def gone_unheard(directory: Path) -> set[str]:
    """Clients that have given their connection up, while its io-node still holds it open: nobody hears them there."""
    left = records.joined(directory) - records.disconnected(directory)
    return left.keys() - records.present(directory)


async def _told(sio: ClusterServer, directory: Path, rooms: Collection[str], round_: int, clients: int) -> Members:
    """Who hears what is said in each room. `clients`: how many hear what is said to all, which comes after that."""
    for room in rooms:
        await sio.emit("roll", (room, round_), room=room)
    await sio.emit("roll", (END, round_))

    async def all_told() -> bool:
        return len(_written(directory, round_).get(END, ())) >= clients

    with suppress(AssertionError):
        await until(all_told, TOLD_S, "")
    told = _written(directory, round_)
    told.pop(END, None)
    return told


def _written(directory: Path, round_: int) -> Members:
    """What clients wrote of this round."""
    line = re.compile(rb"^h \d+ \d+ (\S+) (\S+) %d$" % round_, re.MULTILINE)
    found = (pair for path in directory.glob("clients-*.txt") for pair in line.findall(path.read_bytes()))
    return members_by((sid.decode(), [room.decode()]) for sid, room in found)
