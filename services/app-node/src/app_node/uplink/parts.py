"""The parts of this folder, made for one app-node, and how they share the lanes that come and go."""

from collections.abc import Awaitable, Callable, Collection

from app_node.clients.parts import ClientParts
from app_node.clock import Clock
from app_node.counters import Counters
from app_node.downlink.parts import DownlinkParts
from app_node.handlers.application import Application
from app_node.lanes.commits import Commits
from app_node.lanes.lane import Lane
from app_node.lanes.readers import Readers
from app_node.tracing import Traces
from app_node.uplink.alone import Alone
from app_node.uplink.answers import Answers
from app_node.uplink.condemned import Condemned
from app_node.uplink.consumer import Consumer
from app_node.uplink.dead_letters import DeadLetters
from app_node.uplink.dispatcher import Dispatcher
from app_node.uplink.peers import Peers
from app_node.uplink.suspects import Suspects
from sio_cluster.node.membership.inbox import InboxLoop
from sio_cluster.node.membership.redis_clock import RedisClock
from sio_cluster.node.retry import Retry
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.ids import is_quarantine
from sio_cluster.protocol.messages import Canary
from sio_cluster.streams.api.bus import Bus
from sio_cluster.streams.api.lanes import Claimed


class UplinkParts:
    """What comes from clients: lane entries to handlers, and answers from the node's own inbox to callbacks."""

    def __init__(
        self,
        node_id: str,
        config: Config,
        bus: Bus,
        clock: Clock,
        counters: Counters,
        *,
        application: Application,
        commits: Commits,
        downlink: DownlinkParts,
        clients: ClientParts,
        async_handlers: bool,
        max_attachments: int,
        announce: Callable[[Collection[int]], Awaitable[None]],
        canary_returned: Callable[[Canary], None],
        redis_clock: RedisClock,
        traces: Traces | None,
    ) -> None:
        """`announce(lanes)` tells the other app-nodes which quarantines of these lanes hold something.

        `canary_returned` is called with each canary that comes through the inbox.
        """
        page_bytes = config.max_inflight_bytes // config.lanes  # a page of each lane may wait for its turn
        self.readers = Readers(bus.lane_reader(node_id, page_bytes), bus.lane_reader(node_id, page_bytes))
        self.dispatcher = Dispatcher(
            application=application,
            lifecycle=clients.lifecycle,
            clients=clients.known,
            outbox=downlink.outbox,
            writer=downlink.writer,
            incidents=clients.incidents,
            sightings=clients.sightings,
            turns=clients.turns,
            async_handlers=async_handlers,
            max_attachments=max_attachments,
            durations=counters.durations,
            traces=traces,
            log_events=config.log_level == "debug",
        )
        self.suspects = Suspects(
            self.readers.lanes,
            self.dispatcher,
            counters,
            announce=announce,
            may_begin=self._may_begin,
        )
        self.consumer = Consumer(
            self.readers.lanes,
            downlink.routes,
            config.max_inflight_bytes,
            counters,
            handling=self.suspects,
            condemned=Condemned(downlink.outbox, downlink.writer, clients.records),
            letters=DeadLetters(self.readers.lanes, counters),
            commits=commits,
            redis_clock=redis_clock,
        )
        self.alone = Alone(
            self.readers.quarantines,
            self.consumer,
            clients.known,
            counters,
            rest_s=config.lease_ms / 2000,
            on_empty=self.suspects.emptied,
        )
        self.peers = Peers(
            node_id,
            handlers=application.of_servers,
            emitter=downlink.emitter,
            app_nodes=downlink.app_nodes,
            turns=clients.turns,
            waiting=clients.waiting_answers,
            counters=counters,
            json_module=application.json_module,
            max_bytes=config.max_inflight_bytes,
            pause_s=config.heartbeat_ms / 1000,
        )
        answers = Answers(
            clients.callbacks,
            clients.questions,
            self.peers,
            canary_returned,
            counters,
            clients.turns,
            application.json_module,
        )
        self._inbox_reader = bus.inbox_reader(node_id)
        self.inbox = InboxLoop(self._inbox_reader, answers.take, Retry("inbox", counters.redis_retries), clock)

    async def take_lane(self, lane: Lane, claimed: Claimed) -> None:
        """A lane or quarantine was acquired: `claimed` is the first page of what its former holder left.

        Raises BusError.
        """
        self.alone.rest()
        if is_quarantine(lane.number):
            self.alone.take(lane, claimed)
        else:
            self.consumer.take_claimed(lane, await self.suspects.take(lane, claimed))

    def drop_lane(self, lane: Lane) -> None:
        """This app-node must not act for the lane any more: its handlers are cancelled, its entries are forgotten."""
        self.dispatcher.drop_lane(lane)
        self.suspects.drop_lane(lane)
        self.alone.drop_lane(lane)
        self.consumer.drop_lane(lane)

    async def close(self) -> None:
        """Closes the connections of all its readers. Idempotent."""
        await self.peers.close()
        await self.readers.close()
        await self._inbox_reader.close()

    async def _may_begin(self) -> None:
        await self.consumer.resumed.wait()
