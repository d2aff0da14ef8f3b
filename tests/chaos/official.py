"""A process with official clients, which takes orders on its stdin and writes down what its clients see."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.conftest import ROOT


class Official:
    """One such process: `argv`, then the URL, the file, the first client's number, how many there are, and `more`.

    It prints "in" once all of them were let in.
    """

    def __init__(self, process: asyncio.subprocess.Process, name: str) -> None:
        self._process = process
        self._name = name

    @classmethod
    @asynccontextmanager
    async def started(
        cls, argv: list[str], url: str, directory: Path, first: int, count: int, *more: str
    ) -> AsyncIterator["Official"]:
        path = directory / f"clients-{first}.txt"
        process = await asyncio.create_subprocess_exec(
            *argv, url, str(path), str(first), str(count), *more,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=ROOT,
        )  # fmt: skip
        official = cls(process, argv[-1])
        try:
            yield official
        finally:
            if process.returncode is None:
                assert process.stdin is not None
                process.stdin.close()  # asyncio waits for the pipe, too
                process.kill()
            await process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def all_in(self, within_s: float = 30.0) -> None:
        assert self._process.stdout is not None
        async with asyncio.timeout(within_s):
            line = await self._process.stdout.readline()
        assert line.strip() == b"in", f"{self._name} could not connect"

    async def order(self, words: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(words.encode() + b"\n")
        await self._process.stdin.drain()

    async def leave(self, within_s: float = 10.0) -> None:
        await self.order("leave")
        async with asyncio.timeout(within_s):
            await self._process.wait()
