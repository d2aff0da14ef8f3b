"""The send queue of a session alone: what waits, what leaves in one go, and whether the client takes it."""

import pytest

from io_node.engineio.api import Bundle, Outbound
from io_node.engineio.counters import EngineCounters
from io_node.engineio.session.buffers import Buffers
from io_node.engineio.session.limits import NEVER
from io_node.engineio.session.queue import SendQueue
from io_node.engineio.wire.packets import PING

from .sessions import LIMITS, OPENING

LARGE = b"x" * 200_000
FRAMES = b"x" * 1_000


class Waiting:
    """A queue without its open packet, and what it is counted in."""

    def __init__(self, stuck: bool = False, payload_packets: int | None = None) -> None:
        self.counters = EngineCounters()
        self.buffers = Buffers(10**9, lambda: None)
        self.queue = SendQueue(OPENING, stuck, LIMITS, self.counters, self.buffers, payload_packets)
        self.queue.drop("opening")
        assert self.counters.dropped["opening"] == 0, "the open packet is no message"

    def send(self, *messages: bytes) -> None:
        for message in messages:
            self.queue.send(Outbound(message))


def bundle(*messages: bytes) -> Bundle:
    """The second message is volatile."""
    return Bundle([Outbound(message, volatile=number == 1) for number, message in enumerate(messages)])


# --- what waits


def test_the_first_message_alone_asks_for_a_flush() -> None:
    waiting = Waiting()
    assert waiting.queue.send(Outbound(b"a"))
    assert not waiting.queue.send(Outbound(b"b"))
    assert (waiting.queue.messages, waiting.queue.held_bytes) == (2, 4)
    assert waiting.queue.take_frames() == b"\x81\x024a\x81\x024b"
    assert (waiting.queue.messages, waiting.queue.held_bytes, waiting.counters.written) == (0, 0, 2)
    assert waiting.queue.send(Outbound(b"c"))


def test_a_ping_goes_first_and_is_no_message() -> None:
    waiting = Waiting()
    waiting.send(b"a")
    waiting.queue.put_first(PING)
    assert (waiting.queue.messages, waiting.queue.controls, waiting.queue.held_bytes) == (1, 1, 3)
    assert waiting.queue.take_payload() == b"2\x1e4a"
    assert waiting.counters.written == 1
    assert waiting.queue.held_bytes == 0


def test_a_queue_that_takes_nothing_counts_what_it_drops() -> None:
    waiting = Waiting()
    waiting.queue.takes = False
    assert not waiting.queue.send(Outbound(b"a"))
    assert waiting.queue.messages == 0
    assert waiting.counters.dropped == {"connection_closed": 1}


def test_a_stuck_queue_drops_what_is_volatile() -> None:
    waiting = Waiting(stuck=True)
    assert not waiting.queue.send(Outbound(b"a", volatile=True))
    assert waiting.counters.dropped == {"volatile": 1}
    waiting.queue.free()
    assert waiting.queue.send(Outbound(b"a", volatile=True))


def test_messages_that_go_together_are_queued_as_each_by_itself() -> None:
    waiting = Waiting()
    assert waiting.queue.send(bundle(b"a", b"b", b"c"))
    assert not waiting.queue.send(bundle(b"d", b"e"))
    assert (waiting.queue.messages, waiting.queue.held_bytes) == (5, 10)
    assert waiting.queue.take_frames() == b"\x81\x024a\x81\x024b\x81\x024c\x81\x024d\x81\x024e"
    assert (waiting.queue.messages, waiting.queue.held_bytes, waiting.counters.written) == (0, 0, 5)
    assert waiting.buffers.waiting_bytes == 0


def test_of_messages_that_go_together_a_stuck_queue_drops_what_is_volatile() -> None:
    alone, together = Waiting(stuck=True), Waiting(stuck=True)
    sent = [alone.queue.send(message) for message in bundle(b"a", b"b", b"c").messages]
    assert together.queue.send(bundle(b"a", b"b", b"c")) == any(sent)
    for waiting in (alone, together):
        assert waiting.queue.messages == 2
        assert waiting.counters.dropped == {"volatile": 1}
    assert together.buffers.waiting_bytes == alone.buffers.waiting_bytes > 0
    together.queue.free()
    assert together.queue.take_frames() == b"\x81\x024a\x81\x024c"
    assert together.buffers.waiting_bytes == 0


def test_of_messages_that_go_together_each_is_dropped_by_a_queue_that_takes_nothing() -> None:
    waiting = Waiting()
    waiting.queue.takes = False
    assert not waiting.queue.send(bundle(b"a", b"b", b"c"))
    assert waiting.queue.messages == 0
    assert waiting.counters.dropped == {"connection_closed": 3}


def test_clients_with_the_same_messages_get_the_same_bytes() -> None:
    """In a burst to a room they are joined once, and not for each member."""
    one, two, other = Waiting(), Waiting(), Waiting()
    said = bundle(b"a", b"b")
    for waiting in (one, two, other):
        waiting.queue.send(said)
    other.send(b"c")
    frames = one.queue.take_frames()
    assert two.queue.take_frames() is frames
    assert other.queue.take_frames() == frames + b"\x81\x024c"
    assert two.counters.websocket_sent_bytes == len(frames)


def test_what_is_dropped_is_counted_by_its_reason() -> None:
    waiting = Waiting(stuck=True)
    waiting.send(b"a", b"b")
    waiting.queue.put_first(PING)
    waiting.queue.drop("slow_consumer")
    assert waiting.counters.dropped == {"slow_consumer": 2}
    assert waiting.queue.waiting_bytes == waiting.buffers.waiting_bytes == 0


# --- what leaves in one go


def test_a_slice_holds_whole_messages_and_one_at_least() -> None:
    waiting = Waiting()
    waiting.send(LARGE, LARGE * 2, b"a", b"b")
    sizes = []
    while waiting.queue.items:
        sizes.append(len(waiting.queue.take_slice()))
    assert sizes == [200_011, 400_011, 8]
    assert waiting.counters.written == 4
    assert waiting.queue.held_bytes == 0


def test_a_payload_ends_at_its_bytes() -> None:
    waiting = Waiting()
    waiting.send(LARGE, LARGE, b"a")
    assert waiting.queue.take_payload() == b"4" + LARGE
    assert waiting.queue.stuck
    assert waiting.queue.take_payload() == b"4" + LARGE + b"\x1e4a"


def test_a_message_larger_than_a_payload_goes_alone() -> None:
    waiting = Waiting()
    waiting.send(LARGE * 2, b"a")
    assert waiting.queue.take_payload() == b"4" + LARGE * 2


def test_a_payload_ends_at_its_packets() -> None:
    waiting = Waiting(payload_packets=3)
    waiting.send(b"a", b"b", b"c", b"d")
    assert waiting.queue.take_payload() == b"4a\x1e4b\x1e4c"
    assert waiting.queue.take_payload() == b"4d"


# --- what is counted in the buffers of the node


def test_what_leaves_at_once_is_not_counted() -> None:
    waiting = Waiting()
    waiting.send(b"a")
    assert waiting.buffers.waiting_bytes == 0
    waiting.queue.block()
    held = waiting.buffers.waiting_bytes
    assert held > 2
    waiting.send(b"b")
    assert waiting.buffers.waiting_bytes == 2 * held
    waiting.queue.free()
    waiting.queue.take_frames()
    assert waiting.buffers.waiting_bytes == 0


def test_what_is_in_flight_counts_until_the_transport_has_taken_it() -> None:
    waiting = Waiting()
    waiting.queue.congested(FRAMES, 900, 0.0)
    assert waiting.queue.stuck
    assert waiting.queue.waiting_bytes == 900
    assert waiting.buffers.waiting_bytes > 1_000
    waiting.queue.emptied()
    assert waiting.queue.waiting_bytes == waiting.buffers.waiting_bytes == 0


def test_what_waits_elsewhere_counts_too() -> None:
    waiting = Waiting()
    message = Outbound(b"later")
    waiting.queue.keep(message)
    assert waiting.queue.waiting_bytes == message.size
    assert waiting.buffers.waiting_bytes > message.size
    waiting.queue.let_go(message)
    assert waiting.queue.waiting_bytes == waiting.buffers.waiting_bytes == 0


@pytest.mark.parametrize("stuck", [False, True])
def test_at_the_end_nothing_is_left(stuck: bool) -> None:
    waiting = Waiting(stuck)
    waiting.send(b"a", b"b")
    waiting.queue.congested(FRAMES, 900, 0.0)
    waiting.send(b"c")
    waiting.queue.end()
    assert waiting.queue.waiting_bytes == waiting.buffers.waiting_bytes == waiting.queue.messages == 0
    assert waiting.queue.look_at == NEVER
    assert not waiting.queue.send(Outbound(b"d"))
    assert waiting.counters.dropped == {"connection_closed": 4}


# --- whether the client takes something


def test_nobody_looks_while_nothing_is_stuck() -> None:
    waiting = Waiting()
    waiting.send(b"a")
    assert not waiting.queue.unwatched
    waiting.queue.block()
    assert waiting.queue.unwatched
    waiting.queue.watch(0.0)
    assert not waiting.queue.unwatched
    waiting.queue.free()
    assert waiting.queue.look_at == NEVER


def test_a_client_that_takes_nothing_has_stalled_at_the_fourth_look() -> None:
    queue = Waiting().queue
    queue.congested(FRAMES, 900, 0.0)
    looks: list[tuple[float, bool]] = []
    while not looks or not looks[-1][1]:
        at = queue.look_at
        looks.append((at, queue.look(at)))
    assert looks == [(5.0, False), (10.0, False), (15.0, False), (20.0, True)]


def test_each_byte_that_is_taken_begins_the_looks_anew() -> None:
    queue = Waiting().queue
    queue.congested(FRAMES, 900, 0.0)
    for at in (5.0, 10.0, 15.0):
        assert not queue.look(at)
    assert not queue.left(900, 16.0)
    assert queue.look_at == 20.0
    assert queue.left(899, 17.0)
    assert queue.look_at == 22.0
    assert [queue.look(at) for at in (22.0, 27.0, 32.0, 37.0)] == [False, False, False, True]


# --- bytes that were sent


def test_bytes_are_counted_as_they_leave() -> None:
    socket, polls = Waiting(), Waiting(stuck=True)
    socket.send(b"a", b"b")
    assert socket.counters.websocket_sent_bytes == 0, "they wait"
    taken = len(socket.queue.take_frames())
    socket.send(LARGE, LARGE)
    taken += len(socket.queue.take_slice())
    assert socket.counters.websocket_sent_bytes == taken < 2 * len(LARGE)
    polls.send("ü".encode())
    assert polls.counters.polling_sent_bytes == 0
    assert polls.queue.take_payload() == "4ü".encode()
    assert (polls.counters.polling_sent_bytes, polls.counters.websocket_sent_bytes) == (3, 0)
