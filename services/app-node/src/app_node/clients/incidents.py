"""What went wrong with one client: it is logged, and harms nobody else."""

from typing import Any

import structlog

from app_node.clients.client import Client
from app_node.counters import Counters, Outcome
from sio_cluster.node.monitoring.log import log_raised

log = structlog.get_logger()


class Incidents:
    """Logs with what helps to find the cause."""

    def __init__(self, counters: Counters) -> None:
        self.counters = counters

    def refused(self, client: Client, outcome: Outcome) -> Outcome:
        """A fact cannot be handled. Returns the outcome, which says why."""
        log.debug("fact_refused", sid=client.sid, lane=client.lane.behind, why=outcome.label)
        return outcome

    def handler_failed(self, client: Client, event: Any) -> None:
        """The application's handler raised. To be called in the `except` clause, for the traceback."""
        self.counters.handlers_failed += 1
        log_raised("handler_failed", sid=client.sid, event_name=event, lane=client.lane.behind)
