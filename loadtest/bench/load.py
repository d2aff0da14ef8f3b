"""The load: light WebSocket clients in one process, which count and time what they receive."""

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

CONNECT_AT_ONCE = 50


@dataclass
class Tally:
    """What all clients of one measurement received."""

    deliveries: int = 0
    acks: int = 0
    out_of_order: int = 0
    latencies_s: list[float] = field(default_factory=list)
    wanted: int = 0
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def expect(self, deliveries: int) -> None:
        self.deliveries, self.out_of_order, self.wanted = 0, 0, deliveries
        self.latencies_s.clear()
        self.complete.clear()


class Client(WSListener):  # type: ignore[misc]  # picows ships no class that mypy may subclass
    """One client on one namespace. Only every 50th client reads timestamps: parsing all would measure the generator."""

    def __init__(self, number: int, tally: Tally) -> None:
        self.ready = asyncio.get_running_loop().create_future()
        self.transport: WSTransport | None = None
        self.echoing = False
        self._tally = tally
        self._sampled = number % 50 == 0
        self._next_ack = 0
        self._last_news = -1

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        packet = frame.get_payload_as_bytes()
        if packet.startswith(b'42["news"'):
            self._received_news(packet)
        elif packet.startswith(b"43"):
            self._received_ack(packet)
        elif packet == b"2":
            transport.send(WSMsgType.TEXT, b"3")
        elif packet.startswith(b"0"):
            transport.send(WSMsgType.TEXT, b"40")
        elif packet.startswith(b"40"):
            transport.send(WSMsgType.TEXT, b'420["join"]')

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError("closed while connecting"))

    def send_event(self, packet: bytes) -> None:
        assert self.transport is not None
        self.transport.send(WSMsgType.TEXT, packet)

    def echo(self) -> None:
        self._next_ack += 1
        self.send_event(b'42%d["echo",1]' % self._next_ack)

    def _received_news(self, packet: bytes) -> None:
        tally = self._tally
        tally.deliveries += 1
        if self._sampled:
            news = json.loads(packet[2:])[1]
            tally.latencies_s.append(time.time() - news["ts"])
            tally.out_of_order += news["i"] != self._last_news + 1 and news["i"] != 0
            self._last_news = news["i"]
        if tally.deliveries == tally.wanted:
            tally.complete.set()

    def _received_ack(self, packet: bytes) -> None:
        if not self.ready.done():
            self.ready.set_result(None)
        elif self.echoing:
            self._tally.acks += 1
            self.echo()


async def connect(ports: Sequence[int], count: int, tally: Tally) -> list[Client]:
    """`count` clients, spread evenly over the ports, each in its namespace and in the room."""
    gate = asyncio.Semaphore(CONNECT_AT_ONCE)

    async def one(number: int) -> Client:
        async with gate:
            client = Client(number, tally)
            url = f"ws://127.0.0.1:{ports[number % len(ports)]}/socket.io/?EIO=4&transport=websocket"
            await ws_connect(lambda: client, url)
            await asyncio.wait_for(client.ready, 30)
            return client

    return await asyncio.gather(*(one(number) for number in range(count)))


def disconnect(clients: Sequence[Client]) -> None:
    for client in clients:
        if client.transport is not None:
            client.transport.disconnect(graceful=False)
