"""An io-node that may open no more files: it says so, keeps what it has, and goes on when there are some again."""

import resource
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest
import structlog

from io_node.engineio.http.descriptors import Descriptors

pytestmark = pytest.mark.slow

LIMIT = 128
NODE = f"""
import asyncio, resource, uvloop
resource.setrlimit(resource.RLIMIT_NOFILE, ({LIMIT}, {LIMIT}))
from io_node.app import IoNode
from io_node.listener import Listener
from sio_cluster.node.settings.config import Config
from sio_cluster.streams.memory import MemoryBroker, MemoryBus

async def main():
    config, broker = Config(HTTP_PORT=0, HEARTBEAT_MS=100), MemoryBroker()
    node = IoNode(config, bus=lambda _: MemoryBus(config, broker), settle_ms=0)
    async with Listener(None, config, node) as listener:
        await listener.wait_until_ready(20)
        print("PORT", listener.port, flush=True)
        await asyncio.to_thread(input)

uvloop.run(main())
"""
UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Node:
    """An io-node in a process of its own, which may open LIMIT files."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", NODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output: list[str] = []
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("PORT "):
                self.port = int(line.split()[1])
                break
            self.output.append(line)

    def open(self) -> tuple[str, socket.socket]:
        """A WebSocket client. Returns the status of the answer."""
        client = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        client.sendall(UPGRADE)
        return client.recv(12).decode(), client

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def stop(self) -> str:
        """Ends it. Returns what it has written."""
        with suppress(BrokenPipeError):
            self.output.append(self.process.communicate("\n", timeout=20)[0])
        return "".join(self.output)


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.process.kill()
    node.process.wait()


def test_new_clients_are_refused_and_counted_and_come_in_again_later(node: Node) -> None:
    opened = [node.open() for _ in range(2 * LIMIT)]
    statuses = Counter(status for status, _ in opened)
    let_in = statuses["HTTP/1.1 101"]
    assert statuses["HTTP/1.1 503"] == 2 * LIMIT - let_in
    assert LIMIT // 2 < let_in < LIMIT - LIMIT // 8
    with pytest.raises(urllib.error.HTTPError, match="503") as refused:
        node.get("/socket.io/?EIO=4&transport=polling")
    assert refused.value.read() == b'{"code":3,"message":"Too many open files"}'
    assert refused.value.headers["connection"] == "close"
    assert node.get("/healthz")
    count = f'sio_io_requests_refused_total{{reason="Too many open files"}} {2 * LIMIT - let_in + 1}'
    assert count in node.get("/metrics").replace(".0\n", "\n")
    for _, client in opened:
        client.close()
    while (answer := node.open())[0] != "HTTP/1.1 101":
        answer[1].close()
    answer[1].close()
    written = node.stop()
    assert written.count("open_files_short") == 1
    assert written.count("open_files_suffice") == 1


def test_connections_that_ask_for_nothing_are_noticed_too(node: Node) -> None:
    silent = [socket.create_connection(("127.0.0.1", node.port), timeout=10) for _ in range(2 * LIMIT)]
    for client in silent:
        with suppress(OSError):
            client.sendall(b"G")
    closed = [client for client in silent if _is_closed(client)]
    assert closed  # by libuv
    for client in silent:
        client.close()
    while True:
        with suppress(OSError):
            status, client = node.open()
            client.close()
            if status == "HTTP/1.1 101":
                break
    assert node.stop().count("open_files_short") == 1


def test_it_is_logged_once_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 1_000_000
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    descriptors = Descriptors()
    with structlog.testing.capture_logs() as logs:
        for limit in (1_000_000, 1, 1, 1_000_000, 1_000_000, 1, resource.RLIM_INFINITY):
            assert descriptors.run_short() is (limit == 1)
    events = [entry["event"] for entry in logs]
    assert events == ["open_files_short", "open_files_suffice", "open_files_short", "open_files_suffice"]


def _is_closed(client: socket.socket) -> bool:
    client.settimeout(0.01)
    try:
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True
