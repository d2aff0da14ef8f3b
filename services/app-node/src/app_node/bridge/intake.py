"""Takes one message after the other: counts it, carries it out, and says why where it does not."""

from collections.abc import Callable

import structlog

from app_node.bridge.counters import BridgeCounters
from app_node.bridge.delivery import deliver
from app_node.bridge.requests import Refused, Request, Source
from app_node.clock import Clock
from app_node.interface.server import ClusterServer
from sio_cluster.node.monitoring.log import log_raised

log = structlog.get_logger()

QUIET_S = 10.0
"""A line about the same kind of refusal comes at most so often. It says how many there were since the last one."""


class Intake:
    """What a bridge does with a message, wherever it comes from."""

    def __init__(self, sio: ClusterServer, counters: BridgeCounters, clock: Clock) -> None:
        self._sio = sio
        self._counters = counters
        self._clock = clock
        self._last_line: dict[tuple[Source, str], tuple[float, int]] = {}

    async def take(self, source: Source, read: Callable[[], Request | None]) -> None:
        """Returns when the message is queued for Redis, refused or ignored.

        Whatever is wrong with it ends here: it is counted and logged, and the next one is taken. Raises RuntimeError
        where the node has ended.
        """
        self._counters.read[source] += 1
        try:
            request = read()
            if request is None:
                self._counters.ignored[source] += 1
                return
            await deliver(self._sio, request)
        except Refused as refused:
            self._refuse(source, refused.reason, str(refused))
        except Exception:  # a defect of ours must not keep the next message from being read
            if self._sio.node.over.is_set():
                raise
            log_raised("bridge_message_failed", source=source)
            self._refuse(source, "failed", "a defect of the bridge: see bridge_message_failed")
        else:
            self._counters.delivered[source] += 1

    def _refuse(self, source: Source, reason: str, why: str) -> None:
        kind = (source, reason)
        self._counters.refused[kind] += 1
        said_at, said_count = self._last_line.get(kind, (float("-inf"), 0))
        if self._clock() - said_at < QUIET_S:
            return
        count = self._counters.refused[kind]
        self._last_line[kind] = (self._clock(), count)
        log.warning("bridge_message_refused", source=source, reason=reason, why=why[:500], number=count - said_count)
