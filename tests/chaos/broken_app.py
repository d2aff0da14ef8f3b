"""Builds that are broken by intent: one message in a hundred or so is dropped, doubled or swapped with the next.

`CHAOS_BROKEN` names the defect. The checker has to find it, in its column; else it proves nothing about the build that
is not broken. Each defect sits in the app-node's own parts, below the handlers and above Redis.

    CHAOS_BROKEN=drop-event app-node tests/chaos/broken_app.py:sio
"""

import asyncio
import itertools
import os
from collections.abc import Callable
from typing import Any

from app import sio as sio  # type: ignore[import-not-found]  # app-node puts this folder on the path

from app_node.counters import EVENT_HANDLED
from app_node.downlink.batch import Batch
from app_node.downlink.outbox import Outbox
from app_node.handlers.application import Application
from app_node.uplink.dispatcher import Dispatcher
from sio_cluster.protocol.messages import Ack, Command, Emit, EventReceived, Fact, Join, ServerItem

RATE = int(os.environ.get("CHAOS_BROKEN_RATE", "1000"))

_turn = itertools.count(1)
_deliver = Dispatcher.deliver
_put = Outbox.put
_held: dict[str, tuple[Any, ...]] = {}

HOLD_S = 0.5
"""Longer than a client waits between two messages, shorter than the checker waits for the last one."""


def _hits() -> bool:
    return next(_turn) % RATE == 0


def drop_event(self: Dispatcher, fact: Fact, progress: Any) -> None:
    if type(fact) is EventReceived and _hits():
        progress.end_fact(fact, EVENT_HANDLED)
    else:
        _deliver(self, fact, progress)


def double_event(self: Dispatcher, fact: Fact, progress: Any) -> None:
    if type(fact) is EventReceived and _hits():
        progress.begin()
        _deliver(self, fact, progress)
    _deliver(self, fact, progress)


def _hold(sid: str, do: Callable[..., Any], *arguments: Any) -> None:
    """Until the next message of this client; a client's last one comes late, but is not lost."""
    _held[sid] = (do, *arguments)
    asyncio.get_running_loop().call_later(HOLD_S, _release, sid)


def _release(sid: str) -> None:
    if sid in _held:
        do, *arguments = _held.pop(sid)
        do(*arguments)


def swap_events(self: Dispatcher, fact: Fact, progress: Any) -> None:
    """An event is held back until the next event of its client was delivered."""
    if type(fact) is EventReceived and fact.sid not in _held and _hits():
        _hold(fact.sid, _deliver, self, fact, progress)
        return
    _deliver(self, fact, progress)
    _release(fact.sid)


def _spoiled(kind: type[Emit] | type[Ack], name: bytes) -> Callable[[Command | ServerItem], bool]:
    def spoil(command: Command | ServerItem) -> bool:
        return isinstance(command, kind) and name in command.packet and _hits()

    return spoil


_is_down = _spoiled(Emit, b'"down"')
_is_ack = _spoiled(Ack, b"")


def _nothing() -> Batch:
    batch = Batch(0.0)
    batch.finish(True)
    return batch


def drop_emit(self: Outbox, node: str, command: Command | ServerItem, size: int, progress: Any) -> Batch:
    return _nothing() if _is_down(command) else _put(self, node, command, size, progress)


def double_emit(self: Outbox, node: str, command: Command | ServerItem, size: int, progress: Any) -> Batch:
    if _is_down(command):
        _put(self, node, command, size, progress)
    return _put(self, node, command, size, progress)


def swap_emits(self: Outbox, node: str, command: Command | ServerItem, size: int, progress: Any) -> Batch:
    if type(command) is not Emit or b'"down"' not in command.packet or command.to is None:
        return _put(self, node, command, size, progress)
    sid = str(command.to[0])
    if sid not in _held and _hits():
        _hold(sid, _put, self, node, command, size, None)
        return _nothing()
    batch = _put(self, node, command, size, progress)
    _release(sid)
    return batch


def drop_ack(self: Outbox, node: str, command: Command | ServerItem, size: int, progress: Any) -> Batch:
    return _nothing() if _is_ack(command) else _put(self, node, command, size, progress)


def double_ack(self: Outbox, node: str, command: Command | ServerItem, size: int, progress: Any) -> Batch:
    if _is_ack(command):
        _put(self, node, command, size, progress)
    return _put(self, node, command, size, progress)


def drop_join(self: Outbox, node: str, command: Command | ServerItem, size: int, progress: Any) -> Batch:
    is_dropped = type(command) is Join and str(command.room).startswith("table") and next(_turn) % 20 == 0
    return _nothing() if is_dropped else _put(self, node, command, size, progress)


async def drop_disconnect(self: Application, namespace: str, sid: str, reason: str) -> None:
    if next(_turn) % 20:
        await _disconnect(self, namespace, sid, reason)


async def double_disconnect(self: Application, namespace: str, sid: str, reason: str) -> None:
    if not next(_turn) % 20:
        await _disconnect(self, namespace, sid, reason)
    await _disconnect(self, namespace, sid, reason)


_disconnect = Application.disconnect

match os.environ.get("CHAOS_BROKEN"):
    case "drop-event":
        Dispatcher.deliver = drop_event
    case "double-event":
        Dispatcher.deliver = double_event
    case "swap-events":
        Dispatcher.deliver = swap_events
    case "drop-emit":
        Outbox.put = drop_emit
    case "double-emit":
        Outbox.put = double_emit
    case "swap-emits":
        Outbox.put = swap_emits
    case "drop-ack":
        Outbox.put = drop_ack
    case "double-ack":
        Outbox.put = double_ack
    case "drop-join":
        Outbox.put = drop_join
    case "drop-disconnect":
        Application.disconnect = drop_disconnect
    case "double-disconnect":
        Application.disconnect = double_disconnect
