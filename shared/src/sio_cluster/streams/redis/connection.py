"""One connection to Redis that comes back after it was lost."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import hiredis
import structlog

from sio_cluster.protocol.errors import AccessRefused, BusError, BusRefused, BusUnavailable
from sio_cluster.streams.redis.address import is_tls, parse, place_of, tls_context
from sio_cluster.streams.redis.replies import REPLICA, error_of
from sio_cluster.streams.redis.wire import Reply, Wire, first_error

log = structlog.get_logger()

RedisCommand: TypeAlias = tuple[str | bytes | int, ...]

WHO_AM_I: tuple[RedisCommand, ...] = (("CLIENT", "ID"), ("CLIENT", "INFO"))
"""The greeting of a connection that may have to be killed, or woken from a blocking read, through another one."""

ANSWER_TIMEOUT_S = 3.0
"""How long an answer may take. A reader that blocks for 2 s thus notices within 5 s that its connection is dead."""


class Connection:
    """One connection at a time. The first command opens it; after it was lost, the next command opens another one.

    redis-py reads the address; the connection itself is our own, an asyncio protocol over hiredis. Measured, a round
    trip costs 25 us of CPU that way, 80 us by `redis.asyncio.Redis`, and there are several in each tick of a node.
    """

    def __init__(
        self,
        address: str,
        greeting: Sequence[RedisCommand] = (),
        timeout_s: float = ANSWER_TIMEOUT_S,
        on_silence: Callable[[], None] | None = None,
    ) -> None:
        """`greeting`: commands that each new connection begins with. `on_silence`: called when an answer is overdue.

        No IO here; raises ConfigError where the address is malformed.
        """
        self._on_silence = on_silence
        self._options = parse(address)
        self._greeting = list(greeting)
        self._kill_this: list[RedisCommand] = []  # kills this connection at Redis, through another one
        self._kill_former: list[RedisCommand] = []  # kills the one before, which we closed and Redis may still serve
        self._timeout_s = timeout_s
        self._wire: Wire | None = None
        self._opening: asyncio.Task[Wire] | None = None
        self._was_lost = False
        self._was_refused = False
        self._may_kill = True
        self._opened_count = 0
        self.refusals = 0
        """How many commands Redis has answered with an error. Where it has not risen while commands were under way, no
        error is among their answers."""
        self.greeted: list[Reply] = []
        """The answers to the greeting on the connection that stands now, [] while there is none."""

    async def run(self, commands: Sequence[RedisCommand], block_ms: int = 0) -> list[Reply]:
        """Sends these commands at once and brings their answers; errors of Redis stand among them as BusErrors.

        Callers may overlap. An answer may take `timeout_s` longer than the `block_ms` that the commands block.
        Raises BusUnavailable, and AccessRefused where Redis does not let us in.
        """
        return await self.run_packed(pack(commands), len(commands), block_ms) if commands else []

    async def run_packed(self, packed: bytes, count: int, block_ms: int = 0) -> list[Reply]:
        """As `run`, for so many commands that `pack` has packed."""
        wire = self._wire
        if wire is None or wire.lost is not None:
            wire = await self._open()
        refusals = self.refusals
        replies = await wire.ask(packed, count, self._timeout_s + block_ms / 1000)
        if self.refusals != refusals and self._wire is wire and any(isinstance(reply, REPLICA) for reply in replies):
            self.drop("this Redis is a replica")
        return replies

    async def ready(self) -> int:
        """Connects where there is no connection. Returns its number: 1 for the first, 2 for the next.

        A command that is run next, without an await in between, runs on this connection.
        """
        if self._wire is None or self._wire.lost is not None:
            await self._open()
        return self._opened_count

    async def run_alone(self, packed: bytes, count: int, block_ms: int) -> list[Reply]:
        """As `run_packed`, for commands of which the first one blocks.

        If it fails or is cancelled, the connection is closed, so that no later command waits behind it.
        """
        answered = False
        try:
            replies = await self.run_packed(packed, count, block_ms)
            answered = True
            return replies
        finally:
            if not answered:
                self.drop("a blocking read was given up")

    def drop(self, why: str) -> None:
        """Closes the connection at once. The next command opens another one. Idempotent."""
        self.greeted = []
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.drop(why)
            if wire.given_up:
                self._kill_former = self._kill_this

    def lose(self, why: str) -> None:
        """Closes the connection as if it had been lost: commands under way end with BusUnavailable. Idempotent."""
        if self._wire is not None:
            self.greeted = []
            self._wire.drop(why)

    async def close(self) -> None:
        """Closes the connection, even while it is being opened. Idempotent."""
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel()
            await asyncio.wait([opening])
        self.drop("the bus was stopped")

    async def _open(self) -> Wire:
        """Callers that come while it is being opened share that one try, and its outcome."""
        if self._opening is None:
            self._opening = asyncio.create_task(self._connect(), name="redis-connect")
            self._opening.add_done_callback(self._opened)
        try:
            return await asyncio.shield(self._opening)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise BusUnavailable("the bus was stopped") from None

    def _opened(self, opening: asyncio.Task[Wire]) -> None:
        self._opening = None
        error = None if opening.cancelled() else opening.exception()
        if error is None:
            return
        if isinstance(error, AccessRefused) and not self._was_refused:  # somebody has to do something about it
            self._was_refused = True
            log.error("redis_refused", error=str(error))
        elif not self._was_lost:  # one line each time Redis goes, not one for each try
            log.warning("redis_away", error=str(error))
        self._was_lost = True

    async def _connect(self) -> Wire:
        if self._wire is not None:
            log.warning("redis_lost", error=self._wire.lost)
            self._was_lost = True
        self.drop("replaced")
        try:
            async with asyncio.timeout(self._timeout_s):
                wire = await _dial(self._options, lambda: Wire(self._on_silence, self._refused))
        except ssl.SSLCertVerificationError as error:
            raise AccessRefused(f"Redis at {place_of(self._options)} has no certificate to trust: {error}") from error
        except OSError as error:  # TimeoutError is one of them
            why = str(error) or "no answer in time"
            raise BusUnavailable(f"cannot connect to Redis at {place_of(self._options)}: {why}") from error
        greeted = await self._greet(wire)
        self._wire, self.greeted = wire, greeted
        knows_itself = self._greeting[: len(WHO_AM_I)] == [*WHO_AM_I]
        self._kill_this = [_kill(*greeted[: len(WHO_AM_I)])] if knows_itself else []
        self._kill_former = []
        self._opened_count += 1
        if self._was_lost:
            self._was_lost = self._was_refused = False
            log.info("redis_back")
        return wire

    async def _greet(self, wire: Wire) -> list[Reply]:
        """Logs in and greets. Returns the answers to the greeting, without those to the log-in.

        A connection that we gave up is killed at Redis first. A read that still waits there would take entries and
        give them to nobody. Where our user may not kill connections, we go on without it.
        """
        welcome = False
        try:
            first, kill = log_in(self._options), self._kill_former
            greeting = [*first, *kill, *self._greeting, ("PING",)]
            greeted = await wire.ask(pack(greeting), len(greeting), self._timeout_s)
            begin = len(first)
            killed, greeted[begin : begin + len(kill)] = greeted[begin : begin + len(kill)], []
            raise_first_error(greeted)
            self._note_killed(killed)
            welcome = True
            return greeted[begin:-1]
        except BusError as error:
            self._raise_refusal(error)
            raise
        finally:
            if not welcome:
                wire.drop("Redis did not let us in")

    def _refused(self, message: str) -> BusError:
        self.refusals += 1
        return error_of(message)

    def _raise_refusal(self, error: BusError) -> None:
        """Raises AccessRefused where Redis refused the greeting. It may have closed the connection right after that.

        Our greeting is always the same, so a refusal is about who we are and what we may do.
        """
        said = error if isinstance(error, BusRefused) else error.__cause__
        if type(said) in (BusRefused, AccessRefused):
            raise AccessRefused(f"Redis at {place_of(self._options)} does not let this node in: {said}") from error

    def _note_killed(self, replies: list[Reply]) -> None:
        refused = first_error(replies)
        if refused is not None and self._may_kill:
            self._may_kill = False  # one line, not one for each connection that was given up
            log.warning("redis_client_kill_refused", error=str(refused))


def pack(commands: Sequence[RedisCommand]) -> bytes:
    """The commands as they go over the wire."""
    return b"".join([hiredis.pack_command(command) for command in commands])  # type: ignore[arg-type]  # stub: 1-tuple


def raise_first_error(replies: list[Reply]) -> None:
    """Raises the first error among the answers."""
    for reply in replies:
        if isinstance(reply, BusError):
            raise reply


def _kill(client_id: Reply, info: Reply) -> RedisCommand:
    """By address as well as by id: a Redis that was restarted counts its ids from 1 again, and may have given this id
    to another client."""
    fields = dict(field.partition(b"=")[::2] for field in info.split())
    return ("CLIENT", "KILL", "ID", client_id, "ADDR", fields[b"addr"])


def log_in(options: dict[str, Any]) -> list[RedisCommand]:
    """The commands that a new connection to this address begins with."""
    commands: list[RedisCommand] = []
    user, password = options.get("username"), options.get("password")
    if user:
        commands.append(("AUTH", user, password or ""))  # Redis takes any password for a user with `nopass`
    elif password is not None:
        commands.append(("AUTH", password))
    if options.get("db"):
        commands.append(("SELECT", int(options["db"])))
    return commands


async def _dial(options: dict[str, Any], make: Callable[[], Wire]) -> Wire:
    loop = asyncio.get_running_loop()
    if "path" in options:
        _, wire = await loop.create_unix_connection(make, options["path"])
        return wire
    tls = tls_context(options) if is_tls(options) else None
    host, port = options.get("host", "localhost"), options.get("port", 6379)
    transport, wire = await loop.create_connection(make, host, port, ssl=tls)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return wire
