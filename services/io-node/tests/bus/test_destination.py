"""One stream's queue: a batch stays the same until Redis has it."""

from io_node.backpressure import size_of
from io_node.bus.destination import Destination

from .fakes import NODE, event


def put(destination: Destination, number: int) -> None:
    fact = event(number)
    destination.facts.append(fact)
    destination.waiting_bytes += size_of(fact)


def test_a_batch_is_tried_again_as_it_is() -> None:
    lane = Destination("lane", None, 1_000)
    put(lane, 1)
    batch = lane.next_batch(NODE, 1)
    put(lane, 2)
    assert lane.next_batch(NODE, 2) is batch
    assert (batch.seq, lane.waiting_facts) == (1, 2)
    assert not lane.settle(batch)
    assert (lane.waiting_facts, lane.waiting_bytes) == (1, size_of(event(2)))
    assert lane.next_batch(NODE, 2).seq == 2


def test_a_full_stream_is_tried_later_and_later() -> None:
    lane = Destination("lane", None, 1_000)
    put(lane, 1)
    batch = lane.next_batch(NODE, 1)
    waits = []
    for _ in range(10):
        lane.put_off(100.0)
        waits.append(lane.retry_at - 100.0)
    assert lane.full
    assert 0.025 <= waits[0] <= 0.05
    assert 1.0 <= waits[-1] <= 2.0
    assert lane.settle(batch)
    assert not lane.full
    lane.put_off(100.0)
    assert lane.retry_at - 100.0 <= 0.051


def test_what_is_dropped_is_counted() -> None:
    inbox = Destination("inbox", "app1-bbbbbb", 1_000)
    for number in range(3):
        put(inbox, number)
    inbox.next_batch(NODE, 1)
    put(inbox, 3)
    assert inbox.drop() == 4
    assert (inbox.waiting_facts, inbox.waiting_bytes) == (0, 0)
