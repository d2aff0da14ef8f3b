"""What becomes of a fact that is not handled any more, since three times its handler did not end.

Its client must not wait for ever. An event is answered with an empty ack, a connect is refused. What cannot be begun
again without the same end is ended: a client whose restore ended its process is disconnected for good. The entry then
goes to the dead letters (`Consumer`).

Nothing of the application's is called here, not even its JSON module: that may be what ended the process.
"""

from typing import Any

import structlog

from app_node.clients.record_access import RecordAccess
from app_node.counters import DEFECT, FOREIGN_SID, SET_ASIDE, Outcome
from app_node.downlink.outbox import Outbox
from app_node.downlink.record_writer import RecordWriter
from app_node.handlers.application import INTERNAL_ERROR
from app_node.lanes.progress import EntryProgress
from app_node.payloads import decode, encode_any
from sio_cluster.protocol.errors import LeaseLost, MalformedPacket
from sio_cluster.protocol.ids import node_of
from sio_cluster.protocol.messages import (
    Ack,
    ClientConnected,
    ClientDisconnected,
    Command,
    Disconnect,
    EventReceived,
    Fact,
    Refuse,
)
from sio_cluster.protocol.socketio import encode_ack
from sio_cluster.streams.api.records import ClientRecord, Ended

log = structlog.get_logger()

_REFUSAL = encode_any(INTERNAL_ERROR.payload)
"""An io-node that has let the client in already disconnects it instead."""


class Condemned:
    """Answers in place of handlers. `deliver` is for `Consumer`."""

    def __init__(self, outbox: Outbox, writer: RecordWriter, records: RecordAccess) -> None:
        self._outbox = outbox
        self._writer = writer
        self._records = records

    def deliver(self, fact: Fact, progress: EntryProgress) -> None:
        """Takes over one fact, which `progress` counts already. Never waits."""
        progress.lane.start(self._end(fact, progress))

    async def _end(self, fact: Fact, progress: EntryProgress) -> None:
        try:
            outcome = await self._answer(fact, progress)
        except LeaseLost:
            return  # the next holder of the quarantine does it
        except Exception:  # a defect of ours must not stop the quarantine for ever
            outcome = DEFECT
            log.exception("set_aside_failed", sid=fact.sid, lane=progress.lane.behind)
        progress.end_fact(fact, outcome)

    async def _answer(self, fact: Fact, progress: EntryProgress) -> Outcome:
        io_node = node_of(fact.sid)
        if io_node is None:
            return FOREIGN_SID
        record = await self._records.load(fact.sid)
        progress.lane.require_held()
        self._log(fact, record, progress)
        match fact:
            case EventReceived(ack_id=int(ack_id)) if record is not None and not record.restoring:
                packet = encode_ack(record.connected.namespace, b"[]", 0, ack_id)
                self._outbox.put(io_node, Ack(fact.sid, packet), len(packet), progress)
            case EventReceived() if record is not None and record.restoring:
                ended = Ended(fact.sid, record.connected.generation)
                self._forget(ended, [Disconnect(fact.sid)], io_node, progress)
            case ClientConnected(generation=generation):
                refuse = Refuse(fact.sid, _REFUSAL, generation)
                self._forget(Ended(fact.sid, generation), [refuse], io_node, progress)
            case ClientDisconnected(generation=generation, keep_ms=keep_ms):
                self._forget(Ended(fact.sid, generation, keep_ms), [], io_node, progress)
        return SET_ASIDE

    def _forget(self, ended: Ended, commands: list[Command], io_node: str, progress: EntryProgress) -> None:
        """The client's record says so when these commands are in Redis. Whoever begins again before finds it."""
        inner = progress.part()
        for command in commands:
            self._outbox.put(io_node, command, 0, inner)
        inner.then(lambda: self._writer.forget(ended, progress, lambda: None))
        inner.end()

    def _log(self, fact: Fact, record: ClientRecord | None, progress: EntryProgress) -> None:
        log.error(
            "fact_set_aside",
            sid=fact.sid,
            lane=progress.lane.behind,
            namespace=_namespace(fact, record),
            event_name=_event_name(fact, record),
            id=progress.entry_id.decode(),
        )


def _event_name(fact: Fact, record: ClientRecord | None) -> Any:
    """Whose handler it was: that of the event, or the connect handler that restores a client before."""
    match fact:
        case ClientConnected():
            return "connect"
        case EventReceived() if record is None or not record.restoring:
            try:
                return decode(fact.data)[0]
            except (MalformedPacket, IndexError):
                return None
        case ClientDisconnected() if record is None or not record.restoring:
            return "disconnect"
        case _:
            return "connect (is_reconnect)"


def _namespace(fact: Fact, record: ClientRecord | None) -> str | None:
    """None where nobody knows: the client's record is gone."""
    if isinstance(fact, ClientConnected):
        return fact.namespace
    return None if record is None else record.connected.namespace
