"""What stays marked of entries that left a log, in memory and in Valkey alike."""

import pytest

from sio_cluster.protocol.messages import Accept, ClientConnected, Command, Emit, Handshake, Join
from sio_cluster.protocol.recovery import Position, position_of
from sio_cluster.streams.api.inboxes import InboxEntry, InboxReader
from sio_cluster.streams.api.quiet import Gone
from sio_cluster.streams.api.records import Ended
from sio_cluster.testing.contract import Cluster, Writer

from .holding import APP1, IO1

SID = f"{IO1}.{1:016d}"
HANDSHAKE = Handshake("GET", "/socket.io/", "EIO=4", [("host", "example.org")], "192.0.2.1", 4711)


async def opened(cluster: Cluster, entries: int) -> tuple[InboxReader, list[InboxEntry]]:
    reader = cluster.inbox_reader(IO1, keeps_log=True)
    writer = Writer(cluster.appender(), cluster.keys.inbox(IO1), APP1, 1 << 20)
    await writer.write(*[b"%d" % number for number in range(entries)])
    return reader, await reader.read(0)


def gone_of(entry: InboxEntry, *commands: Command) -> Gone:
    gone = Gone()
    gone.add(entry.id, commands)
    return gone


async def reached(cluster: Cluster, offset: Position | None, *rooms: str) -> Position | None:
    horizon = await cluster.homes().horizon(IO1)
    assert horizon is not None
    return (await cluster.homes().marks(IO1, SID, "/", rooms)).reached(offset, horizon)


def place(entry: InboxEntry, number: int = 0) -> Position:
    return position_of(entry.id, number)


async def test_marks_of_one_stretch_after_the_other(cluster: Cluster) -> None:
    reader, [first, second, third] = await opened(cluster, 3)
    homes = cluster.homes()
    await homes.mark_gone(IO1, gone_of(first, Accept(SID), Emit("/", b"", to=["red"])), first.id)
    await reader.forget_log(first.id, [])
    assert await reached(cluster, None) == place(first)
    assert await reached(cluster, place(first)) == place(first)
    assert await reached(cluster, place(first), "red") is None
    assert await reached(cluster, place(first, 1), "red") == place(first, 1)
    await homes.mark_gone(IO1, gone_of(second, Emit("/", b"", to=["red"], skip=[SID])), second.id)
    await reader.forget_log(second.id, [])
    assert await reached(cluster, place(first, 1), "red") == place(first, 1)
    await homes.mark_gone(IO1, gone_of(third, Emit("/", b"")), third.id)
    assert await reached(cluster, place(first, 1), "red") is None
    assert await reached(cluster, place(third)) == place(third)


async def test_repeating_it_does_no_harm(cluster: Cluster) -> None:
    _, [first] = await opened(cluster, 1)
    gone = gone_of(first, Emit("/", b""), Emit("/", b"", skip=[SID]))
    for _ in range(2):
        await cluster.homes().mark_gone(IO1, gone, first.id)
        assert await reached(cluster, place(first)) == place(first)


async def test_entries_that_were_forgotten_without_marks(cluster: Cluster) -> None:
    reader, [first, second, third] = await opened(cluster, 3)
    homes = cluster.homes()
    await homes.mark_gone(IO1, gone_of(first, Accept(SID)), first.id)
    await reader.forget_log(second.id, [])
    assert await reached(cluster, place(first)) is None
    await homes.mark_gone(IO1, gone_of(third, Join(SID, "red")), third.id)
    await reader.forget_log(third.id, [])
    assert await reached(cluster, place(second)) is None


async def test_too_many_marks(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (f"sio_cluster.streams.{bus}.homes" for bus in ("redis", "memory")):
        monkeypatch.setattr(f"{module}.MOST_MARKS", 10)
    _, [first, second, third] = await opened(cluster, 3)
    homes = cluster.homes()
    await homes.mark_gone(IO1, gone_of(first, *[Emit("/", b"", to=[n]) for n in range(5_000)]), first.id)
    assert await reached(cluster, place(first, 4_999), "4999") == place(first, 4_999)
    await homes.mark_gone(IO1, gone_of(second, Emit("/", b"")), second.id)
    assert await reached(cluster, place(second)) is None
    await homes.mark_gone(IO1, gone_of(third, Emit("/", b"")), third.id)
    assert await reached(cluster, place(third)) == place(third)


async def test_clients_that_are_gone_for_good_and_homes_that_end(cluster: Cluster) -> None:
    reader, [first] = await opened(cluster, 1)
    records, homes = cluster.records(), cluster.homes()
    await records.store([ClientConnected(SID, "c", "/", None, HANDSHAKE, "polling", b"h" * 32)])
    await homes.mark_gone(IO1, gone_of(first, Accept(SID), Emit("/", b"", to=[SID])), first.id)
    await reader.forget_log(first.id, [])
    assert await reached(cluster, place(first, 1)) == place(first, 1)
    assert await reached(cluster, place(first)) is None
    await records.forget([Ended(SID)])
    assert await reached(cluster, None) is None
    assert await reached(cluster, place(first)) == place(first)  # nothing is left that says otherwise
    await homes.park(IO1, 1 << 20)
    assert await homes.end(IO1)
    assert (await homes.marks(IO1, SID, "/", [])).reached(place(first), first.id) is None


async def test_no_home(cluster: Cluster) -> None:
    marks = await cluster.homes().marks(IO1, SID, "/", ["red"])
    assert marks.reached(Position(1, 0, 0), b"1-0") is None
