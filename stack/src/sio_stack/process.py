"""One part of a stack, kept running: started until it is ready, restarted when it dies, stopped in the end.

honcho and the like stop everything when one process ends. Here a part that dies has to come back, as in production.
"""

import asyncio
import signal
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sio_stack.child import Child
from sio_stack.settings import StackError

LINES_KEPT = 400
FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 10.0
STEADY_AFTER_S = 10.0  # after a life of this length, the pause before a restart is FIRST_DELAY_S again
READY_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and how to see that it serves."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    is_ready: Callable[[], Awaitable[bool]]
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 10.0  # from the stop signal to SIGKILL
    orphan_signal: signal.Signals = signal.SIGKILL  # what it gets where this process is killed (Linux)
    muted: tuple[str, ...] = ()  # lines with one of these texts are kept, but not passed to `on_line`


class Process:
    """One Command, kept running from `start` to `stop`.

    `on_line(name, text)` gets what it prints, `on_notice(name, text)` what there is to say about it. `lines` keeps the
    last 400 lines that it printed.
    """

    def __init__(
        self, command: Command, on_line: Callable[[str, str], None], on_notice: Callable[[str, str], None]
    ) -> None:
        self.command = command
        self.restarts = 0
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._on_line = on_line
        self._on_notice = on_notice
        self._child = Child(self._heard)
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def name(self) -> str:
        return self.command.name

    @property
    def pid(self) -> int:
        """0 while it does not run. Another one after a restart."""
        return self._child.pid

    async def start(self, timeout_s: float = 30.0) -> None:
        """Returns when it is ready. Raises StackError if it ends first, or is not ready in time."""
        started = time.monotonic()
        await self._spawn()
        if not await self._wait_ready(timeout_s):
            code = self._child.returncode
            last = f"; it said: {self.lines[-1]}" if self.lines else ""
            await self.stop()
            if code is None:
                raise StackError(f"{self.name} was not ready within {timeout_s:g} s{last}")
            raise StackError(f"{self.name} {describe(code)} {time.monotonic() - started:.1f} s after its start{last}")
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    def signal(self, number: int) -> None:
        """Sends it a signal, if it runs."""
        self._child.signal(number)

    def dismiss(self, number: int) -> None:
        """Sends it a signal on which it ends in its own time. It is not restarted. `stop` has to follow."""
        self._stopping = True
        self.signal(number)

    async def stop(self, number: int | None = None) -> None:
        """Ends it for good: by this signal or its own stop signal, and after its grace by SIGKILL."""
        self._stopping = True
        if self._keeper is not None:
            await _cancel(self._keeper)
        if self.pid:
            await self._end(self.command.stop_signal if number is None else number)
        self._child.kill()
        await self._child.read_all(1.0)
        await self._child.close()

    def kill(self) -> None:
        """Kills it and all that it has started, without waiting."""
        self._stopping = True
        self._child.kill()

    async def _end(self, number: int) -> None:
        self.signal(number)
        self.signal(signal.SIGCONT)  # a process that is stopped by SIGSTOP could not react
        try:
            async with asyncio.timeout(self.command.grace_s):
                await self._child.wait()
        except TimeoutError:
            self._on_notice(self.name, f"did not stop within {self.command.grace_s:g} s: killed")
            self._child.kill()
            await self._child.wait()

    async def _spawn(self) -> None:
        command = self.command
        self._child = Child(self._heard)
        await self._child.start(command.argv, command.env, command.cwd, command.orphan_signal)

    def _heard(self, line: str) -> None:
        self.lines.append(line)
        if not any(text in line for text in self.command.muted):
            self._on_line(self.name, line)

    async def _wait_ready(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.pid and not self._stopping:
            if await self.command.is_ready():
                return True
            await asyncio.sleep(READY_POLL_S)
        if not self.pid:  # its last words belong into the message
            await self._child.read_all(1.0)
        return False

    async def _keep(self) -> None:
        """Restarts it whenever it ends. The pause doubles from one early death to the next, up to LONGEST_DELAY_S."""
        delay_s = FIRST_DELAY_S
        while not self._stopping:
            born = time.monotonic()
            code = await self._child.wait()
            if self._stopping:
                return
            self._child.kill()  # the workers of a dead nginx would go on listening
            delay_s = FIRST_DELAY_S if time.monotonic() - born > STEADY_AFTER_S else delay_s
            self._on_notice(self.name, f"{describe(code)}: starting it again in {delay_s:g} s")
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, LONGEST_DELAY_S)
            began = time.monotonic()
            await self._spawn()
            self.restarts += 1
            if await self._wait_ready(30.0):
                took_s = time.monotonic() - began
                self._on_notice(self.name, f"serves again {took_s:.1f} s after its new start, pid {self.pid}")


def describe(code: int) -> str:
    """How a process ended, from its return code."""
    if code >= 0:
        return f"ended (exit status {code})"
    try:
        return f"was killed ({signal.Signals(-code).name})"
    except ValueError:
        return f"was killed (signal {-code})"


async def _cancel(task: asyncio.Task[None]) -> None:
    """Ends a task. Raises what it raised."""
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
