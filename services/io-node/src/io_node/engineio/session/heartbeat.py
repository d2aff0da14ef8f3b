"""The heartbeat of one session (Engine.IO v4): the server sends PING, and the client must answer it in time. Pure."""

from io_node.engineio.session.limits import NEVER, Limits

_LATE_S = 0.05
"""When a PING is sent later than this, the process had stalled. Then the client gets its whole time to answer."""


class Heartbeat:
    """When the next PING is due, or the PONG that answers the last one.

    A client whose reading is paused cannot be asked for a PONG. But it gets PINGs: without any it would give the
    connection up.
    """

    __slots__ = ("_limits", "_paused", "due_at", "pong_due")

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._paused = False
        self.pong_due = False
        self.due_at = now + limits.ping_interval_s

    @property
    def waits_for_pong(self) -> bool:
        """Whether what comes due is the PONG, and not the next PING."""
        return self.pong_due and not self._paused

    def beat(self, now: float) -> None:
        """A PING is sent, or would be if none waited yet."""
        due = self.due_at if now - self.due_at < _LATE_S else now
        self.due_at = due + self._limits.ping_timeout_s

    def pong(self, now: float) -> None:
        """The client has answered."""
        self.pong_due = False
        self.due_at = now + self._limits.ping_interval_s

    def allow(self, until: float) -> None:
        """The client shows otherwise that it is alive, or could not answer: it may take until then."""
        if self.pong_due:
            self.due_at = max(self.due_at, until)

    def pause(self, paused: bool, now: float) -> None:
        """Say whether reading from the client is paused."""
        self._paused = paused
        if not paused:
            self.allow(now + self._limits.ping_timeout_s)

    def stop(self) -> None:
        self.due_at = NEVER
