"""The tools of the chaos suite do what they are named after: the proxy, and the wrong clock."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from tests.chaos.proxy import Proxy
from tests.conftest import ROOT

Pair = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest_asyncio.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """In front of a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(1000):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    async with Proxy(server.sockets[0].getsockname()[1], seed=1) as between:
        yield between
    server.close()


async def connect(proxy: Proxy) -> Pair:
    return await asyncio.open_connection("127.0.0.1", proxy.port)


async def ask(pair: Pair, text: bytes, within_s: float = 2) -> bytes:
    reader, writer = pair
    writer.write(text)
    async with asyncio.timeout(within_s):
        return await reader.readexactly(len(text))


async def test_passes_on_in_order_with_delay_and_jitter(proxy: Proxy) -> None:
    pair = await connect(proxy)
    assert await ask(pair, b"one") == b"one"
    proxy.delay_s, proxy.jitter_s = 0.02, 0.02
    began = asyncio.get_running_loop().time()
    for number in range(3):
        assert await ask(pair, b"%d" % number) == b"%d" % number
    assert asyncio.get_running_loop().time() - began >= 3 * 2 * 0.02
    pair[1].close()


async def test_blackhole(proxy: Proxy) -> None:
    """Old connections and new ones stay open, and nothing comes; what was swallowed stays so."""
    old = await connect(proxy)
    assert await ask(old, b"one") == b"one"
    proxy.blackhole = True
    new = await connect(proxy)
    for pair in (old, new):
        with pytest.raises(TimeoutError):
            await ask(pair, b"two", 0.05)
    proxy.blackhole = False
    assert await ask(old, b"three") == b"three"
    for _, writer in (old, new):
        writer.close()


async def test_reset(proxy: Proxy) -> None:
    pair = await connect(proxy)
    assert await ask(pair, b"one") == b"one"
    proxy.reset()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await ask(pair, b"two")
    again = await connect(proxy)
    assert await ask(again, b"three") == b"three"
    again[1].close()


async def test_abandon_leaves_the_server_in_its_belief(proxy: Proxy) -> None:
    pair = await connect(proxy)
    assert await ask(pair, b"one") == b"one"
    proxy.abandon()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await ask(pair, b"two")
    assert [writer.transport.is_closing() for writer in proxy.abandoned] == [False]


def test_wrong_clock(tmp_path: Path) -> None:
    """The wall clock goes wrong with the file, the monotonic one does not."""
    shift = tmp_path / "shift"
    shift.write_text("3600")
    code = "import time; m = time.monotonic(); print(time.time(), time.time_ns(), time.monotonic() - m < 60)"
    env = {**os.environ, "PYTHONPATH": str(ROOT / "tests/chaos/clock"), "CHAOS_CLOCK": str(shift)}
    plain = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    wrong = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    seconds, nanoseconds, steady = wrong.stdout.split()
    assert 3500 < float(seconds) - float(plain.stdout.split()[0]) < 3700
    assert abs(int(nanoseconds) / 1e9 - float(seconds)) < 60
    assert steady == "True"
    assert "wall clock is off by 3600 s" in wrong.stderr
