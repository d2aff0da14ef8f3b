"""The long-polling transport of one Engine.IO session: a GET is always under way, POSTs go beside it."""

import random
from collections.abc import Callable, Sequence

from loadtest.browser.connection import Traffic
from loadtest.browser.http import HttpConnection, Lost, Response
from loadtest.browser.hub import Alarm
from loadtest.browser.site import Site

SEPARATOR = b"\x1e"
CLOSE_TIMEOUT_S = 5.0
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Polling:
    """Calls `packet(packet)` for each packet, `sent()` after a POST, and `lost(reason, why)` once if it fails.

    After `close`, `drop` or `abandon` it calls nothing.
    """

    name = "polling"

    def __init__(
        self,
        site: Site,
        traffic: Traffic,
        rng: random.Random,
        packet: Callable[[bytes], None],
        sent: Callable[[], None],
        lost: Callable[[str, str], None],
    ) -> None:
        self.frames = 0
        self.sid = ""
        self.is_writing = False
        self._site = site
        self._rng = rng
        self._packet = packet
        self._sent = sent
        self._lost = lost
        self._gets = HttpConnection(site, traffic)
        self._posts = HttpConnection(site, traffic)
        self._is_polling = False
        self._when_silent: Callable[[], None] | None = None
        self._closed = False

    def open(self) -> None:
        self._poll()

    def send(self, packets: Sequence[bytes]) -> None:
        """Sends all these packets in one POST. The next `send` has to wait for `sent`."""
        self.is_writing = True
        self._posts.send(self._post(SEPARATOR.join(packets)), self._posted)

    def fall_silent(self, then: Callable[[], None]) -> None:
        """For an upgrade: polls no more, and calls `then` when the poll and the POST under way are answered."""
        self._when_silent = then
        self._check_silence()

    def pause(self) -> None:
        """Leaves the answer of the present poll unread, so that no further poll is made."""
        self._gets.pause()

    def resume(self) -> None:
        self._gets.resume()

    def close(self) -> None:
        """Tells the server with a close packet, and waits for the answer, CLOSE_TIMEOUT_S at most."""
        if self._closed or self.is_writing:
            self.drop()
            return
        self._closed = True
        alarm = Alarm()
        alarm.set(CLOSE_TIMEOUT_S, self.drop)

        def answered(_: Response | Lost) -> None:
            alarm.clear()
            self.drop()

        self._posts.send(self._post(b"1"), answered)

    def drop(self) -> None:
        """Closes the connections at once."""
        self._closed = True
        self._gets.close()
        self._posts.close()

    def abandon(self, keep_s: float) -> None:
        self._closed = True
        self._gets.abandon(keep_s)
        self._posts.abandon(keep_s)

    def _poll(self) -> None:
        self._is_polling = True
        head = self._site.request("GET", self._query(), (("Connection", "keep-alive"),))
        self._gets.send(head, self._polled)

    def _post(self, body: bytes) -> bytes:
        more = (
            ("Connection", "keep-alive"),
            ("Content-type", "text/plain;charset=UTF-8"),
            ("Content-Length", str(len(body))),
        )
        return self._site.request("POST", self._query(), more) + body

    def _query(self) -> str:
        """`t` differs each time, to get past caches. The order of parameters is the official client's."""
        stamp = "".join(self._rng.choices(_DIGITS, k=8))
        return f"EIO=4&transport=polling&t={stamp}" + (f"&sid={self.sid}" if self.sid else "")

    def _polled(self, outcome: Response | Lost) -> None:
        if not self._is_fine(outcome, "poll"):
            return
        assert isinstance(outcome, Response)
        for packet in outcome.body.split(SEPARATOR):
            self.frames += 1
            if packet == b"1":
                self._give_up("transport close", "closed by the server")
                return
            self._packet(packet)
            if self._closed:
                return
        self._is_polling = False
        if self._when_silent is None:
            self._poll()
        else:
            self._check_silence()

    def _posted(self, outcome: Response | Lost) -> None:
        if not self._is_fine(outcome, "post"):
            return
        self.is_writing = False
        self._sent()
        self._check_silence()

    def _check_silence(self) -> None:
        if self._when_silent is not None and not self._is_polling and not self.is_writing and not self._closed:
            then, self._when_silent = self._when_silent, None
            then()

    def _is_fine(self, outcome: Response | Lost, what: str) -> bool:
        match outcome:
            case Lost(why):
                self._give_up("transport error", f"{what}: {why}")
            case Response(status=200):
                return True
            case Response(status=status, body=body):
                self._give_up("transport error", f"{what}: status {status} {body[:80].decode('utf-8', 'replace')}")
        return False

    def _give_up(self, reason: str, why: str) -> None:
        self.drop()
        self._lost(reason, why)
