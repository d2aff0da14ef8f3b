"""What questions and changes cost Redis: as docs/performance.md says, by the server's own count of its commands."""

import re
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from sio_cluster.streams.api.records import Accepted, Ended, Joined, Left
from sio_cluster.streams.redis import RedisBus

from .real_server import connected

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[3] / "docs/performance.md"


def documented() -> list[tuple[str, Counter[str]]]:
    """The rows of the page's table."""
    table = PAGE.read_text().partition("<!-- commands: begin")[2].partition("<!-- commands: end")[0]
    rows = re.findall(r"^\| (.+?) \| (\d.+?) \|$", table, re.MULTILINE)
    return [
        (name, Counter({word.lower(): int(number) for number, word in re.findall(r"(\d+) ([A-Z]+)", cells)}))
        for name, cells in rows
    ]


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


async def test_commands(bus: RedisBus) -> None:
    records, index = bus.records, bus.room_index
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
    held = [await bus.leases.acquire(lane, "app1", 60_000) for lane in range(16)]
    leases = [lease for lease in held if lease is not None]
    await bus.leases.renew(leases, 60_000)
    await count(lambda: bus.leases.renew(leases, 60_000))
    await count(lambda: bus.presences.news(leases))
    rows = documented()
    assert [(name, commands) for (name, _), commands in zip(rows, found, strict=True)] == rows
