"""Answers in place of handlers that ended their process: outbox and records are played by the test."""

from typing import Any

import pytest
import structlog
from msgspec.structs import replace

from app_node.counters import DEFECT, SET_ASIDE, Outcome
from app_node.lanes.lane import Lane
from app_node.lanes.progress import EntryProgress
from app_node.uplink.condemned import Condemned
from sio_cluster.protocol.messages import (
    Ack,
    ClientConnected,
    ClientDisconnected,
    Command,
    Disconnect,
    EventReceived,
    Fact,
    Handshake,
    Refuse,
)
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.api.records import ClientRecord, Ended

SID = "io1-aaaaaa.AAAAAAAAAAAAAAAA"
CONNECTED = ClientConnected(SID, "c", "/chat", None, Handshake("GET", "/", "", [], "10.0.0.1"), "polling")
REFUSED = Refuse(SID, b'{"message":"Internal server error"}')
EVENT = EventReceived(SID, 7, b'["pay",1]')


class Stage:
    """`said` are the commands that went out, `forgotten` the clients whose records went, after those had landed."""

    def __init__(self, record: ClientRecord | None) -> None:
        self.record = record
        self.fails = False
        self.said: list[Command] = []
        self.forgotten: list[Ended] = []
        self.outcomes: list[Outcome] = []
        self.done = False
        self._landing: list[EntryProgress] = []
        this: Any = self
        self._condemned = Condemned(this, this, this)

    async def load(self, sid: str) -> ClientRecord | None:
        if self.fails:
            raise RuntimeError("a record that cannot be read")
        return self.record

    def put(self, node: str, command: Command, size: int, progress: EntryProgress) -> None:
        assert node == "io1-aaaaaa"
        progress.begin()
        self.said.append(command)
        self._landing.append(progress)

    def forget(self, ended: Ended, progress: EntryProgress, when_forgotten: Any) -> None:
        assert not self._landing
        self.forgotten.append(ended)

    async def condemn(self, fact: Fact) -> None:
        lane = Lane(Lease(-1, "app1", 1), float("inf"), lambda: 0.0)
        progress = EntryProgress(lane, b"1-0", True, self._done, lambda _, outcome: self.outcomes.append(outcome))
        progress.begin()
        self._condemned.deliver(fact, progress)
        progress.end()
        for task in list(lane.tasks):
            await task
        while self._landing:
            self._landing.pop().end()

    def _done(self, _: EntryProgress) -> None:
        self.done = True


CLAIMED = replace(CONNECTED, generation=2)


def record(connected: ClientConnected = CONNECTED, *, accepted: bool = True, restoring: bool = False) -> ClientRecord:
    return ClientRecord(connected, None, set(), accepted, "polling", restoring)


@pytest.mark.parametrize(
    ("fact", "known", "said", "forgotten", "name"),
    [
        (EVENT, record(), [Ack(SID, b"3/chat,7[]")], [], "pay"),
        (EventReceived(SID, None, b'["pay"]'), record(), [], [], "pay"),
        (EventReceived(SID, 7, b"[\x1b"), record(), [Ack(SID, b"3/chat,7[]")], [], None),
        (EVENT, None, [], [], "pay"),
        (EVENT, record(restoring=True), [Disconnect(SID)], [Ended(SID)], "connect (is_reconnect)"),
        (CONNECTED, record(accepted=False), [REFUSED], [Ended(SID)], "connect"),
        (CLAIMED, record(CLAIMED), [replace(REFUSED, generation=2)], [Ended(SID, 2)], "connect"),
        (EVENT, record(CLAIMED, restoring=True), [Disconnect(SID)], [Ended(SID, 2)], "connect (is_reconnect)"),
        (ClientDisconnected(SID, "ping timeout", 2, 9), record(CLAIMED), [], [Ended(SID, 2, 9)], "disconnect"),
        (CONNECTED, None, [REFUSED], [Ended(SID)], "connect"),
        (ClientDisconnected(SID, "transport close"), record(), [], [Ended(SID)], "disconnect"),
        (ClientDisconnected(SID, "ping timeout"), record(restoring=True), [], [Ended(SID)], "connect (is_reconnect)"),
    ],
)
async def test_what_the_client_hears(
    fact: Fact, known: ClientRecord | None, said: list[Command], forgotten: list[Ended], name: str | None
) -> None:
    stage = Stage(known)
    with structlog.testing.capture_logs() as logs:
        await stage.condemn(fact)
    assert (stage.said, stage.forgotten, stage.outcomes) == (said, forgotten, [SET_ASIDE])
    [line] = logs
    assert (line["event"], line["event_name"], line["sid"]) == ("fact_set_aside", name, SID)
    assert line["lane"] == 0, "the lane, and not the number of its quarantine"
    assert line["namespace"] == (None if known is None and fact is EVENT else "/chat")


async def test_a_defect_stops_nobody() -> None:
    stage = Stage(record())
    stage.fails = True
    await stage.condemn(EVENT)
    assert (stage.outcomes, stage.done) == ([DEFECT], True)
