"""What one simulated browser was due and what it got. `Member.heard` is the hot path: it runs once per delivery."""

from bisect import bisect_right
from time import time_ns

from loadtest.accounting import message
from loadtest.accounting.clock import Clock
from loadtest.accounting.histogram import MAX_US, Histogram
from loadtest.accounting.worker_report import NEVER, Stay, StreamRow

BROADCAST = 0
"""The number of the room in which everybody is."""


class Meter:
    """Deliveries over one transport since the meter was last read: bytes, and latencies by histogram bucket."""

    __slots__ = ("bytes", "counts")

    def __init__(self) -> None:
        self.bytes = 0
        self.counts = Histogram().counts


class Tally:
    """What all members of one process count together.

    `gaps`: messages missing so far between received ones. `early`: deliveries that seem to have arrived before they
    were sent. `others`: events that are no deliveries of the load test. `places`: every stay of every member.
    """

    __slots__ = ("clock", "early", "gaps", "meters", "others", "places", "prefix")

    def __init__(self, clock: Clock, namespace: str) -> None:
        self.clock = clock
        self.prefix = message.prefix(namespace)
        self.meters = {"websocket": Meter(), "polling": Meter()}
        self.places: list[Place] = []
        self.gaps = 0
        self.early = 0
        self.others = 0


class Member:
    """The account of one simulated browser. Call its methods at the moment that they name; they read the clock.

    Rooms are numbers; room 0 (BROADCAST) holds everybody.
    """

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
        """Takes one EVENT packet as received. One that is no delivery only counts in `Tally.others`."""
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
        """The browser is in the namespace, for the first time or again."""
        self.meter = self._tally.meters[transport]
        self.heard_us = 0
        self.asks(BROADCAST)
        self.joined(BROADCAST)

    def asks(self, room: int) -> None:
        """The browser is about to ask to join. An earlier stay in this room ends now, with its streams."""
        now_us = self._tally.clock.now_us()
        before = self._places.get(room)
        if before is not None and before.stay.gone_us == NEVER:  # it was cut, or a message came before the join's ack
            before.stay.leaving_us = before.stay.gone_us = now_us
        for key in [key for key in self._streams if message.room_in(key) == room]:
            del self._streams[key]
        self._open(room, now_us)

    def joined(self, room: int) -> None:
        """The join was acked."""
        self._places[room].stay.joined_us = self._tally.clock.now_us()

    def leaves(self, room: int) -> None:
        """The browser is about to ask to leave."""
        self._places[room].stay.leaving_us = self._tally.clock.now_us()

    def left(self, room: int) -> None:
        """The leave was acked."""
        self._places[room].stay.gone_us = self._tally.clock.now_us()

    def parts(self) -> None:
        """The browser disconnects for good and waits for nothing. What is under way now is uncertain, not lost."""
        for place in self._staying():
            place.stay.cut_us = place.stay.gone_us = self._tally.clock.now_us()

    def cut(self) -> None:
        """The transport is gone. What was under way then is uncertain, not lost."""
        for place in self._staying():
            place.stay.cut_us = max(self.heard_us, 0)

    def excuse(self) -> None:
        """From now on, and in its present stays, what this member misses is `excused` and not `lost`."""
        self._excused = True
        for place in self._places.values():
            place.stay.excused = True

    @property
    def is_excused(self) -> bool:
        return self._excused

    def _staying(self) -> list["Place"]:
        return [p for p in self._places.values() if p.stay.gone_us == NEVER and p.stay.cut_us is None]

    def _open(self, room: int, now_us: int, unasked: bool = False) -> "Place":
        place = Place(Stay(self.number, room, now_us, excused=self._excused, unasked=unasked))
        self._places[room] = place
        self._tally.places.append(place)
        return place

    def _stream(self, key: bytes) -> "Stream":
        """Opens the stream of a publisher's first message in this stay. Raises ValueError where `key` is not digits."""
        publisher, room = message.publisher_in(key), message.room_in(key)
        place = self._places.get(room)
        if place is None:  # a broadcast may come before `connected`, while the upgrade is still under way
            place = self._open(room, self._tally.clock.now_us(), unasked=room != BROADCAST)
        stream = self._streams[key] = place.streams[publisher] = Stream()
        return stream


class Place:
    """One stay in one room, with a stream for each publisher heard there."""

    __slots__ = ("stay", "streams")

    def __init__(self, stay: Stay) -> None:
        self.stay = stay
        self.streams: dict[int, Stream] = {}

    def move(self, by_us: int) -> None:
        """Moves all its times: the clock was set forward by so much."""
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


class Stream:
    """Which sequence numbers one member received from one publisher in one room.

    The numbers received are [0, next) without the holes. `holes` are [from, to) pairs in ascending order. Memory: one
    pair per hole. Without losses there is at most one hole: what was emitted before the member came.
    """

    __slots__ = ("duplicated", "holes", "next", "reordered")

    def __init__(self) -> None:
        self.next = 0
        self.holes: list[list[int]] = []
        self.duplicated = 0
        self.reordered = 0

    def take(self, seq: int) -> None:
        if seq == self.next:
            self.next = seq + 1
        elif seq > self.next:
            self.holes.append([self.next, seq])
            self.next = seq + 1
        else:
            self._late(seq)

    def _late(self, seq: int) -> None:
        """A number below `next`: it fills a hole (reordered), or it was received before (duplicated)."""
        at = bisect_right(self.holes, seq, key=_beginning) - 1
        if at < 0 or seq >= self.holes[at][1]:
            self.duplicated += 1
            return
        self.reordered += 1
        begin, end = self.holes[at]
        self.holes[at : at + 1] = [part for part in ([begin, seq], [seq + 1, end]) if part[0] < part[1]]

    @property
    def received(self) -> int:
        return self.next - sum(end - begin for begin, end in self.holes)

    @property
    def gaps(self) -> int:
        """How many numbers are missing between the first and the last one received. More may still come."""
        head = bool(self.holes) and self.holes[0][0] == 0
        return sum(end - begin for begin, end in self.holes[head:])


def _beginning(hole: list[int]) -> int:
    return hole[0]
