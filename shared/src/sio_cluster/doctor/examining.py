"""Asks Redis, the cluster and this process, and joins the findings."""

from sio_cluster.doctor import cluster, process, server
from sio_cluster.doctor.cluster import ClusterFacts
from sio_cluster.doctor.finding import Finding
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.errors import AccessRefused, BusError, ConfigError
from sio_cluster.protocol.keys import Keys
from sio_cluster.streams.redis import RedisBus
from sio_cluster.streams.redis.examination import examine
from sio_cluster.streams.redis.lane_views import LaneViews
from sio_cluster.streams.redis.overview import Overview


async def findings(config: Config) -> list[Finding]:
    """All findings. Changes nothing. Raises ConfigError where the settings are malformed; never BusError."""
    of_process = process.findings(process.open_files())
    try:
        facts = await examine(config.redis_address, Keys(config.redis_prefix))
    except BusError as error:
        return [_unreachable(error), *of_process]
    return [*server.findings(facts, config.redis_prefix), *await _of_cluster(config), *of_process]


async def _of_cluster(config: Config) -> list[Finding]:
    bus = RedisBus(config)
    try:
        facts = await _cluster_facts(bus)
    except ConfigError as error:
        do = "give the nodes a REDIS_PREFIX of their own; or delete that key, if no program needs it"
        return [Finding("cluster", "problem", f"{error}. Nodes of this prefix cannot join", do)]
    except BusError as error:
        do = "first mend what is said above, then look again"
        return [Finding("cluster", "not known", str(error), do)]
    finally:
        await bus.stop()
    return cluster.findings(facts, config.redis_prefix, config.lanes, lanes_set="lanes" in config.model_fields_set)


async def _cluster_facts(bus: RedisBus) -> ClusterFacts:
    overview = Overview(bus.connections, bus.keys)
    [[lanes, version]] = await bus.connections.run(("HMGET", bus.keys.config, "lanes", "version"))
    if lanes is None:
        return ClusterFacts()
    return ClusterFacts(
        number := await overview.lanes(),
        int(version) if version is not None and version.isdigit() else None,
        await bus.room_index.is_exact(),
        await overview.nodes(),
        await LaneViews(bus.connections, bus.keys).lanes(number),
    )


def _unreachable(error: BusError) -> Finding:
    """The errors of the bus name the address of Redis, and never its password."""
    if isinstance(error, AccessRefused):
        do = "mend the user and the password in REDIS_URL (or REDIS_PASSWORD), its rights, or the certificate"
    else:
        do = "start Redis; see whether REDIS_URL (or REDIS_HOST and REDIS_PORT) leads to it from this machine"
    return Finding("connection", "problem", f"{error}. Nodes wait, and so do clients", do)
