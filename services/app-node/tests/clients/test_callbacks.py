"""Which callbacks wait, and for how long."""

import pytest

from app_node.clients import callbacks as module
from app_node.clients.callbacks import MAX_CALLS, ROOM_S, Callbacks
from app_node.counters import Counters
from sio_cluster.protocol.errors import TooManyCalls

ANN, BOB = "io1-aaaaaa.0000000000000001", "io1-aaaaaa.0000000000000002"


class Stage:
    def __init__(self) -> None:
        self.now = 0.0
        self.counters = Counters()
        self.callbacks = Callbacks(self.counters, lambda: self.now)
        self.callbacks.open(1)


@pytest.fixture
def stage() -> Stage:
    return Stage()


def one(*args: object) -> None:
    """A callback."""


def other(*args: object) -> None:
    """Another callback."""


def test_one_client_answers_once(stage: Stage) -> None:
    asked = stage.callbacks.ask(one, ANN)
    assert stage.callbacks.answer(BOB, asked) is None
    assert stage.callbacks.answer(ANN, asked) is one
    assert stage.callbacks.answer(ANN, asked) is None
    assert len(stage.callbacks) == 0


def test_the_members_of_a_room_answer_for_a_while(stage: Stage) -> None:
    asked = stage.callbacks.ask(one, None)
    stage.now = ROOM_S - 1
    assert stage.callbacks.answer(ANN, asked) is one
    assert stage.callbacks.answer(BOB, asked) is one
    stage.now = ROOM_S
    assert stage.callbacks.answer(BOB, asked) is None
    later = stage.callbacks.ask(other, None)
    assert len(stage.callbacks) == 1
    assert stage.callbacks.answer(BOB, later) is other


def test_callbacks_of_rooms_push_out_only_each_other(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    monkeypatch.setattr(module, "MAX_WAITING_ROOMS", 2)
    call = stage.callbacks.ask(one, ANN)
    rooms = [stage.callbacks.ask(other, None) for _ in range(10)]
    assert stage.counters.callbacks_given_up == 8
    assert [stage.callbacks.answer(BOB, asked) for asked in rooms[-3:]] == [None, other, other]
    clients = [stage.callbacks.ask(one, BOB) for _ in range(2)]
    assert stage.counters.callbacks_given_up == 8
    assert stage.callbacks.answer(ANN, call) is one
    assert [stage.callbacks.answer(BOB, asked) for asked in clients] == [one, one]


@pytest.mark.parametrize("sid", [ANN, None])
def test_no_emits_push_out_a_call(stage: Stage, monkeypatch: pytest.MonkeyPatch, sid: str | None) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 2)
    monkeypatch.setattr(module, "MAX_WAITING_ROOMS", 2)
    call = stage.callbacks.ask(one, sid, is_call=True)
    for recipient in (ANN, BOB, None):
        for _ in range(5):
            stage.callbacks.ask(other, recipient)
    assert stage.counters.callbacks_given_up == 11
    assert len(stage.callbacks) == 5
    assert stage.callbacks.answer(ANN, call) is one
    assert stage.callbacks.answer(ANN, call) is None
    assert len(stage.callbacks) == 4


def test_one_call_too_many_of_a_client_is_refused_and_the_others_stay(stage: Stage) -> None:
    asked = [stage.callbacks.ask(one, ANN, is_call=True) for _ in range(MAX_CALLS)]
    with pytest.raises(TooManyCalls):
        stage.callbacks.ask(other, ANN, is_call=True)
    assert stage.counters.calls_refused == 1
    stage.callbacks.ask(other, ANN)  # nobody waits for it
    stage.callbacks.ask(other, BOB, is_call=True)
    assert stage.callbacks.answer(ANN, asked[0]) is one
    stage.callbacks.forget(asked[1])
    for _ in range(2):
        stage.callbacks.ask(one, ANN, is_call=True)
    with pytest.raises(TooManyCalls):
        stage.callbacks.ask(one, ANN, is_call=True)
    stage.callbacks.lost(ANN)
    stage.callbacks.ask(one, ANN, is_call=True)


def test_what_nobody_waits_for_is_forgotten(stage: Stage) -> None:
    asked, room = stage.callbacks.ask(one, ANN), stage.callbacks.ask(one, None)
    stage.callbacks.forget(asked)
    stage.callbacks.forget(asked)
    stage.callbacks.forget(room)
    assert len(stage.callbacks) == 0
    assert stage.counters.acks_missed == 0


def test_what_cannot_be_answered_is_forgotten_and_counted(stage: Stage) -> None:
    told: list[str] = []
    call = stage.callbacks.ask(one, ANN, is_call=True, on_missed=lambda: told.append("call"))
    lost = stage.callbacks.ask(one, ANN, is_call=True, on_missed=lambda: told.append("lost"))
    emit = stage.callbacks.ask(one, ANN)
    stage.callbacks.ask(one, ANN)
    of_bob, room = stage.callbacks.ask(one, BOB), stage.callbacks.ask(one, None)
    to_many = stage.callbacks.ask(one, None, is_call=True, on_missed=lambda: told.append("many"))
    for sid, ack_id in ((ANN, call), (ANN, call), (ANN, emit), (ANN, of_bob), (ANN, room), (ANN, to_many), (ANN, 999)):
        stage.callbacks.missed(sid, ack_id)
    assert told == ["call"]
    assert stage.counters.acks_missed == 2
    assert stage.callbacks.answer(ANN, call) is None
    stage.callbacks.lost(ANN)
    assert told == ["call", "lost"]
    assert stage.counters.acks_missed == 4
    assert not stage.callbacks.waits(lost)
    assert stage.callbacks.clients == [BOB]
    assert len(stage.callbacks) == 3


def test_whether_it_was_asked_on_an_older_connection(stage: Stage) -> None:
    asked = stage.callbacks.ask(one, ANN, generation=1)
    assert not stage.callbacks.is_older(asked, None)
    assert not stage.callbacks.is_older(asked, 1)
    assert stage.callbacks.is_older(asked, 2)
    unknown = stage.callbacks.ask(one, ANN)
    assert [stage.callbacks.is_older(unknown, let_in) for let_in in (None, 4, 4, 5)] == [False, False, False, True]
    stage.callbacks.forget(asked)
    assert not stage.callbacks.is_older(asked, 2)


def test_an_id_that_is_reserved_is_given_to_nobody_else(stage: Stage) -> None:
    ack_id = stage.callbacks.reserve()
    assert stage.callbacks.waits(ack_id)
    assert stage.callbacks.answer(ANN, ack_id) is None
    stage.callbacks.release(ack_id)
    stage.callbacks.release(ack_id)
    assert not stage.callbacks.waits(ack_id)
