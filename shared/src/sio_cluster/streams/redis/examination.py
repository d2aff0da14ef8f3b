"""What can be found out about one Redis server, by a connection of its own and whatever its user may ask."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sio_cluster.protocol.errors import BusError, BusUnavailable
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.redis.connection import ANSWER_TIMEOUT_S, Connection, RedisCommand
from sio_cluster.streams.redis.replies import REPLICA, OtherSlot
from sio_cluster.streams.redis.rights import OPTIONAL, needed
from sio_cluster.streams.redis.wire import Reply

ROUND_TRIPS = 20

_SECTIONS = ("server", "memory", "persistence", "replication")
_OPTIONS = ("save", "appendfsync")

# ARGV a command. 1 where the user may run it, 0 where not, -1 where this Redis does not have it, -2 where Redis is too
# old to say. It is not run.
_MAY = """
if not redis.acl_check_cmd then return -2 end
local known, may = pcall(redis.acl_check_cmd, unpack(ARGV))
if not known then return -1 end
return may and 1 or 0
"""
_VERSION = "return {redis.SERVER_NAME or 'redis', redis.VALKEY_VERSION or redis.REDIS_VERSION or ''}"


@dataclass(frozen=True, slots=True)
class Rights:
    """Names of commands. `refused`: our user may not run them. `unknown`: this Redis does not have them."""

    refused: list[str]
    unknown: list[str]


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server says about itself. None, or a name that is missing: it does not say, or our user may not ask."""

    version: str | None = None
    """Such as "valkey 9.1.2"."""
    role: Literal["master", "replica", "cluster"] | None = None
    """"cluster": one server of a Redis Cluster."""
    info: Mapping[str, str] = field(default_factory=dict)
    """Fields of INFO."""
    options: Mapping[str, str] = field(default_factory=dict)
    """`save` and `appendfsync`, as CONFIG GET has them."""
    rights: Rights | None = None
    round_trips_ms: list[float] = field(default_factory=list)
    ahead_s: float | None = None
    """By how many seconds its clock is ahead of ours, to half a round trip."""


async def examine(
    address: str, keys: Keys, timeout_s: float = ANSWER_TIMEOUT_S, clock: Callable[[], float] = time.time
) -> ServerFacts:
    """Asks the server at this address (`Config.redis_address`). Changes nothing. `clock` gives seconds since 1970.

    Raises BusUnavailable, AccessRefused and ConfigError, none of which shows the password.
    """
    connection = Connection(address, timeout_s=timeout_s)
    try:
        await connection.ready()
        info = await _info(connection)
        return ServerFacts(
            await _version(connection, info),
            await _role(connection, keys, info),
            info,
            await _options(connection),
            await _rights(connection, keys),
            [await _round_trip_ms(connection) for _ in range(ROUND_TRIPS)],
            await _ahead_s(connection, clock),
        )
    finally:
        await connection.close()


async def _info(connection: Connection) -> dict[str, str]:
    facts: dict[str, str] = {}
    for section in await _ask(connection, *[("INFO", section) for section in _SECTIONS]):
        lines = [] if section is None else section.decode(errors="replace").splitlines()
        facts.update(line.split(":", 1) for line in lines if ":" in line)
    return facts


async def _version(connection: Connection, info: Mapping[str, str]) -> str | None:
    """Scripts know it too, and every node may run scripts."""
    if "redis_version" in info:
        return f"{info.get('server_name', 'redis')} {info.get('valkey_version', info['redis_version'])}"
    [said] = await _ask(connection, ("EVAL", _VERSION, 0))
    return " ".join(word.decode() for word in said) if said and said[1] else None


async def _role(
    connection: Connection, keys: Keys, info: Mapping[str, str]
) -> Literal["master", "replica", "cluster"] | None:
    """Where INFO is refused: what becomes of two commands without effect, as in `RedisBus.start`."""
    if "cluster" in (info.get("redis_mode"), info.get("server_mode")):
        return "cluster"
    if "role" in info:
        return "replica" if info["role"] == "slave" else "master"
    two_slots, a_write = await connection.run([("EXISTS", keys.config, keys.epoch), ("HDEL", keys.config, "")])
    if isinstance(two_slots, OtherSlot):
        return "cluster"
    if isinstance(a_write, REPLICA):
        return "replica"
    return None if isinstance(two_slots, BusError) or isinstance(a_write, BusError) else "master"


async def _options(connection: Connection) -> dict[str, str]:
    replies = await _ask(connection, *[("CONFIG", "GET", name) for name in _OPTIONS])
    return {pair[0].decode(): pair[1].decode() for pair in replies if pair}


async def _rights(connection: Connection, keys: Keys) -> Rights | None:
    wanted = {**needed(keys), **OPTIONAL}
    answers = await _ask(connection, *[("EVAL", _MAY, 0, *command) for command in wanted.values()])
    if None in answers:  # not even scripts
        return Rights(["EVAL"], [])
    if -2 in answers:
        return None
    by_name = dict(zip(wanted, answers, strict=True))
    return Rights(*[[name for name, answer in by_name.items() if answer == code] for code in (0, -1)])


async def _round_trip_ms(connection: Connection) -> float:
    began = time.perf_counter()
    await _ask(connection, ("PING",))
    return (time.perf_counter() - began) * 1000


async def _ahead_s(connection: Connection, clock: Callable[[], float]) -> float | None:
    asked_at = clock()
    [said] = await _ask(connection, ("TIME",))
    return None if said is None else int(said[0]) + int(said[1]) / 1e6 - (asked_at + clock()) / 2


async def _ask(connection: Connection, *commands: RedisCommand) -> list[Reply]:
    """The answers; None in place of each that Redis refuses. Raises BusUnavailable where it is away."""
    replies = await connection.run(commands)
    for reply in replies:
        if isinstance(reply, BusUnavailable):
            raise reply
    return [None if isinstance(reply, BusError) else reply for reply in replies]
