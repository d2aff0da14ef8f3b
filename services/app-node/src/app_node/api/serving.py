"""Runs the HTTP API as a process: an app-node without handlers, which takes no lanes."""

import asyncio

import structlog

from app_node.api.desk import Desk
from app_node.api.keys import KeyFile
from app_node.api.metrics import ApiCounters, families
from app_node.api.once import Once
from app_node.api.questions import Questions
from app_node.api.routes import Api
from app_node.app import AppNode
from app_node.interface.patience import Patience
from app_node.interface.server import ClusterServer, get_client
from app_node.interface.serving import http_server, stop_signals
from sio_cluster.node.membership.presence import unready_because
from sio_cluster.node.monitoring.health import Health
from sio_cluster.node.monitoring.log import configure_logging
from sio_cluster.node.monitoring.metrics import exposition
from sio_cluster.node.retry import Retry
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import ConfigError
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.outcomes import Outcomes
from sio_cluster.streams.redis.overview import Overview

log = structlog.get_logger()


async def serve(config: Config) -> None:
    """Serves until SIGTERM or SIGINT. Requests get 503 while Redis is away, also before it was there at all.

    Raises ConfigError: no keys, a port that is taken, a Redis that refuses us, a cluster with other LANES.
    """
    if config.api_keys_file is None:
        raise ConfigError("API_KEYS_FILE: must name the file with the keys (docs/from-any-process.md)")
    keys = KeyFile(config.api_keys_file)
    sio = get_client(config)
    node = sio.node
    configure_logging(config, node=node.id, role="api")
    once, api = make_api(sio, keys)
    host, port, stop_s = config.http_host, config.api_port, config.shutdown_ms / 1000
    clock = asyncio.get_running_loop().time
    with stop_signals() as signalled:
        async with http_server(api.app, host, port, "API_PORT", stop_s=int(stop_s)):
            log.info("api_started", host=host, port=port)
            await _until_it_ends(node, signalled)
            stopped_at = clock()
        await once.stop(stopped_at + stop_s - clock())  # requests and what goes on without them share this time
        await sio.shutdown()


def make_api(sio: ClusterServer, keys: KeyFile) -> tuple[Once, Api]:
    """The parts, for a server object whose bus is in Redis."""
    config, node = sio.config, sio.node
    bus = node.bus
    assert isinstance(bus, RedisBus)
    wait_s = config.api_timeout_ms / 1000
    counters, patience = ApiCounters(), Patience(wait_s)
    once = Once(
        Outcomes(bus.connections, bus.keys),
        owner=node.id,
        wait_s=wait_s,
        max_bytes=config.max_inflight_bytes,
        retry=Retry("idempotency", node.counters.redis_retries),
    )
    health = Health(
        node.id,
        lambda: node.loops.dead_because,
        lambda: _unready_because(node),
        lambda: node.metrics(ready=not _unready_because(node)) + exposition(families(counters)),
    )
    api = Api(
        desk=Desk(sio, patience),
        once=once,
        questions=Questions(sio, Overview(bus.connections, bus.keys), patience),
        keys=keys,
        max_body_bytes=config.api_max_body_bytes,
        health=health,
        counters=counters,
    )
    return once, api


def _unready_because(node: AppNode) -> str:
    proof, started = node.membership.presence.proof, node.clients.callbacks.is_open
    return unready_because(proof, stopping=node.stopping, started=started)


async def _until_it_ends(node: AppNode, signalled: asyncio.Event) -> None:
    """Opens the node, and returns when a signal comes. Raises what the opening raises, or a loop that failed."""
    opening = asyncio.ensure_future(node.open_callbacks())
    waits = [opening, asyncio.ensure_future(node.over.wait()), asyncio.ensure_future(signalled.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if opening.done():
            opening.result()
            await asyncio.wait(waits[1:], return_when=asyncio.FIRST_COMPLETED)
        if node.loops.failure is not None:
            raise node.loops.failure
    finally:
        for wait in waits:
            wait.cancel()
