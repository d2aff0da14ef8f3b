"""What questions and changes cost Redis: as docs/performance.md says, by the server's own count of its commands."""

import re
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.api.records import Accepted, Ended, Joined, Left
from sio_cluster.streams.api.selections import RoomsChange, Selection
from sio_cluster.streams.redis import RedisBus
from sio_cluster.testing.turns import turns
from sio_cluster.testing.valkey import Valkey

from .real_server import IO1

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[3] / "docs/performance.md"
AT_A_TIME = 500
"""Clients whose rooms one call changes, as `app_node.clients.selections` does."""
MACHINE = 2
"""So often a busy machine may hold a process up on its own account, in a quarter of a minute."""
HANDSHAKE = Handshake("GET", "/socket.io/", "", [], "10.1.2.3", 99)


def documented() -> list[tuple[str, Counter[str]]]:
    """The rows of the page's table."""
    table = PAGE.read_text().partition("<!-- commands: begin")[2].partition("<!-- commands: end")[0]
    rows = re.findall(r"^\| (.+?) \| (\d.+?) \|$", table, re.MULTILINE)
    return [
        (name, Counter({word.lower(): int(number) for number, word in re.findall(r"(\d+) ([A-Z]+)", cells)}))
        for name, cells in rows
    ]


def connected(number: int) -> ClientConnected:
    return ClientConnected(f"{IO1}.{number:016d}", "c", "/", None, HANDSHAKE, "polling", bytes(32))


async def cost(bus: RedisBus, operation: Callable[[], Awaitable[object]]) -> Counter[str]:
    """How often Redis carries each command out, besides the scripts themselves."""
    await bus.connections.run(("CONFIG", "RESETSTAT"))
    await operation()
    [text] = await bus.connections.run(("INFO", "commandstats"))
    calls = Counter[str]()
    for line in text.decode().splitlines()[1:]:
        name, _, facts = line.removeprefix("cmdstat_").partition(":")
        calls[name] = int(facts.partition("calls=")[2].partition(",")[0])
    for name in ("config|resetstat", "evalsha", "script|load"):
        calls.pop(name, None)
    return calls


async def test_commands(patient_bus: RedisBus) -> None:
    bus, records, index = patient_bus, patient_bus.records, patient_bus.room_index
    client, roomy, warm, *others = [connected(number) for number in range(53)]
    await records.store([warm])  # loads the scripts
    await records.update([Accepted(warm.sid), Joined(warm.sid, "/", "a"), Left(warm.sid, "/", "a")])
    await records.forget([Ended(warm.sid)])
    found: list[Counter[str]] = []

    async def count(operation: Callable[[], Awaitable[object]]) -> None:
        found.append(await cost(bus, operation))

    await count(lambda: records.store([client]))
    await count(lambda: records.update([Accepted(client.sid)]))
    await records.store([roomy])
    await records.update([Joined(roomy.sid, "/", room) for room in "xyz"])
    await count(lambda: records.update([Accepted(roomy.sid)]))
    await count(lambda: records.update([Joined(client.sid, "/", "a")]))
    await count(lambda: records.update([Left(client.sid, "/", "a")]))
    await count(lambda: records.forget([Ended(client.sid)]))
    await count(lambda: records.forget([Ended(roomy.sid)]))
    await records.store(others)
    await records.update([change for one in others for change in (Accepted(one.sid), Joined(one.sid, "/", "r"))])
    await count(lambda: index.count("/"))
    await count(lambda: index.count("/", "r"))
    await count(lambda: index.page("/", "r"))
    await count(lambda: index.counts("/"))
    rows = documented()
    assert [(name, commands) for (name, _), commands in zip(rows, found, strict=True)] == rows


@pytest.mark.ci_only
@pytest.mark.timeout(180)
async def test_a_room_of_100_000_holds_nobody_up_for_50_ms(server: Valkey) -> None:
    """Neither Redis nor, in CPU time, a turn of the process that asks: also where the whole room is one set."""
    bus, members = RedisBus(Config(REDIS_URL=server.url, LANES=1)), [connected(number) for number in range(100_000)]
    await bus.start()
    await bus.connections.run(("CONFIG", "SET", "appendonly", "no"))
    for begin in range(0, len(members), 2_000):
        some = members[begin : begin + 2_000]
        await bus.records.store(some)
        await bus.records.update([change for one in some for change in (Joined(one.sid, "/", "r"), Accepted(one.sid))])
    assert await bus.room_index.count("/", "r") == len(members)
    await bus.connections.run(("CONFIG", "SET", "slowlog-log-slower-than", 50_000), ("SLOWLOG", "RESET"))
    async with turns() as found:
        page = await bus.room_index.page("/", "r")
        assert (await bus.room_index.counts("/"), len(page.records)) == ({"r": len(members)}, 1_000)
        for inside in (True, False):
            await change_all(bus, RoomsChange(("b",), inside))
    slow, _ = await bus.connections.run(("SLOWLOG", "GET", 10), ("SLOWLOG", "RESET"))
    await bus.stop()
    assert len(slow) <= MACHINE, slow
    assert sum(turn >= 0.05 for turn in found) <= MACHINE, max(found)


async def change_all(bus: RedisBus, change: RoomsChange) -> None:
    """As `enter_rooms` and `leave_rooms` do."""
    selection, cursor = Selection("/", ("r",)), None
    while True:
        found = await bus.selections.candidates(selection, cursor)
        for begin in range(0, len(found.sids), AT_A_TIME):
            await bus.selections.change(selection, found.sids[begin : begin + AT_A_TIME], change)
        cursor = found.cursor
        if cursor is None:
            return
