"""The parts of this folder, made for one app-node."""

from collections.abc import Callable

from app_node.clock import Clock
from app_node.counters import Counters
from app_node.membership.farewells import Farewells
from app_node.membership.parked_homes import ParkedHomes
from app_node.membership.presence import AppNodePresence
from app_node.membership.reaper import Reaper
from app_node.membership.redis_use import RedisWatch
from app_node.membership.room_index import IndexKeeper
from sio_cluster.node.settings.config import Config
from sio_cluster.streams.api.bus import Bus


class MembershipParts:
    """The app-node's place among the nodes, and the burial of io-nodes that died."""

    def __init__(
        self,
        node_id: str,
        config: Config,
        bus: Bus,
        clock: Clock,
        counters: Counters,
        *,
        has_handlers: Callable[[], bool],
        holds_lane_0: Callable[[], bool],
    ) -> None:
        self.presence = AppNodePresence(node_id, config, bus, clock, counters, has_handlers)
        farewells = Farewells(
            node_id=node_id,
            lanes=config.lanes,
            lane_key=bus.keys.uplink,
            lane_max_bytes=config.lane_max_bytes,
            records=bus.records,
            appender=bus.appender,
            is_in_charge=holds_lane_0,
            counters=counters,
        )
        self.parked_homes = ParkedHomes(
            window_ms=config.recovery_window_ms,
            node_timeout_ms=config.node_timeout_ms,
            log_max_bytes=config.recovery_max_bytes,
            inbox_max_bytes=config.inbox_max_bytes,
            clock=clock,
            registry=bus.registry,
            homes=bus.homes,
            records=bus.records,
            farewells=farewells,
            is_in_charge=holds_lane_0,
            counters=counters,
        )
        self.reaper = Reaper(
            heartbeat_ms=config.heartbeat_ms,
            clock=clock,
            registry=bus.registry,
            records=bus.records,
            farewells=farewells,
            parked_homes=self.parked_homes,
            is_in_charge=holds_lane_0,
            counters=counters,
        )
        self.redis_watch = RedisWatch(
            lanes=config.lanes,
            keys=bus.keys,
            appender=bus.appender,
            registry=bus.registry,
            store=bus.store,
            is_in_charge=holds_lane_0,
            counters=counters,
        )
        self.index_keeper = IndexKeeper(
            heartbeat_ms=config.heartbeat_ms,
            registry=bus.registry,
            room_index=bus.room_index,
            is_in_charge=holds_lane_0,
            counters=counters,
        )
