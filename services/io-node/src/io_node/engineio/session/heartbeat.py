"""The heartbeat of one session (Engine.IO v4): the server sends PING, and the client must answer it in time. Pure."""

from io_node.engineio.session.limits import NEVER, Limits

_LATE_S = 0.05
"""When a PING is sent later than this, the process had stalled. Then the client gets its whole time to answer."""


class Heartbeat:
    """When the next PING is due, or the PONG that answers the last one.

    A client whose reading is paused cannot be asked for a PONG. But it gets PINGs: without any it would give the
    connection up.
    """

    __slots__ = ("_asked_at", "_limits", "_paused", "due_at", "pong_due")

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._paused = False
        self._asked_at: float | None = None  # when the PING was sent whose round trip is measured
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

    def ask(self, now: float) -> None:
        """This PING wants an answer."""
        self.pong_due = True
        if not self._paused:
            self._asked_at = now

    def pong(self, now: float) -> float | None:
        """The client has answered. Returns the seconds since the PING. None where it did not follow one, or was not
        read at once."""
        asked_at, self._asked_at = self._asked_at, None
        self.pong_due = False
        self.due_at = now + self._limits.ping_interval_s
        return None if asked_at is None else now - asked_at

    def allow(self, until: float) -> None:
        """The client shows otherwise that it is alive, or could not answer: it may take until then."""
        if self.pong_due:
            self.due_at = max(self.due_at, until)

    def pause(self, paused: bool, now: float) -> None:
        """Say whether reading from the client is paused."""
        self._paused = paused
        self._asked_at = None
        if not paused:
            self.allow(now + self._limits.ping_timeout_s)

    def stop(self) -> None:
        self.due_at = NEVER
