"""What went wrong with one client: logged with what helps to find it, and counted."""

from typing import Any

import structlog

from app_node.clients.client import Client
from app_node.counters import Counters

log = structlog.get_logger()


class Incidents:
    """Nobody else is harmed by any of these."""

    def __init__(self, counters: Counters) -> None:
        self.counters = counters

    def refused(self, client: Client, why: str) -> str:
        """A fact that cannot be handled. `why` is a constant. What the fact counts as."""
        log.debug("fact_refused", sid=client.sid, lane=client.lane.number, why=why)
        return f"refused.{why}"

    def handler_failed(self, client: Client, event: Any) -> None:
        """Inside an except clause: the application's handler raised."""
        self.counters.add("handlers_failed")
        log.exception("handler_failed", sid=client.sid, event_name=event, lane=client.lane.number)
