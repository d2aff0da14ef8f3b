"""Marks against clients that listen all the time: whoever is said to have missed nothing has not."""

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sio_cluster.protocol.messages import Accept, AckRequest, CloseRoom, Command, Emit, Join, Leave, Room
from sio_cluster.protocol.recovery import START, Position
from sio_cluster.streams.api.quiet import (
    FLOOR,
    MOST_SKIPPED,
    UP_TO,
    Gone,
    Marks,
    marks_of_client,
    names_of,
    start_again,
)

ANN, BOB = "io1-aaaaaa.aaaaaaaaaaaaaaaa", "io1-aaaaaa.bbbbbbbbbbbbbbbb"
SIDS = (ANN, BOB)
ROOMS: tuple[Room, ...] = ("red", "blue", 7, ANN)


@dataclass
class Listener:
    """One client that is always there."""

    sid: str
    rooms: set[Room] = field(default_factory=set)
    heard: list[Position] = field(default_factory=list)
    accepted: Position | None = None

    def take(self, place: Position, command: Command) -> Room | None:
        """The room that it has left by that."""
        match command:
            case Accept(sid) if sid == self.sid:
                self.accepted = self.accepted or place
            case Join(sid, room) if sid == self.sid != room:
                self.rooms.add(room)
            case Leave(room=room, sid=self.sid) | CloseRoom("/", room) if room in self.rooms:
                self.rooms.discard(room)
                return room
            case Emit("/", to=to, skip=skip, ack=None, volatile=False) if self.sid not in skip:
                mine = {self.sid, *self.rooms}
                if (to is None or not mine.isdisjoint(to)) and mine.isdisjoint(command.except_rooms):
                    self.heard.append(place)
            case _:
                pass
        return None


sids, rooms = st.sampled_from(SIDS), st.sampled_from(ROOMS)
emits = st.builds(
    Emit,
    st.sampled_from(["/", "/", "/other"]),
    st.just(b"2[1]"),
    to=st.none() | st.lists(rooms, min_size=1, max_size=2),
    skip=st.lists(sids, max_size=1),
    ack=st.sampled_from([None, None, AckRequest("app1-aaaaaa", 1)]),
    volatile=st.sampled_from([False, False, True]),
    except_rooms=st.just([]) | st.lists(st.sampled_from(ROOMS[:3]), max_size=2),
)
commands: st.SearchStrategy[Command] = st.one_of(
    emits,
    st.builds(Join, sids, rooms),
    st.builds(Leave, sids, rooms),
    st.builds(CloseRoom, st.just("/"), rooms),
    st.builds(Accept, sids),
)
stretches = st.lists(st.lists(st.lists(commands, max_size=4), max_size=3), max_size=5)


@pytest.mark.slow
@settings(max_examples=settings().max_examples ** 2 // 25)  # 25, or 400 in CI
@given(stretches, sids, st.data())
def test_nobody_who_missed_something_is_let_through(
    stretches: list[list[list[Command]]], sid: str, data: st.DataObject
) -> None:
    listeners = [Listener(other) for other in SIDS]
    me = listeners[SIDS.index(sid)]
    known: dict[bytes, bytes] = {}
    places = []
    ms = 0
    for stretch in stretches:
        gone = Gone()
        for entry in stretch:
            ms += 1
            gone.add(b"%d-0" % ms, entry)
            for number, command in enumerate(entry):
                places.append(Position(ms, 0, number))
                for listener in listeners:
                    room = listener.take(places[-1], command)
                    if room is not None:
                        gone.left(listener.sid, room)
        known |= gone.marks({name: known[name] for name in gone.names() if name in known}) | {UP_TO: b"%d-0" % ms}
    names = names_of(sid, "/", me.rooms)
    marks = Marks(sid, {name: known[name] for name in names if name in known})
    offset = data.draw(st.sampled_from([None, START, *places]))
    reached = marks.reached(offset, b"%d-0" % ms)
    if reached is not None:
        assert reached == max(offset or START, me.accepted or START)
        assert [place for place in me.heard if place > reached] == []


def marks_of(sid: str, *entries: list[Command], rooms: set[Room] | None = None) -> Marks:
    gone = Gone()
    for ms, entry in enumerate(entries, 1):
        gone.add(b"%d-0" % ms, entry)
    known = gone.marks({}) | {UP_TO: b"%d-0" % len(entries)}
    return Marks(sid, {name: known[name] for name in names_of(sid, "/", rooms or set()) if name in known})


@pytest.mark.parametrize(
    ("later", "missed"),
    [
        (Emit("/", b"2[1]"), True),
        (Emit("/", b"2[1]", to=["red"]), True),
        (Emit("/", b"2[1]", to=["blue", ANN]), True),
        (Emit("/", b"2[1]", to=["blue"]), False),
        (Emit("/", b"2[1]", to=["red"], skip=[ANN]), False),
        (Emit("/", b"2[1]", skip=[BOB]), True),
        (Emit("/", b"2[1]", volatile=True), False),
        (Emit("/", b"2[1]", ack=AckRequest("app1-aaaaaa", 1)), False),
        (Emit("/other", b"2[1]"), False),
        (Join(ANN, "blue"), False),
    ],
)
def test_what_was_said_since_its_last_event(later: Command, missed: bool) -> None:
    first: list[Command] = [Accept(ANN), Emit("/", b"2[0]", to=["red"])]
    marks = marks_of(ANN, first, [later], rooms={"red"})
    last = Position(1, 0, 1)
    assert marks.reached(last, b"2-0") == (None if missed else last)
    assert marks.reached(Position(2, 0, 0), b"2-0") == Position(2, 0, 0)


def test_who_speaks_is_skipped_again_and_again() -> None:
    """The usual way to speak in a room: all but the speaker hear it."""
    said = Emit("/", b"2[1]", to=["red"], skip=[ANN])
    marks = marks_of(ANN, [Emit("/", b"2[0]", to=["red"])], [said], [said], rooms={"red"})
    assert marks.reached(Position(1, 0, 0), b"3-0") == Position(1, 0, 0)
    others = marks_of(BOB, [Emit("/", b"2[0]", to=["red"])], [said], [said], rooms={"red"})
    assert others.reached(Position(1, 0, 0), b"3-0") is None


def test_who_left_a_room_was_in_it_before() -> None:
    """What was said there before it left, it must have."""
    first, second = Gone(), Gone()
    first.add(b"1-0", [Accept(ANN), Emit("/", b"2[0]", to=["red"]), Emit("/", b"2[0]", to=["red"], skip=[ANN])])
    second.left(ANN, "red")
    known = first.marks({})
    known |= second.marks(known) | {UP_TO: b"2-0"}
    marks = Marks(ANN, {name: known[name] for name in names_of(ANN, "/", set()) if name in known})
    assert marks.reached(Position(1, 0, 0), b"2-0") is None
    assert marks.reached(Position(1, 0, 1), b"2-0") == Position(1, 0, 1)


def test_who_has_no_event_yet() -> None:
    marks = marks_of(ANN, [Emit("/", b"2[0]")], [Accept(ANN)], [Accept(ANN)])
    assert marks.reached(None, b"3-0") == Position(2, 0, 0)
    assert marks_of(ANN, [Accept(ANN), Emit("/", b"2[0]")]).reached(None, b"1-0") is None
    assert marks_of(ANN, [Emit("/", b"2[0]")]).reached(None, b"1-0") is None


def test_an_offset_of_a_former_session() -> None:
    """A client keeps its offset. What was said between that event and its new session was not for it."""
    marks = marks_of(ANN, [Emit("/", b"2[0]")], [Emit("/", b"2[0]", to=["red"])], [Accept(ANN)], rooms={"red"})
    former = Position(0, 5, 0)
    assert marks.reached(former, b"3-0") == Position(3, 0, 0)
    assert marks.reached(former, b"3-0", waited=Position(2, 0, 0)) == Position(2, 0, 0)
    assert marks.reached(None, b"3-0", waited=Position(2, 0, 0)) == Position(2, 0, 0)
    later = marks_of(ANN, [Emit("/", b"2[0]")], [Accept(ANN), Emit("/", b"2[0]")])
    assert later.reached(former, b"2-0") is None


def test_what_was_said_while_it_waited() -> None:
    """It came behind CONNECT. A client that has no offset from there on does not have it."""
    marks = marks_of(ANN, [Emit("/", b"2[0]")], [Emit("/", b"2[0]", to=[ANN])], [Accept(ANN)])
    assert marks.reached(None, b"3-0", waited=Position(1, 0, 0)) is None
    assert marks.reached(Position(2, 0, 0), b"3-0", waited=Position(1, 0, 0)) == Position(2, 0, 0)


def test_the_accept_of_a_later_connection_says_nothing() -> None:
    """Its client may have lost that connection before it had all that it missed."""
    marks = marks_of(ANN, [Emit("/", b"2[0]")], [Accept(ANN, 1)])
    assert marks.reached(None, b"2-0") is None
    assert marks.reached(Position(0, 5, 0), b"2-0") is None


def test_marks_that_do_not_go_as_far_as_the_horizon_say_nothing() -> None:
    marks = marks_of(ANN, [Accept(ANN)])
    assert marks.reached(Position(1, 0, 1), b"2-0") is None
    assert Marks(ANN, {}).reached(Position(1, 0, 1), b"1-0") is None


def test_too_many_marks_are_given_up() -> None:
    marks = Marks(ANN, start_again(b"7-0"))
    assert set(start_again(b"7-0")) == {UP_TO, FLOOR}
    assert marks.reached(Position(7, 0, 3), b"7-0") is None
    assert marks.reached(Position(8, 0, 0), b"7-0") == Position(8, 0, 0)


def test_clients_that_are_gone_leave_no_marks() -> None:
    gone = Gone()
    gone.add(b"1-0", [Accept(ANN), Accept(BOB), Emit("/", b"2[1]", to=[ANN]), Emit("/", b"2[1]", to=[BOB, "red"])])
    gone.left(ANN, "red")
    is_bob: Callable[[str], bool] = BOB.__eq__
    gone.keep_only(is_bob)
    assert set(gone.marks({})) == {*marks_of_client(BOB), b'room:"red"'}


def test_a_mark_does_not_grow_with_those_that_were_skipped() -> None:
    """There may be 100,000 marks, each of another room."""
    sids = [f"io1-aaaaaa.{number:016}" for number in range(10_000)]
    few, many = Gone(), Gone()
    few.add(b"5-0", [Emit("/", b"", to=["red"], skip=[ANN, *sids[: MOST_SKIPPED - 1]])])
    many.add(b"5-0", [Emit("/", b"", to=["red"], skip=[ANN, *sids])])
    sizes = [len(gone.marks({})[b'room:"red"']) for gone in (few, many)]
    assert sizes[1] < 100 < sizes[0] < 5_000
    before = Position(4, 0, 0)
    reached = [Marks(ANN, {UP_TO: b"5-0", **gone.marks({})}).reached(before, b"5-0") for gone in (few, many)]
    assert reached == [before, None], "on the safe side"
