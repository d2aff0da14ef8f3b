"""What an app-node does when a handler blocks its event loop: it says which one, and in the end gives up.

A blocked app-node cannot renew its leases. When they have run out, others have its lanes, and it is of no use. If the
process is the app-node's own, it ends then, so that it is started anew. So does one that held no lanes: it can take
none, and what other app-nodes ask it is never answered. One that stops and holds none may take its time.
"""

import os
import sys
import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

import structlog

from app_node.counters import Counters
from app_node.handlers.application import Application
from app_node.handlers.server_events import ServerHandlers
from app_node.uplink.answers import Answers
from app_node.uplink.dispatcher import Dispatcher
from sio_cluster.node.process.watchdog import CpuLimit, Watchdog

log = structlog.get_logger()

EXIT_BLOCKED = 70
"""The exit status of a process that ends because a handler has blocked it."""

_FRAMES = 40
"""How many frames of the stack are logged, the innermost of them."""

_LOG_S = 1.0
"""How long writing a log line may take. The blocked thread may hold a lock that it needs."""


class BlockWatch:
    """Watches the event loop for handlers that block it.

    `owns_process`: whether it may end the process. To be set before `run`, and only in the main thread. `is_needed`:
    whether somebody waits for this app-node. It is asked in another thread.
    """

    def __init__(self, *, block_ms: int, lease_ms: int, is_needed: Callable[[], bool], counters: Counters) -> None:
        self.owns_process = False
        self._block_s = block_ms / 1000
        self._lease_s = lease_ms / 1000
        self._step_s = min(self._block_s, self._lease_s) / 2
        self._is_needed = is_needed
        self._counters = counters
        self._told: dict[str, Any] | None = None  # what is known of the handler that blocks now
        self._cpu_limit: CpuLimit | None = None

    async def run(self) -> None:
        """A loop for as long as the node lives."""
        if self.owns_process:
            self._cpu_limit = CpuLimit()
        try:
            await Watchdog(step_s=self._step_s, on_beat=self._beat, on_stall=self._stalled, on_turn=self._turned).run()
        finally:
            if self._cpu_limit is not None:
                self._cpu_limit.close()

    def _beat(self) -> None:
        if self._cpu_limit is not None:  # later than the thread, which says more, if it can run
            self._cpu_limit.renew(self._lease_s + 2 * self._step_s + _LOG_S)

    def _stalled(self, lasted_s: float, frame: FrameType | None) -> None:
        ends = self.owns_process and lasted_s >= self._lease_s and self._is_needed()
        if self._told is None and (ends or lasted_s >= self._block_s):
            self._told = handler_in(frame)
            self._counters.handlers_blocked += 1
            self._say("handler_blocks", lasted_s, stack="".join(traceback.format_stack(frame, _FRAMES)))
        if ends:
            self._say("blocked_process_ends", lasted_s, status=EXIT_BLOCKED)
            os._exit(EXIT_BLOCKED)

    def _turned(self, lasted_s: float) -> None:
        if self._told is not None:
            self._say("handler_block_ended", lasted_s)
            self._told = None

    def _say(self, event: str, lasted_s: float, **fields: Any) -> None:
        """Logs from a thread of its own, so that the watchdog goes on if that cannot be done."""

        def write() -> None:
            log.error(event, **(self._told or {}), lasted_ms=round(lasted_s * 1000), **fields)
            sys.stderr.flush()

        writer = threading.Thread(target=write, name="watchdog log", daemon=True)
        writer.start()
        writer.join(_LOG_S)


def handler_in(frame: FrameType | None) -> dict[str, Any]:
    """The event and the client (or app-node) of the handler that runs in this stack. Empty if it is no handler.

    Read from the stack, since keeping a note of each running handler would cost time for each event.
    """
    while frame is not None:
        if (found := _HANDLERS.get(frame.f_code)) is not None:
            return found(frame.f_locals)
        frame = frame.f_back
    return {}


_HANDLERS: dict[Any, Callable[[Any], dict[str, Any]]] = {
    Dispatcher._run_event.__code__: lambda found: {"event_name": found["name"], "sid": found["client"].sid},
    Application.connect.__code__: lambda found: {"event_name": "connect", "sid": found["sid"]},
    Application.disconnect.__code__: lambda found: {"event_name": "disconnect", "sid": found["sid"]},
    Answers._call.__code__: lambda found: {"event_name": "ack", "sid": found["sid"]},
    ServerHandlers.run.__code__: lambda found: {"event_name": found["name"], "sender": found["sender"]},
}
"""What calls handlers, and where its variables have the event and the client."""
