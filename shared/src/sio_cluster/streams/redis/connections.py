"""All connections of one process to Redis."""

from collections.abc import Sequence

import structlog

from sio_cluster.streams.redis.connection import (
    ANSWER_TIMEOUT_S,
    WHO_AM_I,
    Connection,
    RedisCommand,
    raise_first_error,
)
from sio_cluster.streams.redis.replies import REPLICA, NoScript
from sio_cluster.streams.redis.scripts.every import ALL
from sio_cluster.streams.redis.scripts.script import Script
from sio_cluster.streams.redis.wire import Reply

log = structlog.get_logger()


class Connections:
    """One connection for commands, and one for each blocking reader.

    A connection that is lost comes back with its next use; whoever uses it backs off between tries. When one of them
    gets no answer in time, all are closed: packets of the others may vanish too, and a blocking reader would notice
    that later.
    """

    def __init__(self, address: str, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """`timeout_s`: how long an answer may take, beyond what a blocking read waits. No IO here.

        Raises ConfigError where the address is malformed.
        """
        self._address = address
        self._timeout_s = timeout_s
        self._load_scripts: list[RedisCommand] = [("SCRIPT", "LOAD", script.source) for script in ALL]
        # The connection learns its id, so that it can be killed at Redis once we have given it up: what is still under
        # way on it must not run after a retry.
        greeting: list[RedisCommand] = [*WHO_AM_I, *self._load_scripts]
        self._commands = Connection(address, greeting, timeout_s, self._on_silence)
        self._readers: list[Connection] = []
        self._was_replica = False

    async def run(self, *commands: RedisCommand) -> list[Reply]:
        """The answers to these commands, which are sent at once and carried out in order. Callers may overlap.

        Raises the first error among them, after all have been carried out. Each command must bear to be repeated:
        where a script was gone, all commands from that one on are sent once more.
        """
        refusals = self._commands.refusals
        replies = await self._commands.run(commands)
        if refusals == self._commands.refusals and not self._was_replica:
            return replies
        self._look_for_replica(commands, replies)
        for index, reply in enumerate(replies):
            if type(reply) is NoScript:
                log.info("redis_scripts_reloaded")
                raise_first_error(await self._commands.run(self._load_scripts))
                replies[index:] = await self._commands.run(commands[index:])
                break
        raise_first_error(replies)
        return replies

    def new_reader(self) -> Connection:
        """A connection of its own for a blocking reader. It is told its client id when it connects (`greeted[0]`)."""
        reader = Connection(self._address, WHO_AM_I, self._timeout_s, self._on_silence)
        self._readers.append(reader)
        return reader

    async def close_reader(self, reader: Connection) -> None:
        """Closes the connection of a reader that is done."""
        if reader in self._readers:
            self._readers.remove(reader)
        await reader.close()

    def reconnect(self, why: str) -> None:
        """Closes every connection; each comes back with its next use."""
        for connection in (self._commands, *self._readers):
            connection.lose(why)

    async def close(self) -> None:
        """Closes every connection. Idempotent."""
        await self._commands.close()
        for reader in self._readers:
            await reader.close()

    def _look_for_replica(self, commands: Sequence[RedisCommand], replies: Sequence[Reply]) -> None:
        """After a failover, a reader may stay connected to the former master, where reading an inbox is no error.

        So once a script has worked again, after this Redis was a replica, the readers connect again too.
        """
        if any(isinstance(reply, REPLICA) for reply in replies):
            self._was_replica = True
        elif self._was_replica and any(command[0] == "EVALSHA" for command in commands):
            self._was_replica = False
            for reader in self._readers:
                reader.drop("its Redis may have become a replica")

    def _on_silence(self) -> None:
        log.warning("redis_silent", connections=1 + len(self._readers))
        self.reconnect("another connection to Redis had no answer in time")


def call(script: Script, keys: Sequence[str], *arguments: str | bytes | int) -> RedisCommand:
    """The command that runs a script."""
    return ("EVALSHA", script.sha, len(keys), *keys, *arguments)
