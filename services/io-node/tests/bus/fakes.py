"""Facts to send, and senders that remember."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import ClientConnected, EventReceived, Handshake

NODE = "io1-aaaaaa"
HANDSHAKE = Handshake("GET", "/socket.io/", "EIO=4", [("host", "localhost")], "127.0.0.1")
KEYS = Keys("sio")


class FakeSender:
    def __init__(self) -> None:
        self.reading = asyncio.Event()
        self.reading.set()
        self.paused = asyncio.Event()

    def pause_reading(self) -> None:
        self.reading.clear()
        self.paused.set()

    def resume_reading(self) -> None:
        self.paused.clear()
        self.reading.set()


def event(number: int, size: int = 0, sid: str = "io1-aaaaaa.0000000000000001") -> EventReceived:
    return EventReceived(sid, None, b'["n",%d,"%s"]' % (number, b"x" * size))


def number_of(fact: object) -> int:
    assert isinstance(fact, EventReceived)
    return int(fact.data.split(b",")[1])


def connected(number: int) -> ClientConnected:
    return ClientConnected(f"{NODE}.{number:016d}", "conn", "/", None, HANDSHAKE, "websocket")


@asynccontextmanager
async def running(job: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """The job runs as a task, and must not have ended by itself."""
    task = asyncio.ensure_future(job())
    try:
        yield
        assert not task.done(), "the job ended by itself"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    """Waits for what has no event of its own."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.001)
