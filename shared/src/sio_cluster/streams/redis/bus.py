"""The process' way to Redis."""

import secrets
from collections.abc import Sequence

import structlog

from sio_cluster.node.config import Config
from sio_cluster.protocol.errors import ClusterMismatch
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import PROTOCOL_VERSION
from sio_cluster.streams.redis.connection import ANSWER_TIMEOUT_S, WHO_AM_I, Command, Link, raise_first_error
from sio_cluster.streams.redis.replies import NoScript
from sio_cluster.streams.redis.scripts import ALL, Script
from sio_cluster.streams.redis.wire import Reply

log = structlog.get_logger()


class Bus:
    """One per process. Owns every connection to Redis: one for commands, and one for each blocking reader.

    Connections that are lost come back by themselves with the next use; whoever uses them backs off between tries.
    When one of them gets no answer in time, all are closed: packets of the others may vanish, too, and a blocking
    reader would notice later.
    """

    def __init__(self, config: Config, *, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """`timeout_s`: how long an answer may take, beyond what a blocking read waits. No IO here."""
        self.config = config
        self._timeout_s = timeout_s
        self._keys = Keys(config.redis_prefix)
        self._load_scripts: list[Command] = [("SCRIPT", "LOAD", script.source) for script in ALL]
        # Told its id, so that what was still on its way on a connection that was given up never runs after a retry.
        greeting: list[Command] = [*WHO_AM_I, *self._load_scripts]
        self._commands = Link(config.redis_address, greeting, timeout_s, self._silent)
        self._readers: list[Link] = []

    @property
    def keys(self) -> Keys:
        return self._keys

    async def start(self) -> None:
        """Connects, and finds the cluster as `found` does."""
        await self.found()
        log.debug("bus_started", prefix=self.config.redis_prefix, lanes=self.config.lanes)

    async def found(self) -> str:
        """Checks that this node fits the cluster; the first node decides what the cluster is.

        Answers the cluster's *life*, a random word which is another one after Redis lost its data.
        Raises ClusterMismatch, BusUnavailable (try again) or BusRefused.
        """
        key, lanes = self._keys.config, self.config.lanes
        look: Command = ("HMGET", key, "lanes", "version", "life")
        [found] = await self.run(look)
        if None in found:  # a Redis that is out of memory lets nobody found a cluster, but join one
            *_, found = await self.run(
                ("HSETNX", key, "lanes", lanes),
                ("HSETNX", key, "version", PROTOCOL_VERSION),
                ("HSETNX", key, "life", secrets.token_hex(8)),
                look,
            )
        cluster_lanes, cluster_version = int(found[0]), int(found[1])
        if cluster_lanes != lanes:
            raise ClusterMismatch(f"LANES is {lanes} here, but the cluster runs with {cluster_lanes}")
        if cluster_version != PROTOCOL_VERSION:
            raise ClusterMismatch(
                f"this node speaks protocol version {PROTOCOL_VERSION}, the cluster {cluster_version}"
            )
        life: bytes = found[2]
        return life.decode()

    async def stop(self) -> None:
        """Closes all connections. Idempotent; `start` opens the bus again."""
        await self._commands.close()
        for link in self._readers:
            await link.close()

    async def run(self, *commands: Command) -> list[Reply]:
        """The answers to these commands, sent at once and carried out in order. Callers may overlap.

        Raises the first error among them, after all have been carried out. Each command must bear to be repeated:
        where a script was gone, all from that one on are sent once more.
        """
        replies = await self._commands.run(commands)
        for index, reply in enumerate(replies):
            if type(reply) is NoScript:
                log.info("redis_scripts_reloaded")
                raise_first_error(await self._commands.run(self._load_scripts))
                replies[index:] = await self._commands.run(commands[index:])
                break
        raise_first_error(replies)
        return replies

    def reader(self) -> Link:
        """A link of its own for a blocking reader, told its client id when it connects (`greeted[0]`)."""
        link = Link(self.config.redis_address, WHO_AM_I, self._timeout_s, self._silent)
        self._readers.append(link)
        return link

    def reconnect(self, why: str) -> None:
        """Closes every connection; each comes back with its next use."""
        for link in (self._commands, *self._readers):
            link.lose(why)

    def _silent(self) -> None:
        log.warning("redis_silent", connections=1 + len(self._readers))
        self.reconnect("another connection to Redis had no answer in time")

    async def close_reader(self, link: Link) -> None:
        """Closes the link of a reader that is done."""
        if link in self._readers:
            self._readers.remove(link)
        await link.close()


def call(script: Script, keys: Sequence[str], *arguments: str | bytes | int) -> Command:
    """The command that runs a script."""
    return ("EVALSHA", script.sha, len(keys), *keys, *arguments)
