"""Who is not read, and for how long."""

from io_node.backpressure import Backpressure, Paused, size_of
from sio_cluster.protocol.messages import (
    AckReceived,
    ClientConnected,
    ClientDisconnected,
    ClientUpgraded,
    EventReceived,
    Handshake,
)


class FakeSender:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


def test_one_reason() -> None:
    backpressure, sender = Backpressure(), FakeSender()
    full: Paused = {}
    backpressure.pause(full, sender)
    backpressure.pause(full, sender)
    assert sender.calls == ["pause"]
    assert list(full) == [sender]
    assert (len(backpressure), backpressure.pauses) == (1, 1)
    backpressure.release_all(full)
    assert sender.calls == ["pause", "resume"]
    assert full == {}
    assert (len(backpressure), backpressure.pauses) == (0, 1)


def test_who_is_paused_for_two_reasons_waits_for_both_to_go() -> None:
    backpressure, sender = Backpressure(), FakeSender()
    full: Paused = {}
    crowded: Paused = {}
    backpressure.pause(full, sender)
    backpressure.pause(crowded, sender)
    assert sender.calls == ["pause"]
    backpressure.release_all(full)
    assert sender.calls == ["pause"]
    assert len(backpressure) == 1
    backpressure.release_all(crowded)
    assert sender.calls == ["pause", "resume"]
    assert backpressure.pauses == 1


def test_some_are_released_and_others_are_not() -> None:
    backpressure, first, second = Backpressure(), FakeSender(), FakeSender()
    full: Paused = {}
    for sender in (first, second):
        backpressure.pause(full, sender)
    backpressure.release(full, [first])
    assert first.calls == ["pause", "resume"]
    assert second.calls == ["pause"]
    assert list(full) == [second]


def test_a_reason_that_equals_another_is_not_taken_for_it() -> None:
    backpressure, sender, other = Backpressure(), FakeSender(), FakeSender()
    full: Paused = {}
    crowded: Paused = {}
    for reason in (full, crowded):
        for who in (sender, other):
            backpressure.pause(reason, who)
    assert full == crowded
    backpressure.release(crowded, [sender])
    backpressure.release(full, [other])
    assert (sender.calls, other.calls) == (["pause"], ["pause"])
    backpressure.release_all(full)
    backpressure.release_all(crowded)
    assert (sender.calls, other.calls) == (["pause", "resume"], ["pause", "resume"])


def test_who_has_closed_is_not_resumed() -> None:
    backpressure, sender = Backpressure(), FakeSender()
    full: Paused = {}
    backpressure.pause(full, sender)
    backpressure.forget(sender)
    backpressure.forget(sender)
    assert full == {}
    backpressure.release_all(full)
    assert sender.calls == ["pause"]
    assert len(backpressure) == 0


def test_a_fact_weighs_at_least_its_payload() -> None:
    handshake = Handshake("GET", "/socket.io/", "EIO=4", [("host", "x" * 3_000)], "127.0.0.1")
    assert size_of(EventReceived("s", None, b"x" * 5_000)) > 5_000
    assert size_of(AckReceived("s", 1, b"[]", [b"x" * 7_000])) > 7_000
    assert size_of(ClientConnected("s", "conn", "/", None, handshake, "websocket")) > 3_000
    assert size_of(ClientUpgraded("s", "websocket")) > 0
    assert size_of(ClientDisconnected("s", "gone")) > 0
