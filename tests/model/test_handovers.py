"""Which repetitions a planned handover excuses: those of what it cut short, and no others."""

from collections.abc import Iterator

import pytest
from tests.model.cluster import SimulatedCluster
from tests.model.history import ClientRecord, History
from tests.model.machine import quiet_logs
from tests.model.mutants import hands_over_without_waiting

from sio_cluster.protocol.ids import quarantine_of
from sio_cluster.protocol.messages import EventReceived

SID = "io0-aaaaaa.0000000000000000"
AGAIN = "again on .*, and nothing had failed"


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    with quiet_logs():
        yield


@pytest.mark.parametrize("seed", range(10))
def test_what_a_handover_cuts_short_is_handled_again(seed: int) -> None:
    """Three handlers of 0.9 s, one after the other: the second is under way when SHUTDOWN_MS (1.5 s) are over."""
    cluster = _stopped_amid(seed, [0.9, 0.9, 0.9])
    cluster.heal()
    cluster.finish()
    assert cluster.history.duplicates > 0
    cluster.close()


@pytest.mark.parametrize("seed", range(10))
def test_a_handover_that_waits_for_its_handlers_repeats_nothing(seed: int) -> None:
    cluster = _stopped_amid(seed, [0.3, 0.3, 0.3])
    cluster.heal()
    cluster.finish()
    assert cluster.history.duplicates == 0
    cluster.close()


@pytest.mark.parametrize("seed", range(10))
def test_a_handover_that_does_not_wait_has_no_excuse(seed: int) -> None:
    with hands_over_without_waiting():
        cluster = _stopped_amid(seed, [0.3])
        with pytest.raises(AssertionError, match=AGAIN):
            cluster.heal()
        cluster.close()


class TestOneEvent:
    """An event that two app-nodes handle, one after the other, with tokens 1 and 2."""

    @pytest.fixture
    def holder(self) -> list[tuple[str, int]]:
        return [("app1", 1)]

    @pytest.fixture
    def history(self, holder: list[tuple[str, int]]) -> History:
        history = History(lambda: 100.0, lambda _: holder[-1], serial=False)
        history.clients[SID] = ClientRecord(SID, lane=3, sent_at=[99.0, 99.0])
        self._handle(history, holder, "app1", 1)
        return history

    def test_cut_short(self, history: History, holder: list[tuple[str, int]]) -> None:
        history.cut_short(3, 1, [EventReceived(SID, 0, b"[]")])
        self._handle(history, holder, "app2", 2)
        history.check()

    def test_nothing_was_cut_short(self, history: History, holder: list[tuple[str, int]]) -> None:
        self._handle(history, holder, "app2", 2)
        with pytest.raises(AssertionError, match=AGAIN):
            history.check()

    def test_another_event_was(self, history: History, holder: list[tuple[str, int]]) -> None:
        history.cut_short(3, 1, [EventReceived(SID, 1, b"[]")])
        self._handle(history, holder, "app2", 2)
        with pytest.raises(AssertionError, match=AGAIN):
            history.check()

    def test_it_was_under_another_lease(self, history: History, holder: list[tuple[str, int]]) -> None:
        history.cut_short(quarantine_of(3), 1, [EventReceived(SID, 0, b"[]")])
        self._handle(history, holder, "app2", 2)
        with pytest.raises(AssertionError, match=AGAIN):
            history.check()

    def test_it_is_repeated_once_more(self, history: History, holder: list[tuple[str, int]]) -> None:
        history.cut_short(3, 1, [EventReceived(SID, 0, b"[]")])
        self._handle(history, holder, "app2", 2)
        self._handle(history, holder, "app3", 3)
        with pytest.raises(AssertionError, match=AGAIN):
            history.check()

    def test_where_no_handler_is_slow_none_may_be(self, history: History) -> None:
        history.is_calm = True
        history.cut_short(3, 1, [])
        with pytest.raises(AssertionError, match="was cut short"):
            history.check()

    @staticmethod
    def _handle(history: History, holder: list[tuple[str, int]], node: str, token: int) -> None:
        holder.append((node, token))
        history.connect(node, 3, SID, is_reconnect=token > 1, redelivered=False)
        history.start(node, 3, SID, 0, redelivered=token > 1)
        history.end(node, SID)


def _stopped_amid(seed: int, plans: list[float]) -> SimulatedCluster:
    """A cluster whose first app-node begins a clean stop while it handles these events of one client."""
    cluster = SimulatedCluster(seed, async_handlers=False)
    first = cluster.start_app_node()
    sid = cluster.connect()
    cluster.run(0.2)
    for plan in plans:
        cluster.event(sid, plan)
    cluster.run(0.05)
    cluster.start_app_node()
    first.stop()
    return cluster
