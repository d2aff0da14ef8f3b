"""What is said of the rooms of an inbox entry."""

import pytest

from app_node.downlink.concerned import concerned
from sio_cluster.protocol.messages import (
    Accept,
    Ack,
    AckRequest,
    CloseRoom,
    Command,
    Disconnect,
    Emit,
    Evict,
    Join,
    JoinMany,
    Leave,
    LeaveMany,
    Refuse,
    Room,
)
from sio_cluster.streams.api.interest import MOST_ROOMS

HOME, OTHER = "io1-aaaaaa", "io2-bbbbbb"
SID, ELSEWHERE = f"{HOME}.AAAAAAAAAAAAAAAA", f"{OTHER}.BBBBBBBBBBBBBBBB"


def emit(*to: Room) -> Emit:
    return Emit("/", b'2["x"]', to=list(to))


@pytest.mark.parametrize(
    ("commands", "rooms"),
    [
        ([emit("a", 7), emit("b"), emit("a")], {"a", 7, "b"}),
        ([emit()], set()),
        ([CloseRoom("/", "a"), emit("b")], {"a", "b"}),
        ([emit(ELSEWHERE, "a")], {ELSEWHERE, "a"}),
        ([emit(*range(MOST_ROOMS))], set(range(MOST_ROOMS))),
    ],
)
def test_emits_to_rooms_are_for_them_alone(commands: list[Command], rooms: set[Room]) -> None:
    assert concerned(HOME, commands) == (rooms, set())


@pytest.mark.parametrize(
    "command",
    [
        Emit("/", b'2["x"]'),
        emit("a", SID),
        Emit("/", b'21["x"]', to=["a"], ack=AckRequest("app1-cccccc", 1)),
        emit(*range(MOST_ROOMS + 1)),
        Ack(SID, b"31[]"),
        Accept(SID),
        Refuse(SID, b"{}"),
        Leave(SID, "a"),
        LeaveMany([SID], ["a"]),
        Disconnect(SID),
        Evict(SID, 1),
    ],
    ids=lambda command: type(command).__name__,
)
def test_everything_else_is_for_the_home(command: Command) -> None:
    assert concerned(HOME, [emit("b"), command, emit("c")]) == (None, set())


def test_rooms_that_clients_enter() -> None:
    commands: list[Command] = [Join(SID, "a"), emit("x"), JoinMany([SID], ["b", 7]), Leave(SID, "c"), Join(SID, "a")]
    assert concerned(HOME, commands) == (None, {"a", "b", 7})
