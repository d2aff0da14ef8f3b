"""One connection to Redis, and the pipeline that the whole process shares."""

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

import hiredis
import structlog
from redis.asyncio.connection import Connection, parse_url
from redis.exceptions import RedisError, ResponseError

from sio_cluster.protocol.errors import BusError, BusUnavailable
from sio_cluster.streams.translate import NoScript, ReadOnly, translate

log = structlog.get_logger()

Command: TypeAlias = tuple[str | bytes | int, ...]
Reply: TypeAlias = Any
"""As hiredis parses RESP2: bytes, int, None, or a list of replies."""

COMMAND_TIMEOUT_S = 5.0
CONNECT_TIMEOUT_S = 5.0


class Link:
    """One connection: one exchange at a time, reconnected by the next one after it was lost.

    RESP2 over redis-py's connection, which brings TLS, users and databases. Commands are packed by hiredis, and one
    time limit stands around an exchange in place of one for each read: an exchange of one command costs 60 us of CPU
    where `Redis.execute_command` costs twice that.
    """

    def __init__(self, address: str, greeting: Sequence[Command] = (), timeout_s: float = COMMAND_TIMEOUT_S) -> None:
        options: dict[str, Any] = {**parse_url(address)}
        connection_class = options.pop("connection_class", Connection)
        options |= {"socket_timeout": None, "socket_connect_timeout": CONNECT_TIMEOUT_S, "protocol": 2}
        self._connection = connection_class(**options)
        self._timeout_s = timeout_s
        self._greeting = greeting
        self._packed_greeting = pack(greeting)
        self._was_lost = False
        self.greeted: list[Reply] = []
        """The answers to the greeting, from the connection that stands now."""

    async def exchange(self, packed: bytes, answers: int, block_ms: int = 0) -> list[Reply]:
        """Sends packed commands and reads that many answers; an error reply stands in the list as a BusError.

        `block_ms` is how long they block in Redis: the time limit is `timeout_s` more than that.

        Raises BusUnavailable, and BusRefused where Redis does not let us in. An exchange that ends early, also by
        cancellation, closes the connection, so that no answer can be taken for that of another command.
        """
        connection = self._connection
        whole = False
        try:
            async with asyncio.timeout(self._timeout_s + block_ms / 1000):
                if not connection.is_connected:
                    await self._connect()
                await connection.send_packed_command(packed, check_health=False)
                replies = [await self._reply() for _ in range(answers)]
            whole = not any(isinstance(reply, ReadOnly) for reply in replies)
            return replies
        except (RedisError, OSError) as error:  # OSError: TimeoutError is one of them
            lost = translate(error)
            self._note_loss(lost)
            raise lost from error
        finally:
            if not whole:
                await self.close()

    async def close(self) -> None:
        """Closes the connection. The next exchange opens another one."""
        self.greeted = []
        await self._connection.disconnect(nowait=True)

    async def _connect(self) -> None:
        await self._connection.connect()
        if self._greeting:
            await self._connection.send_packed_command(self._packed_greeting, check_health=False)
            greeted = [await self._reply() for _ in self._greeting]
            raise_first_error(greeted)
            self.greeted = greeted
        if self._was_lost:
            self._was_lost = False
            log.info("redis_back")

    async def _reply(self) -> Reply:
        try:
            return await self._connection.read_response()
        except ResponseError as error:
            return translate(error)

    def _note_loss(self, error: BusError) -> None:
        """One line each time Redis goes, not one for each try while it is away."""
        if not self._was_lost:
            self._was_lost = True
            log.warning("redis_lost", error=str(error))


class Pipeline:
    """One link for many callers: what they ask for while an exchange is in flight goes out together in the next one.

    A caller that is cancelled leaves the exchange of the others alone. What waits is bounded by the callers, each of
    whom waits for its own answer.
    """

    def __init__(self, link: Link, scripts: Sequence[str]) -> None:
        self._link = link
        self._load_scripts: list[Command] = [("SCRIPT", "LOAD", script) for script in scripts]
        self._waiting: list[tuple[bytes, int, asyncio.Future[list[Reply]]]] = []
        self._pump: asyncio.Task[None] | None = None
        self._closed = False

    async def run(self, commands: Sequence[Command]) -> list[Reply]:
        """The answers, in order. Raises the first error among them, after all have been carried out.

        Each command must bear to be repeated: where a script was gone, all from that one on are sent once more.
        """
        replies = await self._send(commands)
        for index, reply in enumerate(replies):
            if isinstance(reply, NoScript):
                log.info("redis_scripts_reloaded")
                raise_first_error(await self._send(self._load_scripts))
                replies[index:] = await self._send(commands[index:])
                break
        raise_first_error(replies)
        return replies

    def open(self) -> None:
        self._closed = False

    async def close(self) -> None:
        """Ends what is in flight (its callers get BusUnavailable) and closes the link."""
        self._closed = True
        pump, self._pump = self._pump, None
        if pump is not None:
            pump.cancel()
            await asyncio.wait([pump])
        await self._link.close()

    async def _send(self, commands: Sequence[Command]) -> list[Reply]:
        if self._closed:
            raise BusUnavailable("the bus is stopped")
        if not commands:
            return []
        answers: asyncio.Future[list[Reply]] = asyncio.get_running_loop().create_future()
        self._waiting.append((pack(commands), len(commands), answers))
        if self._pump is None:
            self._pump = asyncio.create_task(self._carry(), name="redis-pipeline")
        return await answers

    async def _carry(self) -> None:
        """Sends until nothing waits."""
        flight: list[tuple[bytes, int, asyncio.Future[list[Reply]]]] = []
        try:
            while self._waiting:
                flight, self._waiting = self._waiting, []
                await self._fly(flight)
        finally:
            self._pump = None
            for _, _, answers in [*flight, *self._waiting]:
                if not answers.done():
                    answers.set_exception(BusUnavailable("the bus was stopped before the answer came"))

    async def _fly(self, flight: list[tuple[bytes, int, asyncio.Future[list[Reply]]]]) -> None:
        try:
            replies = await self._link.exchange(
                b"".join([packed for packed, _, _ in flight]), sum([count for _, count, _ in flight])
            )
        except BusError as error:
            for _, _, answers in flight:
                if not answers.done():
                    answers.set_exception(type(error)(*error.args))
            return
        start = 0
        for _, count, answers in flight:
            if not answers.done():
                answers.set_result(replies[start : start + count])
            start += count


def pack(commands: Sequence[Command]) -> bytes:
    """The commands as they go over the wire."""
    return b"".join([hiredis.pack_command(command) for command in commands])  # type: ignore[arg-type]  # stub: 1-tuple


def raise_first_error(replies: Sequence[Reply]) -> None:
    """Raises the first BusError among the replies."""
    for reply in replies:
        if isinstance(reply, BusError):
            raise reply
