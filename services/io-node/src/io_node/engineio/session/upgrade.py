"""The upgrade of one session from polling to WebSocket, while it is under way. Pure.

    polling ──open_probe──► polling, with a WebSocket beside it ──`2probe`──► probed ──`5`──► websocket
                                   └─── silence, or anything else: the WebSocket closes, polling goes on

A client lets its last poll come home before it says `5`. So a poll that waits is answered with a NOOP.
"""

from io_node.engineio.session.limits import NEVER

_FIRST_NOOP_S = 0.1
"""As in Socket.IO's own server: a poll that a message answers meanwhile needs no NOOP, and its client's tests count."""


class Probe:
    """The WebSocket that a client tries.

    `ends_at`: when the upgrade is given up. `noop_at`: when the poll that waits is answered with a NOOP.
    """

    __slots__ = ("_began_at", "_pause_s", "ends_at", "noop_at", "probed")

    def __init__(self, now: float, timeout_s: float) -> None:
        self.probed = False
        """Whether the client has sent `2probe`, and got `3probe`."""
        self.ends_at = now + timeout_s
        self.noop_at = NEVER
        self._began_at = now
        self._pause_s = _FIRST_NOOP_S

    def on_probe(self, *, poll_waits: bool) -> None:
        """The client sent `2probe`."""
        self.probed = True
        if poll_waits:
            self.noop_at = self._began_at + _FIRST_NOOP_S

    def on_poll(self, now: float) -> None:
        """A poll came after the probe, and nothing answers it.

        Two polls can race with `3probe`, so each is released. A client that goes on polling meets growing pauses, and
        no loop of NOOPs.
        """
        self.noop_at = now + self._pause_s
        self._pause_s *= 2
