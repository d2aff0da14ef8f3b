"""One frame of `sio-cluster top`."""

from datetime import datetime

from rich.console import Group
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from sio_cluster.protocol.messages import Room
from sio_cluster.streams.redis.largest_rooms import RoomsView
from sio_cluster.top.rows import LaneRow, NodeRow, View, busiest

_STATES = {"alive": "green", "silent": "bold red", "parked": "yellow"}


def frame(view: View, rows: int) -> Group:
    """`rows`: how many rows each table has, at most."""
    return Group(
        _head(view), Text(), _nodes(view.nodes, rows), Text(), _lanes(view.lanes, rows), Text(), _rooms(view.rooms)
    )


def _head(view: View) -> Text:
    time = datetime.fromtimestamp(view.time_s).astimezone().strftime("%H:%M:%S")
    dead = f" · {view.dead_letters} dead letters" if view.dead_letters else ""
    return Text.assemble(
        ("Socket.IO Cluster", "bold"),
        f"  {time} · {view.clients} clients · {_rate(view.entries_per_s) or '?'} entries/s into lanes · "
        f"{view.entries} wait{dead}",
    )


def _nodes(nodes: list[NodeRow], rows: int) -> Table:
    table = _table("node", "kind", "state", "level", "up", "clients", "lanes", "inbox/s", "lanes/s")
    for node in nodes[:rows]:
        state = f"[{_STATES[node.state]}]{node.state}[/]"
        table.add_row(
            escape(node.id), node.kind, state, _number(node.level), _age(node.alive_s), _number(node.clients),
            _number(node.lanes), _rate(node.inbox_per_s), _rate(node.lanes_per_s),
        )  # fmt: skip
    return _with_rest(table, len(nodes) - rows, "nodes")


def _lanes(lanes: list[LaneRow], rows: int) -> Table:
    table = _table("lane", "holder", "waiting", "unread", "KB", "oldest", "in/s", "quarantine", "dead")
    for lane in busiest(lanes, rows):
        holder = "[bold red]nobody[/]" if lane.holder is None else escape(lane.holder)
        table.add_row(
            str(lane.lane), holder, str(lane.entries), _number(lane.unread), f"{lane.bytes / 1e3:.0f}",
            _age(lane.oldest_s) if lane.entries else "", _rate(lane.entries_per_s), _some(lane.quarantined),
            _some(lane.dead_letters),
        )  # fmt: skip
    return _with_rest(table, len(lanes) - rows, "lanes, in which less waits")


def _rooms(rooms: RoomsView | None) -> Table | Text:
    if rooms is None:
        return Text("The room index is being built anew: rooms are not known yet", style="yellow")
    table = _table(f"room of {rooms.namespace} ({rooms.connected} connected)", "clients")
    for room in rooms.rooms:
        table.add_row(escape(_name(room.room)), str(room.clients))
    if not rooms.rooms:
        table.add_row("none", "", style="dim")
    if not rooms.is_complete:
        table.add_row("of some: there are too many to look at all", "", style="dim")
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, column in enumerate(columns):
        as_text = number == 0 or column in ("kind", "state", "holder")
        table.add_column(escape(column), justify="left" if as_text else "right", no_wrap=True)
    return table


def _with_rest(table: Table, rest: int, what: str) -> Table:
    if rest > 0:
        table.add_row(f"{rest} more", what, style="dim")
    return table


def _name(room: Room) -> str:
    return ascii(room)[1:-1] if isinstance(room, str) else str(room)


def _number(number: int | None) -> str:
    return "" if number is None else str(number)


def _some(number: int) -> str:
    return str(number) if number else ""


def _rate(rate: float | None) -> str:
    return "" if rate is None else f"{rate:,.1f}"


def _age(seconds: float | None) -> str:
    """Two units at most: 7 s, 12 min, 3 h 5 min, 2 d 4 h."""
    if seconds is None:
        return ""
    minutes, hours, days = int(seconds) // 60, int(seconds) // 3600, int(seconds) // 86400
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min" if minutes else f"{int(seconds)} s"
