"""`python -m loadtest.tests.browser.bench`: the simulated browser beside locust's own SocketIOUser, as receivers.

A cheap sender in this process writes ready-made frames to all clients. The receiver is one locust process on one core.
A round is one message to each client, or a burst of them in one write. Two rounds are under way at any time, so the
receiver is never idle, and never gets more messages of a client at once than a round has. The figure to trust is the
CPU time of the receiver per delivery, because sender and receiver share the machine.
"""

import asyncio
import os
import platform
import resource
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import msgspec
import psutil
import typer
import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server
from rich.console import Console
from rich.table import Table

REPORT_DIR = Path("loadtest/report")
OPENING = b'0{"sid":"io1-aaaaaa.0","upgrades":[],"pingInterval":300000,"pingTimeout":300000,"maxPayload":1000000}'
PAYLOAD_BYTES = 128
ROUNDS_UNDER_WAY = 2
START_TIMEOUT_S = 60.0
console = Console() if sys.stdout.isatty() else Console(width=100)


class Phase(msgspec.Struct):
    """The deliveries of one phase, and what they cost the receiving process."""

    deliveries: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        return self.deliveries / self.seconds

    @property
    def per_cpu_second(self) -> float:
        return self.deliveries / self.cpu_seconds


class Result(msgspec.Struct):
    """One receiver. Its memory is resident, without what the process had before its first client."""

    kind: str
    clients: int
    connect_seconds: float
    memory_kb_per_client: float
    single: Phase
    bursts: Phase


class _Client(WSListener):
    """One client of the sender: just enough Socket.IO to let it into `/`."""

    def __init__(self, sender: "Sender") -> None:
        self._sender = sender

    def on_ws_connected(self, transport: WSTransport) -> None:
        self._transport = transport
        transport.send(WSMsgType.TEXT, OPENING)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        packet = frame.get_payload_as_bytes()
        if packet.startswith(b"40"):
            transport.send(WSMsgType.TEXT, b'40{"sid":"s"}')
            self._sender.joined(transport)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self._sender.clients.pop(transport, None)


class Sender:
    """Writes rounds to its clients. The receiver says over a control connection when a round is over."""

    def __init__(self, wanted: int) -> None:
        self.clients: dict[WSTransport, Any] = {}
        self.go = asyncio.Event()
        self.everybody = asyncio.Event()
        self.ready = asyncio.Event()
        self._sent = 0  # messages to each client: their numbers go on from phase to phase
        self._wanted = wanted
        self._rounds = asyncio.Semaphore(0)

    def joined(self, transport: WSTransport) -> None:
        self.clients[transport] = transport.underlying_transport.write
        if len(self.clients) == self._wanted:
            self.everybody.set()

    async def control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readexactly(1)
            self.ready.set()
            await self.go.wait()
            writer.write(b"g")
            while dots := await reader.read(4096):
                for _ in dots:
                    self._rounds.release()
        finally:
            writer.close()

    async def rounds(self, seconds: float, burst: int) -> int:
        """Sends rounds of `burst` messages to each client for `seconds`, and waits for them. Returns the deliveries."""
        end, number, under_way = time.perf_counter() + seconds, 0, 0
        while time.perf_counter() < end:
            frame = b"".join(_frame(self._sent + turn) for turn in range(burst))
            self._sent += burst
            for write in self.clients.values():
                write(frame)
            number += 1
            under_way += burst
            while under_way > (ROUNDS_UNDER_WAY - 1) * burst:
                await asyncio.wait_for(self._rounds.acquire(), 60)
                under_way -= 1
        for _ in range(under_way):
            await asyncio.wait_for(self._rounds.acquire(), 60)
        return number * burst * len(self.clients)


def _frame(number: int) -> bytes:
    stamp = f"{1:08d}{0:08d}{number:08d}{time.time_ns() // 1000:016d}"
    payload = f'42["d","{stamp:x<{PAYLOAD_BYTES}}"]'.encode()
    return bytes((0x81, 126)) + len(payload).to_bytes(2, "big") + payload


@asynccontextmanager
async def _receiver(kind: str, clients: int, spawn_rate: int, sender: Sender) -> AsyncIterator[psutil.Process]:
    def listener(_: WSUpgradeRequest) -> _Client:
        return _Client(sender)

    server = await ws_create_server(listener, "127.0.0.1", 0, backlog=8192, websocket_handshake_timeout=60)
    control = await asyncio.start_server(sender.control, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    port = control.sockets[0].getsockname()[1]
    arguments = [kind, url, str(clients), str(spawn_rate), str(port)]
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "loadtest.tests.browser.bench_receiver", *arguments
    )
    try:
        yield psutil.Process(child.pid)
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()
        server.close()
        control.close()


async def measure(kind: str, clients: int, *, seconds: float, spawn_rate: int, burst: int = 10) -> Result:
    """Starts a receiver of this kind and sends to it. Raises TimeoutError if its clients do not connect."""
    sender = Sender(clients)
    async with _receiver(kind, clients, spawn_rate, sender) as process:
        await asyncio.wait_for(sender.ready.wait(), START_TIMEOUT_S)
        started, before = time.perf_counter(), process.memory_info().rss
        sender.go.set()
        await asyncio.wait_for(sender.everybody.wait(), START_TIMEOUT_S)
        connect_seconds = time.perf_counter() - started
        memory = process.memory_info().rss - before
        await sender.rounds(min(1.0, seconds), 1)  # warm
        return Result(
            kind=kind,
            clients=clients,
            connect_seconds=connect_seconds,
            memory_kb_per_client=memory / 1024 / clients,
            single=await _phase(sender, process, seconds, 1),
            bursts=await _phase(sender, process, seconds, burst),
        )


async def _phase(sender: Sender, process: psutil.Process, seconds: float, burst: int) -> Phase:
    start, cpu = time.perf_counter(), sum(process.cpu_times()[:2])
    deliveries = await sender.rounds(seconds, burst)
    return Phase(deliveries, time.perf_counter() - start, max(0.01, sum(process.cpu_times()[:2]) - cpu))


def main(
    clients: Annotated[int, typer.Option(help="Clients of each kind")] = 500,
    held: Annotated[int, typer.Option(help="Simulated browsers held in one process")] = 5000,
    seconds: Annotated[float, typer.Option(help="Length of each phase")] = 5.0,
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard > 0 else soft, hard))
    results = uvloop.run(_run(clients, held, seconds))
    _print(results)
    REPORT_DIR.mkdir(parents=True, exist_ok=True)
    path = REPORT_DIR / f"browser-bench-{time.strftime('%Y%m%d-%H%M%S')}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode({"machine": _machine(), "results": results})))
    console.print(f"all figures: {path}")


async def _run(clients: int, held: int, seconds: float) -> list[Result]:
    plan = [("browser", clients), ("locust", clients), ("browser", held)]
    results = []
    for kind, count in plan:
        console.print(f"{count} clients: {kind}", style="dim")
        results.append(await measure(kind, count, seconds=seconds, spawn_rate=200))
    return results


def _print(results: list[Result]) -> None:
    ours, theirs, held = results
    table = Table(title="one receiving process on one core; bursts of 10", title_justify="left")
    table.add_column("")
    for title in (f"browser, {ours.clients}", f"SocketIOUser, {theirs.clients}", "ratio", f"browser, {held.clients}"):
        table.add_column(title, justify="right")
    rows = {
        "single: deliveries per CPU second": [r.single.per_cpu_second for r in results],
        "single: deliveries per second": [r.single.per_second for r in results],
        "bursts: deliveries per CPU second": [r.bursts.per_cpu_second for r in results],
        "bursts: deliveries per second": [r.bursts.per_second for r in results],
        "memory per client, KB": [r.memory_kb_per_client for r in results],
    }
    for title, (a, b, c) in rows.items():
        table.add_row(title, f"{a:,.0f}", f"{b:,.0f}", f"{a / b:.1f}x" if b else "-", f"{c:,.0f}")
    console.print(table)
    console.print(", ".join(f"{key} {value}" for key, value in _machine().items()), style="dim")


def _machine() -> dict[str, str]:
    load = os.getloadavg()[0]
    return {"cores": str(os.cpu_count()), "python": platform.python_version(), "load average": f"{load:.1f}"}


if __name__ == "__main__":
    typer.run(main)
