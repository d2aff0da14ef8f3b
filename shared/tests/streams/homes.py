"""What the tests of homes begin with."""

from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.api.inboxes import InboxEntry, InboxReader
from sio_cluster.streams.api.records import Ended
from sio_cluster.testing.contract import Cluster, Writer

from .holding import APP1, IO1

IO2 = "io2-aaaaaa"
SID, OTHER = f"{IO1}.{1:016d}", f"{IO1}.{2:016d}"
HANDSHAKE = Handshake("GET", "/socket.io/", "EIO=4", [("host", "example.org")], "192.0.2.1", 4711)
HASH = b"h" * 32
START = b"0-0"


def writer(cluster: Cluster, home: str = IO1, max_bytes: int = 1 << 20, node_id: str = APP1) -> Writer:
    return Writer(cluster.appender(), cluster.keys.inbox(home), node_id, max_bytes)


async def opened(cluster: Cluster, *entries: bytes, home: str = IO1) -> tuple[InboxReader, list[InboxEntry]]:
    """A home whose reader has read these entries."""
    reader = cluster.inbox_reader(home, keeps_log=True)
    await writer(cluster, home).write(*entries)
    return reader, await reader.read(0)


async def store(cluster: Cluster, *sids: str) -> None:
    await cluster.records().store([ClientConnected(sid, "c", "/", None, HANDSHAKE, "polling", HASH) for sid in sids])


async def forget(cluster: Cluster, *sids: str, keep_ms: int = 0) -> None:
    await cluster.records().forget([Ended(sid, 0, keep_ms) for sid in sids])


def bodies(entries: list[InboxEntry]) -> list[bytes]:
    return [entry.entry for entry in entries]


async def all_of(cluster: Cluster, home: str = IO1, after: bytes = START) -> list[bytes]:
    """The whole log, read by pages of two."""
    found: list[InboxEntry] = []
    while page := await cluster.homes().page(home, after, 2):
        assert len(page) <= 2
        found += page
        after = page[-1].id
    return bodies(found)
