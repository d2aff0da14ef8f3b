"""The parts of this folder, made for one app-node."""

from app_node.clients.callbacks import Callbacks
from app_node.clients.client import Clients
from app_node.clients.incidents import Incidents
from app_node.clients.lifecycle import ClientLifecycle
from app_node.clients.record_access import RecordAccess
from app_node.clients.sessions import Sessions
from app_node.clock import Clock
from app_node.counters import Counters
from app_node.downlink.parts import DownlinkParts
from app_node.handlers.application import Application
from app_node.handlers.turns import HandlerTurns
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
    ) -> None:
        self.known = Clients()
        self.turns = HandlerTurns(clock)
        self.callbacks = Callbacks(counters, clock)
        self.incidents = Incidents(counters)
        self.records = RecordAccess(bus.records, counters)
        self.sessions = Sessions(self.known, self.records)
        self.lifecycle = ClientLifecycle(
            application=application,
            clients=self.known,
            outbox=downlink.outbox,
            writer=downlink.writer,
            records=self.records,
            callbacks=self.callbacks,
            incidents=self.incidents,
            turns=self.turns,
            always_connect=always_connect,
        )
