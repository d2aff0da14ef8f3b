"""Clients who are present in a room, and how a page sees them: Phoenix' JavaScript helper, in Python."""

import copy
import json
from collections.abc import Iterable
from typing import Any

from sio_cluster.protocol.messages import SERVER_LEVEL, Emit

State = dict[str, Any]

ROOM = "lobby"


class Page:
    """What one client hears of one room. `keys`: each state of the list of keys that differs from the one before."""

    def __init__(self, room: Any) -> None:
        self.room = room
        self.state: State = {}
        self.keys: list[list[str]] = [[]]
        self._is_in_sync = False
        self._pending: list[State] = []

    def hear(self, event: str, content: State, room: Any) -> None:
        if room != self.room:
            return
        if event == "presence_state":
            self.state = copy.deepcopy(content)
            self._is_in_sync = True
            for diff in self._pending:
                sync_diff(self.state, diff)
        elif not self._is_in_sync:
            self._pending.append(content)
        else:
            sync_diff(self.state, content)
        if sorted(self.state) != self.keys[-1]:
            self.keys.append(sorted(self.state))


def sync_diff(state: State, diff: State) -> None:
    """As `Presence.syncDiff` of phoenix 1.7."""
    for key, joined in copy.deepcopy(diff["joins"]).items():
        current = state.get(key)
        state[key] = joined
        if current is not None:
            refs = {meta["phx_ref"] for meta in joined["metas"]}
            joined["metas"] = [meta for meta in current["metas"] if meta["phx_ref"] not in refs] + joined["metas"]
    for key, left in diff["leaves"].items():
        if key in state:
            refs = {meta["phx_ref"] for meta in left["metas"]}
            state[key]["metas"] = [meta for meta in state[key]["metas"] if meta["phx_ref"] not in refs]
            if not state[key]["metas"]:
                del state[key]


def events(commands: Iterable[Any]) -> list[tuple[list[Any] | None, str, State, Any]]:
    """The presence events among these commands: to whom, and what."""
    found = []
    for command in commands:
        if isinstance(command, Emit):
            packet = command.packet
            event, *arguments = json.loads(packet[packet.index(b"[") :])
            if event.startswith("presence_"):
                found.append((command.to, event, *arguments))
    return found


def page_of(commands: Iterable[Any], room: Any, sid: str) -> Page:
    """What this member of the room has seen."""
    page = Page(room)
    for to, event, content, of_room in events(commands):
        if to in ([room], [sid]):
            page.hear(event, content, of_room)
    return page


def metas(state: State, key: str) -> list[State]:
    """What is shown under this key, without refs."""
    return [{name: value for name, value in meta.items() if name != "phx_ref"} for meta in state[key]["metas"]]


async def started(stage: Any, **options: Any) -> tuple[Any, Any, Any]:
    """A server that serves all clients and lets them into the lobby, one that only emits, and an io-node."""
    holder, other = stage.echo_server(**options), stage.server()

    @holder.event
    async def come(sid: str, key: str, meta: Any = None) -> None:
        await holder.enter_room(sid, ROOM)
        await holder.presence(ROOM).track(sid, key, meta)
        await holder.presence(ROOM).send_state(sid)

    io = await stage.io_node()
    await io.bus.registry.register_io_node(io.id, {"level": str(SERVER_LEVEL)})
    await holder.start()
    return holder, other, io


async def come(io: Any, key: str, meta: Any = None) -> str:
    sid: str = await io.connect()
    await io.event(sid, "come", key, meta)
    await io.settle()
    return sid


async def sees(io: Any, sid: str, **expected: Any) -> Any:
    """Waits until this client sees these keys, each with so many metas or with these metas. Returns its page."""

    def seen() -> bool:
        state = page_of(io.commands, ROOM, sid).state
        found = {key: metas(state, key) for key in state}
        return found.keys() == expected.keys() and all(
            len(found[key]) == wanted if isinstance(wanted, int) else sorted(found[key], key=str) == wanted
            for key, wanted in expected.items()
        )

    await io.until(seen)
    return page_of(io.commands, ROOM, sid)
