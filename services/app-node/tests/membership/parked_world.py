"""A parked home in memory, with clients that are away, and an app-node's part that looks after it."""

import itertools
import os
from typing import Any

from app_node.counters import Counters
from app_node.membership.farewells import Farewells
from app_node.membership.parked_homes import ParkedHomes
from sio_cluster.protocol.codec import decode_uplink, encode_downlink
from sio_cluster.protocol.ids import new_sid
from sio_cluster.protocol.messages import ClientConnected, ClientDisconnected, Command, Handshake
from sio_cluster.protocol.recovery import encode_offset, hash_of, parse_offset, position_of
from sio_cluster.streams.api.appends import Append, AppendResult
from sio_cluster.streams.api.records import Accepted, Ended
from sio_cluster.streams.memory import MemoryBroker, MemoryBus
from sio_cluster.testing.configs import config_of

HOME, OTHER = "io1-aaaaaa", "io2-bbbbbb"
WINDOW_MS, NODE_TIMEOUT_MS = 100_000, 5_000
KEPT_S = 115
"""For how long a parked home keeps what is said to its clients."""
PID = hash_of("secret")


class World:
    """`now` is the time of Redis and of the app-node, in seconds. Entries have ids as in Redis."""

    def __init__(self, window_ms: int = WINDOW_MS, log_max_bytes: int = 1_000_000) -> None:
        self.now = 1000.0
        self.broker = MemoryBroker(lambda: self.now)
        self.bus = MemoryBus(config_of(lanes=2), self.broker)
        self.in_charge = True
        self.counters = Counters()
        self.window_ms = window_ms
        self.log_max_bytes = log_max_bytes
        self.parked = self.app_node()
        self._seq = itertools.count(1)

    def app_node(self) -> ParkedHomes:
        """Another one that knows nothing yet."""
        charge: Any = {
            "records": self.bus.records,
            "is_in_charge": lambda: self.in_charge,
            "counters": self.counters,
        }
        return ParkedHomes(
            window_ms=self.window_ms,
            node_timeout_ms=NODE_TIMEOUT_MS,
            log_max_bytes=self.log_max_bytes,
            inbox_max_bytes=1_000_000,
            clock=lambda: self.now,
            registry=self.bus.registry,
            homes=self.bus.homes,
            farewells=Farewells(
                node_id="app1-aaaaaa",
                lanes=2,
                lane_key=self.bus.keys.uplink,
                lane_max_bytes=1_000_000,
                appender=self.bus.appender,
                **charge,
            ),
            **charge,
        )

    async def start(self, level: int = 2) -> None:
        """The io-node registers, and reads its inbox for the first time."""
        await self.bus.start()
        await self.bus.registry.register_io_node(HOME, {"level": str(level)})
        await self.bus.inbox_reader(HOME, keeps_log=True).read(0)

    async def client(
        self, namespace: str = "/", *, pid: bytes = PID, let_in: bool = True, since: bytes | None = None
    ) -> str:
        """A client of this home that is connected: its sid. `since`: the last entry before it came."""
        sid = new_sid(HOME, os.urandom)
        handshake = Handshake("GET", "/", "", [], "10.0.0.1")
        place = "" if since is None else encode_offset(position_of(since, 0)).decode()
        connected = ClientConnected(sid, "c", namespace, None, handshake, "polling", pid, since=place)
        await self.bus.records.store([connected])
        if let_in:
            await self.bus.records.update([Accepted(sid)])
        return sid

    async def away(self, namespace: str = "/", keep_ms: int = 100 * WINDOW_MS, *, since: bytes | None = None) -> str:
        """A client of this home that is away: its sid."""
        sid = await self.client(namespace, since=since)
        await self.bus.records.forget([Ended(sid, 0, keep_ms)])
        return sid

    async def say(self, *commands: Command) -> bytes:
        """An app-node says this to the home, as one entry. Returns its id."""
        seq = next(self._seq)
        return await self.say_raw(encode_downlink("app2-aaaaaa", seq, list(commands)), seq)

    async def say_raw(self, entry: bytes, seq: int | None = None) -> bytes:
        key = self.bus.keys.inbox(HOME)
        stream = self.broker.streams[key]
        stream.last_id = max(stream.last_id, int(1000 * self.now) - 1)
        append = Append(key, "app2-aaaaaa", seq or next(self._seq), entry, 1_000_000)
        assert await self.bus.appender.append([append]) == [AppendResult.APPENDED]
        return b"%d-0" % stream.last_id

    async def rooms(self, sid: str) -> list[str] | None:
        """The client's rooms at the horizon, without its own."""
        record = await self.bus.records.load(sid)
        since = None if record is None else parse_offset(record.connected.since)
        at = await self.bus.homes.rooms(HOME, sid, since)
        return None if at is None else sorted(str(room) for room in at.rooms - {sid})

    def told(self) -> list[ClientDisconnected]:
        """All that was written into lanes."""
        entries = [self.broker.streams[self.bus.keys.uplink(lane)].entries.values() for lane in (0, 1)]
        facts = [fact for entry in itertools.chain(*entries) for fact in decode_uplink(entry).facts]
        assert all(isinstance(fact, ClientDisconnected) for fact in facts)
        return sorted(facts, key=lambda fact: fact.sid)  # type: ignore[arg-type]
