"""The parts of this folder, made for one app-node."""

from collections.abc import Callable, Iterable

from app_node.clients.callbacks import Callbacks
from app_node.clients.client import Client, Clients, State
from app_node.clients.connection_handlers import ConnectionHandlers
from app_node.clients.departures import Departures
from app_node.clients.incidents import Incidents
from app_node.clients.lifecycle import ClientLifecycle
from app_node.clients.presence_news import PresenceNews
from app_node.clients.presences import Presences
from app_node.clients.queries import ClientQueries
from app_node.clients.questions import Questions
from app_node.clients.reach import Reach
from app_node.clients.record_access import RecordAccess
from app_node.clients.records_of_home import RecordsOfHome
from app_node.clients.selections import Selections
from app_node.clients.sessions import Sessions
from app_node.clients.sightings import Sightings
from app_node.clients.unanswered import Unanswered
from app_node.clients.waiting_answers import WaitingAnswers
from app_node.clock import Clock
from app_node.counters import Counters
from app_node.downlink.parts import DownlinkParts
from app_node.handlers.application import Application
from app_node.handlers.turns import HandlerTurns
from app_node.lanes.lane import Lane
from sio_cluster.streams.api.bus import Bus


class ClientParts:
    """Who the clients are, and how they come and go. `known`: those whose lanes this app-node holds.

    `turns`: of all handlers and callbacks.
    """

    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        counters: Counters,
        *,
        application: Application,
        downlink: DownlinkParts,
        always_connect: bool,
        late_notice: bool,
        heartbeat_ms: int,
        max_answer_bytes: int,
        lanes: Callable[[], Iterable[Lane]],
    ) -> None:
        """`late_notice`: see `ClientLifecycle`. `lanes`: see `PresenceNews`."""
        self.known = Clients()
        self.turns = HandlerTurns(clock)
        self.sightings = Sightings()
        self.callbacks = Callbacks(counters, clock)
        self.incidents = Incidents(counters)
        self.records = RecordAccess(bus.records, bus.homes, counters)
        self.queries = ClientQueries(
            self.records, bus.room_index, bus.lookup, downlink.writer, downlink.routes, counters
        )
        self.reach = Reach(self.known, self.records, downlink.routes, bus.registry, counters)
        self.unanswered = Unanswered(self.callbacks, self.records, bus.registry, counters, pause_s=heartbeat_ms / 1000)
        self.waiting_answers = WaitingAnswers(max_answer_bytes, counters)
        self.questions = Questions(
            self.callbacks,
            self.records,
            RecordsOfHome(self.records, bus.selections, bus.room_index, counters),
            bus.registry,
            clock,
            counters,
            pause_s=heartbeat_ms / 1000,
            waiting=self.waiting_answers,
        )
        self.presences = Presences(
            bus.presences,
            writer=downlink.writer,
            routes=downlink.routes,
            emitter=downlink.emitter,
            json_module=application.json_module,
            counters=counters,
        )
        self.presence_news = PresenceNews(
            bus.presences,
            form=self.presences,
            emitter=downlink.emitter,
            lanes=lanes,
            heartbeat_ms=heartbeat_ms,
            counters=counters,
        )
        self.sessions = Sessions(self.known, self.records)
        handlers = ConnectionHandlers(application, self.callbacks, self.incidents, self.sightings)
        self.departures = Departures(
            handlers=handlers,
            clients=self.known,
            outbox=downlink.outbox,
            writer=downlink.writer,
            records=self.records,
            turns=self.turns,
        )
        self.selections = Selections(
            bus.selections,
            clients=self.known,
            records=self.records,
            departures=self.departures,
            writer=downlink.writer,
            routes=downlink.routes,
            emitter=downlink.emitter,
            counters=counters,
        )
        self.lifecycle = ClientLifecycle(
            application=application,
            departures=self.departures,
            outbox=downlink.outbox,
            writer=downlink.writer,
            records=self.records,
            handlers=handlers,
            incidents=self.incidents,
            sightings=self.sightings,
            always_connect=always_connect,
            late_notice=late_notice,
        )

    def known_here(self, sid: str) -> Client | None:
        """The client if this app-node knows its state. None: Redis may know it."""
        client = self.known.get(sid)
        return None if client is None or client.state is State.UNKNOWN else client
