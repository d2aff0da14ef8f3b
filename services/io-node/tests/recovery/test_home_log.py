"""Who missed what: as if each client had stood in its rooms and listened, entry by entry."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from io_node.engineio.api import Outbound
from io_node.recovery.home_log import HomeLog, Since
from io_node.recovery.log_items import MOST_MADE_BYTES
from sio_cluster.protocol.codec import decode_downlink, encode_downlink
from sio_cluster.protocol.messages import (
    Accept,
    Ack,
    AckRequest,
    Canary,
    CloseRoom,
    Command,
    DisconnectMany,
    Emit,
    Evict,
    Join,
    JoinMany,
    Leave,
    LeaveMany,
    Refuse,
    Room,
)
from sio_cluster.protocol.recovery import Position
from sio_cluster.streams.api.homes import AtHorizon

SIDS = ("ann", "bob")
ROOMS: tuple[Room, ...] = ("red", "blue", 7, "ann")
NAMESPACES = ("/", "/other")
START = AtHorizon(b"0-0", frozenset())


@dataclass
class Listener:
    """One client that is always there, and the naive truth."""

    sid: str
    namespace: str
    rooms: set[Room] = field(default_factory=set)
    heard: list[tuple[Position, bytes]] = field(default_factory=list)
    accepted: Position | None = None

    def take(self, place: Position, command: Command) -> None:
        match command:
            case Accept(sid) if sid == self.sid and self.accepted is None:
                self.accepted = place
            case Join(sid, room) if sid == self.sid and room != sid:
                self.rooms.add(room)
            case Leave(sid, room) if sid == self.sid:
                self.rooms.discard(room)
            case JoinMany(sids, rooms) if self.sid in sids:
                self.rooms.update(room for room in rooms if room != self.sid)
            case LeaveMany(sids, rooms) if self.sid in sids:
                self.rooms.difference_update(rooms)
            case CloseRoom(namespace, room) if namespace == self.namespace:
                self.rooms.discard(room)
            case Emit(namespace=self.namespace, to=to, skip=skip, ack=None, volatile=False) if self.sid not in skip:
                mine = {self.sid, *self.rooms}
                if (to is None or not mine.isdisjoint(to)) and mine.isdisjoint(command.except_rooms):
                    self.heard.append((place, command.packet))
            case _:
                pass


sids, rooms, namespaces = st.sampled_from(SIDS), st.sampled_from(ROOMS), st.sampled_from(NAMESPACES)
emits = st.builds(
    Emit,
    namespaces,
    st.binary(min_size=3, max_size=3),
    to=st.none() | st.lists(rooms, max_size=3),
    skip=st.lists(sids, max_size=1),
    ack=st.none() | st.just(AckRequest("app1-aaaaaa", 1)),
    volatile=st.booleans(),
    except_rooms=st.just([]) | st.lists(st.sampled_from(ROOMS[:3]), max_size=2),
)
commands: st.SearchStrategy[Command] = st.one_of(
    emits,
    emits,
    st.builds(Join, sids, rooms),
    st.builds(Leave, sids, rooms),
    st.builds(JoinMany, st.lists(sids, max_size=3), st.lists(rooms, max_size=2)),
    st.builds(LeaveMany, st.lists(sids, max_size=3), st.lists(rooms, max_size=2)),
    st.builds(CloseRoom, namespaces, rooms),
    st.builds(Accept, sids),
    st.sampled_from([Canary(1), Evict("ann", 1), Ack("ann", b"31[]"), Refuse("bob", b"{}"), DisconnectMany(["ann"])]),
)
entries = st.lists(st.lists(commands, max_size=6), max_size=12)


def places(entries: list[list[Command]]) -> list[Position]:
    return [Position(ms, 0, n) for ms, entry in enumerate(entries, 1) for n in range(len(entry))]


@pytest.mark.slow
@patch("io_node.recovery.log_items._STRETCH_BYTES", 1)
@settings(max_examples=settings().max_examples ** 2 // 25)  # 25, or 400 in CI
@given(entries, sids, namespaces, st.data())
def test_as_if_it_had_listened(entries: list[list[Command]], sid: str, namespace: str, data: st.DataObject) -> None:
    horizon = data.draw(st.integers(0, len(entries)))
    known = [Position(horizon, 0, 2**20), *(place for place in places(entries) if place.ms > horizon)]
    after = data.draw(st.sampled_from(known))
    end = Position(len(entries) + 1, 0, 0)
    loaded, over = data.draw(st.just((0, 0)) | st.tuples(st.integers(0, len(entries)), st.integers(0, 2_000)))
    until = data.draw(st.sampled_from([place for place in (*known, end) if place >= after and place.ms > loaded]))
    listener, log, at = Listener(sid, namespace), HomeLog(), START
    rooms: set[Room] = set()
    for ms, entry in enumerate(entries, 1):
        if ms == horizon + 1:
            at = AtHorizon(b"%d-0" % horizon, frozenset(listener.rooms | {sid}))
        log.add(b"%d-0" % ms, entry)
        for number, command in enumerate(entry):
            if Position(ms, 0, number) == until:
                rooms = set(listener.rooms)
            listener.take(Position(ms, 0, number), command)
        if ms == loaded:
            shorten(log, max(0, log.size - over))
    if horizon == len(entries):
        at = AtHorizon(b"%d-0" % horizon, frozenset(listener.rooms | {sid}))
    if until == end:
        rooms = set(listener.rooms)
    since = log.since(sid, at, after)
    if after.ms <= horizon:
        assert since is None
        return
    if not log.has_all(sid, namespace, at, Since(after, after)):
        assert loaded
        return
    assert since == (after, after)
    stays = log.rooms(sid, namespace, at, until)
    expected = [(place, packet) for place, packet in listener.heard if after < place < until]
    assert [(message.place, message.packet) for message in missed(log, sid, namespace, at, since, until)] == expected
    assert stays.rooms - {sid} == rooms - {sid}


def shorten(log: HomeLog, max_bytes: int) -> None:
    for _ in log.shorten(max_bytes):
        pass
    assert log.size <= max_bytes


def missed(log: HomeLog, sid: str, namespace: str, at: AtHorizon, since: Since, until: Position) -> Iterator[Outbound]:
    return (event for event in log.events(sid, namespace, at, since, until) if event is not None)


def log_of(*entries: list[Command]) -> HomeLog:
    log = HomeLog()
    for ms, entry in enumerate(entries, 1):
        log.add(b"%d-0" % ms, entry)
    return log


def heard(log: HomeLog, at: AtHorizon, offset: Position | None, until: Position) -> bytes:
    since = log.since("ann", at, offset)
    assert since is not None
    return b"".join(message.packet or b"" for message in missed(log, "ann", "/", at, since, until))


def test_without_an_offset_it_begins_with_the_first_accept() -> None:
    """What was said to the client itself and to its rooms before that is told, too: nobody else can have been meant."""
    log = log_of(
        [Emit("/", b"a"), Join("ann", "red"), Emit("/", b"b", to=["red"]), Emit("/", b"c", to=["ann"])],
        [Emit("/", b"d"), Accept("ann"), Emit("/", b"e")],
        [Accept("ann"), Emit("/", b"f")],
    )
    assert heard(log, START, None, Position(9, 0, 0)) == b"bcef"


def test_an_offset_of_a_former_session_does_no_harm() -> None:
    """A client keeps its offset beyond the end of a session. It is older than the first Accept of the new one."""
    log = log_of([Emit("/", b"a")], [Emit("/", b"b"), Accept("ann"), Emit("/", b"c")])
    at = AtHorizon(b"0-0", frozenset({"red"}))
    assert heard(log, at, Position(1, 0, 0), Position(9, 0, 0)) == b"c"


def test_without_an_offset_and_without_an_accept_nobody_knows() -> None:
    log = log_of([Emit("/", b"a")], [Accept("ann")])
    assert log.since("ann", AtHorizon(b"1-0", frozenset({"ann"})), None) is None
    assert log.since("ann", AtHorizon(b"1-0", frozenset({"ann"})), Position(1, 0, 5)) is None
    assert log.since("ann", AtHorizon(b"1-0", frozenset({"ann"})), Position(2, 0, 0)) is not None
    assert log.since("bob", START, None) is None


def test_what_left_the_log_meanwhile_does_not_count_twice() -> None:
    """The rooms at a horizon that moved after the log was read say already what stood before it."""
    log = log_of([Join("ann", "red")], [Leave("ann", "red")], [Emit("/", b"a", to=["red"])])
    assert heard(log, AtHorizon(b"1-0", frozenset({"ann", "red"})), Position(2, 0, 0), Position(9, 0, 0)) == b""
    assert heard(log, AtHorizon(b"2-0", frozenset({"ann"})), Position(3, 0, -1), Position(9, 0, 0)) == b""


def test_rooms_that_were_closed_behind_its_back() -> None:
    log = log_of([CloseRoom("/", "red"), Accept("ann")], [CloseRoom("/", "blue"), Leave("ann", "green")])
    at = AtHorizon(b"0-0", frozenset({"red", "blue", "green", "ann"}))
    assert log.rooms("ann", "/", at, Position(3, 0, 0), told=Position(1, 0, 5)) == (set(), ["blue"])


def test_one_message_for_all_who_missed_it() -> None:
    log = log_of([Accept("ann"), Accept("bob")], [Emit("/", b'2["n"]')])
    messages: list[Outbound] = []
    for sid in SIDS:
        since = log.since(sid, START, None)
        assert since is not None
        messages += missed(log, sid, "/", START, since, Position(3, 0, 0))
    assert messages[0] is messages[1]


def test_an_entry_in_parts() -> None:
    whole, parts = HomeLog(), HomeLog()
    entry: list[Command] = [Accept("ann"), Emit("/", b"a"), Join("ann", "red"), Emit("/", b"b", to=["red"])]
    whole.add(b"1-0", entry)
    for first in range(0, 4, 2):
        parts.add(b"1-0", entry[first : first + 2], first)
    for log in (whole, parts):
        assert heard(log, START, None, Position(9, 0, 0)) == b"ab"
    assert whole.size == parts.size


def test_a_client_in_10_000_rooms_is_told_in_small_pieces() -> None:
    """Something was said in all of them, in one of them often, and some of them it has left or lost."""
    rooms = [f"room{number}" for number in range(10_000)]
    log = log_of(
        [Emit("/", b"%d," % number, to=[room]) for number, room in enumerate(rooms)],
        [Leave("ann", "room3"), CloseRoom("/", "room7"), *(CloseRoom("/other", room) for room in rooms)],
        [Emit("/", b"%d," % number, to=["room7", "room9"]) for number in range(20)],
    )
    at = AtHorizon(b"0-0", frozenset({"ann", *rooms}))
    until = Position(4, 0, 0)
    assert log.rooms("ann", "/", at, until).rooms == {*rooms} - {"room3", "room7"}
    told = list(log.events("ann", "/", at, Since(Position(1, 0, 1), Position(1, 0, 1)), until))
    assert [event.packet for event in told if event is not None] == [
        b"%d," % number for number in (*range(2, 10_000), *range(20))
    ]
    assert told[:40] == [None] * 40
    assert None not in told[40:]


PLACE = Position(9, 0, 0)
HERE = AtHorizon(b"0-0", frozenset({"ann", "red"}))
_NAMES = [f"io1-aaaaaa.{number:016}" for number in range(2_000)]


def a_lot(kind: str) -> bytes:
    """An entry with many commands of one kind."""
    commands: dict[str, Callable[[int, str], Command]] = {
        "joins": lambda number, sid: Join(sid, f"room{number % 50}"),
        "leaves": lambda number, sid: Leave(sid, f"room{number % 50}"),
        "joins of one client": lambda number, sid: Join(_NAMES[0], f"room{number}"),
        "closings": lambda number, sid: CloseRoom("/", f"room{number}"),
        "accepts": lambda number, sid: Accept(sid),
        "small events": lambda number, sid: Emit("/", b'2["a",%d]' % number, to=[f"room{number % 50}"]),
        "events to sids": lambda number, sid: Emit("/", b'2["a",%d]' % number, to=[sid]),
        "events to five rooms": lambda number, sid: Emit("/", b'2["a"]', to=[f"room{n % 50}" for n in range(5)]),
        "attachments": lambda number, sid: Emit("/", b'51-["a"]', [b"x" * 50, b"y" * 50]),
        "one skipped": lambda number, sid: Emit("/", b'2["a"]', skip=[sid]),
        "many skipped": lambda number, sid: Emit("/", b'2["a"]', skip=_NAMES[number : number + 100]),
    }
    made = [commands[kind](number, sid) for number, sid in enumerate(_NAMES)]
    return encode_downlink("app1-aaaaaa", 1, made)


KINDS = [
    "joins", "leaves", "joins of one client", "closings", "accepts", "small events", "events to sids",
    "events to five rooms", "attachments", "one skipped", "many skipped",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_it_holds_is_weighed(kind: str) -> None:
    entry, log = a_lot(kind), HomeLog()
    gc.collect()
    tracemalloc.start()
    try:
        log.add(b"1700000000000-0", decode_downlink(entry).commands)
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 0.8 < log.size / taken < 1.4


def test_the_oldest_go_first() -> None:
    """Who has missed none of these is told all, though what they said of its rooms is long ago."""
    log = log_of(
        [Join("ann", "red"), Join("ann", "blue"), Emit("/", b"a" * 50_000, to=["red"])],
        [Leave("ann", "blue"), Emit("/", b"b" * 50_000), Emit("/", b"c" * 50_000, to=["blue"])],
        [Emit("/", b"d", to=["red"]), Emit("/", b"e", to=["blue"]), Emit("/", b"f", to=["red"])],
    )
    assert log.entries == 3
    shorten(log, 30_000)
    assert log.is_cut
    assert log.entries == 1
    last = Position(2, 0, 2)
    assert log.has_all("ann", "/", HERE, Since(last, last))
    assert heard(log, HERE, last, PLACE) == b"df"
    assert log.rooms("ann", "/", HERE, PLACE).rooms == {"ann", "red"} - {"ann"}
    for missed_one in (Position(1, 0, 1), Position(2, 0, 0)):
        assert not log.has_all("ann", "/", HERE, Since(missed_one, missed_one))


def test_who_was_quiet_misses_nothing_where_the_oldest_go() -> None:
    """It was in none of the rooms that had something to do with them, and in no other namespace."""
    log = log_of(
        [Join("ann", "green"), Join("bob", "blue")],
        [Emit("/", b"a" * 50_000, to=["blue"]), Emit("/other", b"b" * 50_000)],
        [Emit("/", b"c", to=["green"])],
    )
    shorten(log, 30_000)
    long_ago = Since(Position(1, 0, 0), Position(1, 0, 0))
    assert log.has_all("ann", "/", HERE, long_ago)
    assert heard(log, HERE, long_ago.rooms, PLACE) == b"c"
    assert not log.has_all("bob", "/", START, long_ago)
    assert not log.has_all("ann", "/other", HERE, long_ago)


def test_who_comes_and_goes_all_the_time_takes_little() -> None:
    """Of all that is said of one client and one room, what was said last is enough."""
    log = HomeLog()
    for ms in range(1, 5_001):
        log.add(b"%d-0" % ms, [Join("ann", "red"), Emit("/", b"a", to=["red"]), Leave("ann", "red"), CloseRoom("/", 7)])
    log.add(b"5001-0", [Join("ann", "blue"), Emit("/", b"b", to=["blue"])])
    assert log.size > 1_500_000
    shorten(log, 50_000)
    late = Position(5_000, 0, 3)
    assert log.has_all("ann", "/", HERE, Since(late, late))
    assert heard(log, HERE, late, Position(6_000, 0, 0)) == b"b"
    assert log.rooms("ann", "/", HERE, Position(6_000, 0, 0)).rooms == {"blue"}


def test_where_rooms_alone_are_too_much_nobody_comes_back() -> None:
    log = HomeLog()
    log.add(b"1-0", [Join(f"io1-aaaaaa.{number:016}", "red") for number in range(1_000)])
    log.add(b"2-0", [Emit("/", b"a")])
    shorten(log, 30_000)
    assert log.size == 0
    log.add(b"3-0", [Emit("/", b"b")])
    assert log.size == 0
    late = Position(2, 0, 0)
    assert not log.has_all("ann", "/", HERE, Since(late, late))


def test_to_shorten_it_pauses() -> None:
    log = HomeLog()
    log.add(b"1-0", [Emit("/", b"a", to=[f"room{number}"]) for number in range(10_000)])
    log.add(b"2-0", [Join(f"io1-aaaaaa.{number:016}", "red") for number in range(10_000)])
    assert len(list(log.shorten(5_000_000))) > 15


def test_messages_that_were_sent_do_not_stay_for_ever() -> None:
    """They are shared by all who missed them. But a client that missed very much does not fill the memory by that."""
    log = log_of([Accept("ann")], [Emit("/", b"%d" % number + b"x" * 100_000) for number in range(30)])
    tracemalloc.start()
    try:
        since = Since(Position(1, 0, 0), Position(1, 0, 0))
        for message in missed(log, "ann", "/", HERE, since, PLACE):
            assert message.with_offset().ws_frames
        del message
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < MOST_MADE_BYTES + 500_000
