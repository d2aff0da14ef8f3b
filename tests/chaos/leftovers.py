"""What is left in Redis when all clients have gone: nothing of any client, and nothing of a node that has gone too."""

import re
from collections.abc import Collection, Iterable
from contextlib import suppress

from redis.asyncio import Redis
from tests.chaos.cluster import NODE_TIMEOUT_S, until

FORGOTTEN_S = NODE_TIMEOUT_S + 7
"""When Redis must have forgotten the last client that left, and the last node that was killed."""
NO_EXPIRY = -1
"""What PTTL answers for a key that stays. For one that has gone meanwhile it is -2."""
REGISTRIES = (":io-nodes", ":app-nodes")
OF_LOST_NODES = (":lost-io-nodes", ":parked-io-nodes")
OF_CLIENTS = re.compile(r":\{lane:\d+\}:(client|rooms|room|here|counts|metas|shown|leaving)(:|$)")
OF_A_NODE = re.compile(r":\{node:([^}]+)\}:")


async def left_at_last(redis_url: str, within_s: float) -> list[str]:
    """The keys that should have gone and have not, when that time is over. Returns as soon as there are none."""
    left = ["nothing was looked at"]

    async def nothing_left() -> bool:
        left[:] = await leftovers(redis_url)
        return not left

    with suppress(AssertionError):
        await until(nothing_left, within_s, "", every_s=0.2)
    return left


async def leftovers(redis_url: str) -> list[str]:
    """The keys that should have gone. Not those that will expire: whoever did not know yet that a node has gone began
    its inbox anew, and nobody reads it."""
    redis = Redis.from_url(redis_url, decode_responses=True)
    try:
        keys = [str(key) async for key in redis.scan_iter(count=1000)]
        nodes = {str(node) for key in keys if key.endswith(REGISTRIES) for node in await redis.hkeys(key)}
        return [key for key in left_over(keys, nodes) if await redis.pttl(key) == NO_EXPIRY]
    finally:
        await redis.aclose()


def left_over(keys: Iterable[str], nodes: Collection[str]) -> list[str]:
    """Which of these keys should have gone. `nodes` are registered: they keep their own, and what their logs need."""
    return sorted(key for key in keys if _is_left_over(key, nodes))


def _is_left_over(key: str, nodes: Collection[str]) -> bool:
    node = OF_A_NODE.search(key)
    if node is not None:
        return node[1] not in nodes
    return key.endswith(OF_LOST_NODES) or OF_CLIENTS.search(key) is not None
