"""One child process: started in a session of its own, read line by line, and killed with all that it has started.

The one place of this repository that starts long-lived processes. `Process` keeps a child running; `make loadtest`
runs locust as one.

Ctrl-C in the terminal does not reach a child, because it has a session of its own. The parent decides how it ends.
Where the parent itself is killed with -9, the child gets a signal too (Linux).
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LONGEST_LINE = 16_384

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class DieWithParent:
    """For `preexec_fn`, on Linux: the child gets this signal where its parent is killed."""

    number: int
    parent: int

    def __call__(self) -> None:
        assert _libc is not None
        _libc.prctl(_PR_SET_PDEATHSIG, self.number)
        if os.getppid() != self.parent:
            os._exit(1)


class Child:
    """A process that is started once. `on_line(text)` gets each line that it prints, on stdout or stderr.

    A longer line than LONGEST_LINE comes in pieces.
    """

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int:
        """0 unless it runs."""
        return self._process.pid if self._process is not None and self._process.returncode is None else 0

    @property
    def returncode(self) -> int | None:
        """None until it has ended. Negative: the number of the signal that killed it."""
        return self._process.returncode if self._process is not None else None

    async def start(
        self, argv: Sequence[str], env: Mapping[str, str], cwd: Path, orphan_signal: int = signal.SIGKILL
    ) -> None:
        """`orphan_signal` is what it gets where this process is killed. Raises OSError where it cannot be started."""
        # Not asyncio's own pipe: with that, wait() returns only when the child's own children have closed it too.
        output, end = os.pipe()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *argv,
                env=dict(env),
                cwd=cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=end,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=DieWithParent(orphan_signal, os.getpid()) if _libc is not None else None,
            )
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(end)
        self._reader = asyncio.create_task(self._read(output), name=f"read {argv[0]}")

    def signal(self, number: int) -> None:
        """Sends it a signal, if it runs."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):  # it has just ended; asyncio does not know yet
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kills it and all that it has started, now. Also after its own end: its children may have outlived it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: the latter, for a group of zombies
                os.killpg(self._process.pid, signal.SIGKILL)

    async def wait(self) -> int:
        """Its return code, once it has ended. Its own children may still run."""
        assert self._process is not None, "not started"
        return await self._process.wait()

    async def read_all(self, within_s: float) -> bool:
        """Waits until all output is read: everybody who could write to it has ended. False: not within that time."""
        if self._reader is None:
            return True
        done, _ = await asyncio.wait([self._reader], timeout=within_s)
        if done:
            self._reader.result()
        return bool(done)

    async def close(self) -> None:
        """Reads no more. What `on_line` raised is raised here."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
            if not self._reader.cancelled():
                self._reader.result()

    async def _read(self, output: int) -> None:
        async for line in _lines_of(output):
            self._on_line(line)


async def _lines_of(pipe: int) -> AsyncIterator[str]:
    """Yields the lines of any output, and closes the pipe at its end."""
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
