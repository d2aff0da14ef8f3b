"""What one simulated browser was due and got. `heard` is the hot path: it runs once per delivery."""

from time import time_ns

from loadtest.ledger import message
from loadtest.ledger.histogram import MAX_US, Histogram
from loadtest.ledger.report import NEVER, Stay, StreamRow
from loadtest.ledger.stream import Stream

BROADCAST = 0


class Clock:
    """The time that all load machines agree on: this machine's wall clock, shifted."""

    __slots__ = ("shift_us",)

    def __init__(self) -> None:
        self.shift_us = 0

    def now_us(self) -> int:
        return time_ns() // 1000 + self.shift_us


class Meter:
    """The deliveries of one transport since it was last read."""

    __slots__ = ("bytes", "counts")

    def __init__(self) -> None:
        self.bytes = 0
        self.counts = Histogram().counts


class Tally:
    """What the members of a process count together. `gaps`: missing between received ones, so far."""

    __slots__ = ("clock", "early", "gaps", "meters", "others", "places", "prefix")

    def __init__(self, clock: Clock, namespace: str) -> None:
        self.clock = clock
        self.prefix = message.prefix(namespace)
        self.meters = {"websocket": Meter(), "polling": Meter()}
        self.places: list[Place] = []
        self.gaps = 0
        self.early = 0
        self.others = 0


class Place:
    """A stay in a room, with its streams by publisher."""

    __slots__ = ("stay", "streams")

    def __init__(self, stay: Stay) -> None:
        self.stay = stay
        self.streams: dict[int, Stream] = {}

    def move(self, by_us: int) -> None:
        """Its times are of a clock that is set forward."""
        stay = self.stay
        stay.asked_us += by_us
        stay.joined_us, stay.leaving_us, stay.gone_us = (
            at if at == NEVER else at + by_us for at in (stay.joined_us, stay.leaving_us, stay.gone_us)
        )
        if stay.cut_us:
            stay.cut_us += by_us

    def row(self) -> Stay:
        self.stay.streams = [
            StreamRow(publisher, s.next, [(a, b) for a, b in s.holes], s.duplicated, s.reordered)
            for publisher, s in self.streams.items()
        ]
        return self.stay


class Member:
    """Tell it what happens, when it happens; it notes the time. A room is known by its number, 0 is everybody."""

    __slots__ = ("_at", "_excused", "_places", "_streams", "_tally", "heard_us", "meter", "number")

    def __init__(self, tally: Tally, number: int) -> None:
        self.number = number
        self.meter = tally.meters["websocket"]
        self.heard_us = 0
        self._tally = tally
        self._at = len(tally.prefix)
        self._excused = False
        self._streams: dict[bytes, Stream] = {}
        self._places: dict[int, Place] = {}

    def heard(self, packet: bytes) -> None:
        """One EVENT packet as received. What is no delivery is counted apart."""
        tally = self._tally
        at = self._at
        if not packet.startswith(tally.prefix):
            tally.others += 1
            return
        try:
            seq = int(packet[at + 16 : at + 24])
            sent_us = int(packet[at + 24 : at + 40])
            stream = self._streams.get(packet[at : at + 16]) or self._stream(packet[at : at + 16])
        except ValueError:
            tally.others += 1
            return
        if seq == stream.next:
            stream.next = seq + 1
        else:
            before = stream.gaps
            stream.take(seq)
            tally.gaps += stream.gaps - before
        meter = self.meter
        meter.bytes += len(packet)
        self.heard_us = now_us = time_ns() // 1000 + tally.clock.shift_us
        late_us = now_us - sent_us
        if 256 <= late_us <= MAX_US:  # bucket_of, without the call
            shift = late_us.bit_length() - 8
            meter.counts[(shift << 7) + (late_us >> shift)] += 1
        else:
            tally.early += late_us < 0
            meter.counts[max(0, late_us) if late_us < 256 else -1] += 1

    def connected(self, transport: str) -> None:
        """It is in the namespace, again or for the first time."""
        self.meter = self._tally.meters[transport]
        self.heard_us = 0
        self.asks(BROADCAST)
        self.joined(BROADCAST)

    def asks(self, room: int) -> None:
        """It is about to ask to join, again after a cut. An earlier stay is over, its streams too."""
        now_us = self._tally.clock.now_us()
        before = self._places.get(room)
        if before is not None and before.stay.gone_us == NEVER:  # cut, or begun by a message that was ahead of the ack
            before.stay.leaving_us = before.stay.gone_us = now_us
        for key in [key for key in self._streams if message.room_in(key) == room]:
            del self._streams[key]
        self._open(room, now_us)

    def joined(self, room: int) -> None:
        """The join was acked."""
        self._places[room].stay.joined_us = self._tally.clock.now_us()

    def leaves(self, room: int) -> None:
        """It is about to ask to leave, or to disconnect."""
        self._places[room].stay.leaving_us = self._tally.clock.now_us()

    def left(self, room: int) -> None:
        self._places[room].stay.gone_us = self._tally.clock.now_us()

    def parts(self) -> None:
        """It disconnects for good, and waits for nothing: what is under way is nobody's fault."""
        for place in self._staying():
            place.stay.cut_us = place.stay.gone_us = self._tally.clock.now_us()

    def cut(self) -> None:
        """Its transport is gone. What was under way is nobody's fault."""
        for place in self._staying():
            place.stay.cut_us = max(self.heard_us, 0)

    def excuse(self) -> None:
        """From here on, and in the stays that it has, nothing that it misses counts as lost."""
        self._excused = True
        for place in self._places.values():
            place.stay.excused = True

    @property
    def is_excused(self) -> bool:
        return self._excused

    def _staying(self) -> list[Place]:
        return [p for p in self._places.values() if p.stay.gone_us == NEVER and p.stay.cut_us is None]

    def _open(self, room: int, now_us: int, unasked: bool = False) -> Place:
        place = Place(Stay(self.number, room, now_us, excused=self._excused, unasked=unasked))
        self._places[room] = place
        self._tally.places.append(place)
        return place

    def _stream(self, key: bytes) -> Stream:
        """The first message of this publisher in this stay. Raises ValueError where the key is not digits."""
        publisher, room = message.publisher_in(key), message.room_in(key)
        place = self._places.get(room)
        if place is None:  # everybody is in the broadcast room, which may be heard before the upgrade is done
            place = self._open(room, self._tally.clock.now_us(), unasked=room != BROADCAST)
        stream = self._streams[key] = place.streams[publisher] = Stream()
        return stream
