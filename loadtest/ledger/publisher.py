"""What one simulated browser published: when each emit was sent, and when the application said that it is done."""

from array import array

from loadtest.ledger import message
from loadtest.ledger.member import Clock
from loadtest.ledger.report import Emits


class Publisher:
    """Numbers and stamps the messages of one publisher. Memory: 16 bytes per emit, until the run ends."""

    __slots__ = ("_acked", "_clock", "_sent", "number")

    def __init__(self, clock: Clock, number: int) -> None:
        self.number = number
        self._clock = clock
        self._sent: dict[int, array[int]] = {}
        self._acked: dict[int, array[int]] = {}

    def stamp(self, room: int, size: int) -> tuple[int, str]:
        """The sequence and the text of the next message. It counts as emitted from now on, acked or not."""
        if room not in self._sent:
            self._sent[room] = array("q")
            self._acked[room] = array("q")
        sent = self._sent[room]
        seq = len(sent)
        at_us = self._clock.now_us()
        sent.append(max(at_us, sent[-1]) if sent else at_us)
        self._acked[room].append(0)
        return seq, message.pack(self.number, room, seq, at_us, size)

    def acked(self, room: int, seq: int) -> None:
        """The application has emitted it to the room."""
        self._acked[room][seq] = self._clock.now_us()

    def move(self, by_us: int) -> None:
        """Its times are of a clock that is set forward. What the messages themselves say stays."""
        for room, sent in self._sent.items():
            self._sent[room] = array("q", (at + by_us for at in sent))
            self._acked[room] = array("q", (at and at + by_us for at in self._acked[room]))

    def rows(self) -> list[Emits]:
        return [Emits(self.number, room, list(sent), list(self._acked[room])) for room, sent in self._sent.items()]
