"""Reads, shows, waits, again and again."""

import asyncio
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.text import Text

from sio_cluster.protocol.errors import BusError, ConfigError
from sio_cluster.streams.redis import RedisBus
from sio_cluster.top.rows import View, view_of
from sio_cluster.top.screen import frame
from sio_cluster.top.snapshot import Snapshot, read


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants to see. `rows`: the most rows of a table. `interval_s`: the time between two frames."""

    namespace: str
    rows: int
    interval_s: float


async def look_once(bus: RedisBus, wish: Wish) -> View:
    """Two snapshots, `interval_s` apart, so that there are rates. Raises BusError and ConfigError."""
    before = await read(bus, wish.namespace, wish.rows)
    await asyncio.sleep(wish.interval_s)
    return view_of(before, await read(bus, wish.namespace, wish.rows))


async def watch(bus: RedisBus, wish: Wish, console: Console) -> None:
    """Shows frame after frame until it is cancelled. While Redis is away, it says so, and goes on.

    Raises BusError and ConfigError where the first look fails.
    """
    before: Snapshot = await read(bus, wish.namespace, wish.rows)
    with Live(frame(view_of(before, before), wish.rows), console=console, screen=True,
              auto_refresh=False) as live:  # fmt: skip
        live.refresh()
        while True:
            await asyncio.sleep(wish.interval_s)
            try:
                now = await read(bus, wish.namespace, wish.rows)
            except (BusError, ConfigError) as error:
                live.update(Text(f"{error}. Trying again", style="bold red"), refresh=True)
                continue
            live.update(frame(view_of(before, now), wish.rows), refresh=True)
            before = now
