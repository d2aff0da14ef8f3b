"""One child process: started, watched, restarted, stopped, and its output read line by line.

honcho and its like stop everything when one process ends. This one has to restart it instead, so it is its own.

A child has a session of its own: Ctrl-C in the terminal reaches the supervisor alone, which then stops its children in
their order. Whatever a child has started dies with it.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from sio_stack.settings import StackError

LINES_KEPT = 400
LONGEST_LINE = 16_384
FIRST_DELAY_S = 0.2
LONGEST_DELAY_S = 10.0
STEADY_AFTER_S = 10.0  # a process that lived as long starts its backoff anew
READY_POLL_S = 0.05

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Command:
    """What to run, and how to see that it serves."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    is_ready: Callable[[], Awaitable[bool]]
    stop_signal: signal.Signals = signal.SIGTERM
    grace_s: float = 10.0  # between the stop signal and SIGKILL
    orphan_signal: signal.Signals = signal.SIGKILL  # what it gets where the supervisor is killed (Linux)
    muted: tuple[str, ...] = ()  # a line with one of these in it is kept but not passed on


class Process:
    """One Command, kept running from `start` to `stop`.

    `on_line(name, text)` gets what it prints, `on_notice(name, text)` what the supervisor has to say about it.
    """

    def __init__(
        self, command: Command, on_line: Callable[[str, str], None], on_notice: Callable[[str, str], None]
    ) -> None:
        self.command = command
        self.restarts = 0
        self.lines: deque[str] = deque(maxlen=LINES_KEPT)
        self._on_line = on_line
        self._on_notice = on_notice
        self._child: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = False

    @property
    def name(self) -> str:
        return self.command.name

    @property
    def pid(self) -> int:
        """Its process id; 0 while it does not run."""
        return self._child.pid if self._child is not None and self._child.returncode is None else 0

    async def start(self, timeout_s: float = 30.0) -> None:
        """Returns when it is ready. Raises StackError where it ends first, or is not ready in time."""
        started = time.monotonic()
        await self._spawn()
        if not await self._wait_ready(timeout_s):
            code = self._child.returncode if self._child else None
            last = f"; it said: {self.lines[-1]}" if self.lines else ""
            await self.stop()
            if code is None:
                raise StackError(f"{self.name} was not ready within {timeout_s:g} s{last}")
            raise StackError(f"{self.name} {describe(code)} {time.monotonic() - started:.1f} s after its start{last}")
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.name}")

    def signal(self, number: int) -> None:
        """Sends it a signal, if it runs."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):  # it has just ended; asyncio does not know yet
                os.kill(self.pid, number)

    def dismiss(self, number: int) -> None:
        """Sends it a signal on which it ends in its own time; it is not started again. `stop` has to follow."""
        self._stopping = True
        self.signal(number)

    async def stop(self, number: int | None = None) -> None:
        """Ends it for good: by that signal (its own stop signal by default), after its grace by SIGKILL."""
        self._stopping = True
        if self._keeper is not None:
            await _settle(self._keeper, 0)
        child = self._child
        if child is not None:
            if child.returncode is None:
                await self._end(child, self.command.stop_signal if number is None else number)
            _kill_group(child.pid)
        if self._reader is not None:
            await _settle(self._reader, 1)  # what is left in the pipe: nobody writes to it any more

    def kill(self) -> None:
        """Ends it and all that it has started, now, without waiting."""
        self._stopping = True
        if self._child is not None:
            _kill_group(self._child.pid)

    async def _end(self, child: asyncio.subprocess.Process, number: int) -> None:
        self.signal(number)
        self.signal(signal.SIGCONT)  # a stopped process could not act on it
        try:
            await asyncio.wait_for(child.wait(), self.command.grace_s)
        except TimeoutError:
            self._on_notice(self.name, f"did not stop within {self.command.grace_s:g} s: killed")
            _kill_group(child.pid)
            await child.wait()

    async def _spawn(self) -> None:
        command = self.command
        # Not asyncio's own pipe: with that, wait() returns only when the child's children have closed it too.
        output, end = os.pipe()
        try:
            self._child = await asyncio.create_subprocess_exec(
                *command.argv,
                env=dict(command.env),
                cwd=command.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=end,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(command.orphan_signal),
            )
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(end)
        self._reader = asyncio.create_task(self._read(output), name=f"read {command.name}")

    async def _read(self, output: int) -> None:
        async for line in lines_of(output):
            self.lines.append(line)
            if not any(text in line for text in self.command.muted):
                self._on_line(self.name, line)

    async def _wait_ready(self, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.pid and not self._stopping:
            if await self.command.is_ready():
                return True
            await asyncio.sleep(READY_POLL_S)
        if self._reader is not None and not self.pid:  # what it said last belongs into the message
            await asyncio.wait([self._reader], timeout=1)
        return False

    async def _keep(self) -> None:
        """Restarts it whenever it ends. The delay doubles from one quick death to the next, up to its bound."""
        delay_s = FIRST_DELAY_S
        while not self._stopping:
            assert self._child is not None
            born = time.monotonic()
            code = await self._child.wait()
            if self._stopping:
                return
            _kill_group(self._child.pid)
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


def die_with_parent(number: int) -> Callable[[], None] | None:
    """For `preexec_fn`: the child gets this signal where its parent is killed with -9. None where the system cannot."""
    if _libc is None:
        return None
    libc, parent = _libc, os.getpid()

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)
        if os.getppid() != parent:
            os._exit(1)

    return prepare


def describe(code: int) -> str:
    """How a process ended, from its return code."""
    if code >= 0:
        return f"ended (exit status {code})"
    try:
        return f"was killed ({signal.Signals(-code).name})"
    except ValueError:
        return f"was killed (signal {-code})"


async def lines_of(pipe: int) -> AsyncIterator[str]:
    """Lines of any output; one that is too long comes in pieces. Closes the pipe."""
    stream = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(stream), os.fdopen(pipe, "rb", buffering=0)
    )
    try:
        rest = b""
        while chunk := await stream.read(65_536):
            *whole, rest = (rest + chunk).split(b"\n")
            if len(rest) > LONGEST_LINE:
                whole, rest = [*whole, rest], b""
            for line in whole:
                yield line.decode(errors="replace").rstrip("\r")
        if rest:
            yield rest.decode(errors="replace")
    finally:
        transport.close()


async def _settle(task: asyncio.Task[None], patience_s: float) -> None:
    """Gives a task that long to end by itself, then cancels it. Raises what it raised."""
    await asyncio.wait([task], timeout=patience_s)
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def _kill_group(leader: int) -> None:
    """Also after the leader's death: the workers of a killed nginx would go on listening."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS says the latter of a group of zombies
        os.killpg(leader, signal.SIGKILL)
