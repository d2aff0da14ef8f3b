"""What waits for all clients of a node, counted."""

from io_node.engineio.api import Outbound
from io_node.engineio.session.buffers import Buffers


def small(limit_bytes: int = 10_000) -> tuple[Buffers, list[int]]:
    """Buffers, and what waited whenever they were full."""
    told: list[int] = []
    buffers = Buffers(limit_bytes, lambda: told.append(buffers.waiting_bytes))
    return buffers, told


def test_a_message_that_waits_for_many_counts_once() -> None:
    buffers, told = small(1_000_000)
    message = Outbound(b"x" * 500_000)
    for _ in range(10_000):
        buffers.hold(message, message.size)
    assert 500_000 < buffers.waiting_bytes < 700_000
    assert told == []
    for _ in range(10_000):
        buffers.release(message, message.size)
    assert buffers.waiting_bytes == 0


def test_tiny_messages_weigh_what_they_take() -> None:
    buffers, told = small(1_000_000)
    messages = [Outbound(b"2[]") for _ in range(10_000)]
    for message in messages:
        buffers.hold(message, message.size)
    assert buffers.waiting_bytes > 1_000_000
    assert len(told) == 1


def test_it_says_once_that_it_is_full() -> None:
    buffers, told = small()
    messages = [Outbound(b"x" * 3_000) for _ in range(6)]
    for message in messages:
        buffers.hold(message, message.size)
    assert len(told) == 1
    assert not buffers.has_room
    for message in messages[:4]:
        buffers.release(message, message.size)
    buffers.relieved()
    assert buffers.has_room
    buffers.hold(messages[0], messages[0].size)
    assert len(told) == 1
    buffers.hold(messages[1], messages[1].size)
    assert len(told) == 2


def test_one_message_larger_than_the_bound_is_let_through() -> None:
    buffers, told = small()
    large = Outbound(b"x" * 50_000)
    buffers.hold(large, large.size)
    buffers.hold(large, large.size)
    assert told == []
    assert buffers.has_room
    other = Outbound(b"y" * 50_000)
    buffers.hold(other, other.size)
    assert len(told) == 1
    buffers.release(other, other.size)
    assert buffers.has_room
    buffers.release(large, large.size)
    buffers.release(large, large.size)
    assert buffers.waiting_bytes == 0
