"""The parts of this folder, made for one app-node."""

from app_node.clock import Clock
from app_node.counters import Counters
from app_node.downlink.app_nodes import AppNodes
from app_node.downlink.emitter import Emitter
from app_node.downlink.outbox import Outbox
from app_node.downlink.record_writer import RecordWriter
from app_node.downlink.routes import Routes
from app_node.lanes.commits import Commits
from app_node.tracing import Traces
from sio_cluster.node.settings.config import Config
from sio_cluster.streams.api.bus import Bus


class DownlinkParts:
    """What goes to clients: commands into the inboxes of io-nodes, and changes of client records."""

    def __init__(
        self,
        node_id: str,
        config: Config,
        bus: Bus,
        clock: Clock,
        counters: Counters,
        *,
        commits: Commits,
        traces: Traces | None = None,
    ) -> None:
        self.routes = Routes(bus.registry, clock, counters)
        self.app_nodes = AppNodes(bus.registry, clock, counters)
        self.outbox = Outbox(
            bus.appender,
            node_id=node_id,
            inbox_key=bus.keys.inbox,
            inbox_max_bytes=config.inbox_max_bytes,
            max_bytes=config.max_inflight_bytes,
            commits=commits,
            is_known=lambda node: self.routes.knows(node) or self.app_nodes.knows(node),
            clock=clock,
            counters=counters,
        )
        self.writer = RecordWriter(bus.records, counters)
        self.emitter = Emitter(self.outbox, self.routes, counters, traces)

    async def close(self) -> None:
        """The node has ended: whoever still waits here gets RuntimeError. Idempotent."""
        await self.routes.stop()
        self.outbox.close()
        self.writer.close()
