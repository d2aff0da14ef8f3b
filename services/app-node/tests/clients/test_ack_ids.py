"""The ids under which clients are asked for answers."""

from itertools import islice

import pytest

from app_node.clients import ack_ids as module
from app_node.clients.ack_ids import ack_ids
from sio_cluster.streams.api.registry import EPOCHS

COUNTERS = 1_000


@pytest.fixture
def _few_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """An app-node has so many ids, and not a million."""
    monkeypatch.setattr(module, "COUNTERS", COUNTERS)


def test_every_id_fits_into_32_bits_with_a_sign() -> None:
    """The clients in Java and Rust keep it so."""
    *_, last = islice(ack_ids(EPOCHS - 1, lambda ack_id: False), module.COUNTERS)
    assert last == 2**31 - 1


@pytest.mark.usefixtures("_few_ids")
def test_ids_of_two_epochs_differ() -> None:
    ids = [set(islice(ack_ids(epoch, lambda ack_id: False), COUNTERS)) for epoch in (6, 7)]
    assert len(ids[0] | ids[1]) == 2 * COUNTERS


@pytest.mark.usefixtures("_few_ids")
def test_an_id_comes_again_when_all_were_given_but_not_while_it_waits() -> None:
    waiting = {7 * COUNTERS, 7 * COUNTERS + 2}
    ids = ack_ids(7, waiting.__contains__)
    assert list(islice(ids, 2)) == [7 * COUNTERS + 1, 7 * COUNTERS + 3]
    again = islice(ids, COUNTERS - 4, COUNTERS - 2)
    waiting.remove(7 * COUNTERS)
    assert list(again) == [7 * COUNTERS, 7 * COUNTERS + 1]
