"""Whether the process has file descriptors left for another connection.

Each connection takes one. When the process may open no more (RLIMIT_NOFILE), libuv, on which the node's event loop
runs, accepts each new connection and closes it at once, and tells nobody. Redis, whose connection was lost, cannot be
reached again either. So the last descriptors are kept for health checks, `/metrics`, Redis and the application.
"""

import os
import resource

import structlog

log = structlog.get_logger()

RESERVE = 64
"""How many descriptors are kept; an eighth of them where that is less."""


class Descriptors:
    """Asked before a connection is let in. Logs when they run short, once, and when they no longer do."""

    def __init__(self) -> None:
        self._short = False

    def run_short(self) -> bool:
        """Whether only those are left that are kept."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        kept = min(RESERVE, limit // 8)
        if self._short:  # so that one client that leaves does not end it
            kept += kept // 2
        short = limit != resource.RLIM_INFINITY and _next_free() >= limit - kept
        if short and not self._short:
            log.error("open_files_short", limit=limit, do="raise the hard limit (ulimit -Hn), or add io-nodes")
        elif self._short and not short:
            log.info("open_files_suffice", limit=limit)
        self._short = short
        return short


def _next_free() -> float:
    """The lowest descriptor that is free, which is the next one to be given out. Infinite where there is none."""
    try:
        descriptor = os.dup(0)
    except OSError:
        return float("inf")
    os.close(descriptor)
    return descriptor
