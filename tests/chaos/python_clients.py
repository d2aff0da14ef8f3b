"""Official Python clients that write down what they see, as js/crowd.mjs: `python python_clients.py URL FILE FIRST
COUNT RATE`. One line on stdin at a time: "stop" ends the sending, "leave" disconnects all and ends the process."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import socketio

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.chaos.records import Pen

TRANSPORTS = (["websocket"], ["polling"], ["polling", "websocket"])


class Client:
    """Reconnects by itself, as the library does."""

    def __init__(self, number: int, pen: Pen) -> None:
        self.number = number
        self.sid = ""
        self.leaving = False
        self._pen = pen
        self._seq = 0
        self._sio = socketio.AsyncClient(reconnection_delay=0.1, reconnection_delay_max=1)
        self._sio.on("connect", self._connected)
        self._sio.on("disconnect", self._disconnected)
        self._sio.on("down", self._down)
        self._sio.on("news", self._news)
        self._sio.on("roll", self._roll)

    async def connect(self, url: str) -> None:
        transports = TRANSPORTS[self.number % len(TRANSPORTS)]
        await self._sio.connect(url, transports=transports, auth={"client": self.number}, wait_timeout=30)

    async def send_next(self) -> None:
        if not self._sio.connected or not self._sio.namespaces.get("/") or self.leaving:
            return
        seq, self._seq = self._seq, self._seq + 1
        self._pen(">", self.number, seq, self.sid)
        await self._sio.emit("up", (self.number, seq), callback=lambda *_: self._pen("a", self.number, seq))

    async def leave(self) -> None:
        self.leaving = True
        if self._sio.connected:
            self._pen("q", self.number, self.sid)
        await self._sio.shutdown()

    def _connected(self) -> None:
        self.sid = self._sio.get_sid("/")
        self._pen("o", self.number, self.sid, 0, 0)  # it knows nothing of recovery

    def _disconnected(self, *reason: Any) -> None:
        if not self.leaving:
            self._pen("p", self.number, self.sid)

    def _down(self, seq: int, origin: int, token: int, n: int) -> None:
        self._pen("v", self.number, self.sid, seq, origin, token, n)

    def _news(self, origin: int, n: int) -> None:
        self._pen("n", self.number, self.sid, origin, n)

    def _roll(self, room: str, round_: int) -> None:
        self._pen("h", self.number, self.sid, room, round_)


async def main(url: str, path: str, first: int, count: int, rate: float) -> None:
    pen = Pen(Path(path))
    clients = [Client(first + number, pen) for number in range(count)]
    await asyncio.gather(*(client.connect(url) for client in clients))
    print("in", flush=True)
    sending = asyncio.create_task(send(clients, rate))
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while (await orders.readline()).strip() == b"stop":
        sending.cancel()
    sending.cancel()
    await asyncio.gather(*(client.leave() for client in clients))


async def send(clients: list[Client], rate: float) -> None:
    while True:
        for client in clients:
            await client.send_next()
        await asyncio.sleep(1 / rate)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])))
