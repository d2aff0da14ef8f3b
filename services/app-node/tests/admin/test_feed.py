"""What administrators hear of clients as it happens, and the bounds of that."""

import asyncio
import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any, cast

from app_node.admin.feed import MOST_CHANGES, MOST_EVENTS, Feed
from app_node.clients.queries import ClientQueries
from sio_cluster.protocol.messages import ClientConnected, Handshake
from sio_cluster.streams.api.records import ClientRecord

AT = "2023-11-14T22:13:20.000Z"
SID = "io1-aaaaaa.0123456789abcdef"


class World:
    """A feed, what it tells, and the records of clients."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.records: dict[str, ClientRecord] = {}
        self.on_look: Callable[[], None] | None = None
        """Called once, as a record is read."""
        self.feed = Feed("/admin", cast(ClientQueries, self), self.tell, clock=lambda: 1_700_000_000.0)

    async def one(self, sid: str) -> ClientRecord | None:
        on_look, self.on_look = self.on_look, None
        if on_look is not None:
            on_look()
        return self.records.get(sid)

    async def tell(self, event: str, *args: Any, volatile: bool = False) -> None:
        assert volatile is event.startswith("event_")
        self.told.append((event, *args))

    def let_in(self, sid: str, *rooms: str) -> None:
        handshake = Handshake("GET", "/socket.io/", "", [], "10.1.2.3")
        connected = ClientConnected(sid, "c1", "/", None, handshake, "polling")
        self.records[sid] = ClientRecord(connected, None, set(rooms), accepted=True, transport="polling")


async def test_changes_in_their_order() -> None:
    world = World()
    world.let_in(SID, "a")
    world.feed.came(SID, "/")
    world.feed.entered(SID, "/", "b")
    world.feed.upgraded(SID, "/", "websocket")
    world.feed.left(SID, "/", "b")
    world.feed.went(SID, "/", "transport close")
    await world.feed.flush()
    (came, client, at), *others = world.told
    assert (came, client["id"], client["rooms"], at) == ("socket_connected", SID, [SID, "a"], AT)
    assert others == [
        ("room_joined", "/", "b", SID, AT),
        ("socket_updated", {"id": SID, "nsp": "/", "transport": "websocket"}),
        ("room_left", "/", "b", SID, AT),
        ("socket_disconnected", "/", SID, "transport close", AT),
    ]


async def test_a_room_that_is_entered_after_the_client_came_is_told_once_and_by_itself() -> None:
    """A page that knew the client already would not take its rooms from a second word about it."""
    world = World()
    world.let_in(SID, "a", "b", "c")
    world.feed.came(SID, "/")
    world.feed.entered(SID, "/", "a")
    world.on_look = lambda: world.feed.entered(SID, "/", "b")
    await world.feed.flush()
    [came, client, _], joined = world.told
    assert (came, client["rooms"], joined) == ("socket_connected", [SID, "c"], ("room_joined", "/", "a", SID, AT))
    world.told.clear()
    await world.feed.flush()
    assert world.told == [("room_joined", "/", "b", SID, AT)]


async def test_a_room_that_was_entered_before_the_client_is_told_comes_with_it() -> None:
    """The page takes no room of a client that it does not know."""
    world = World()
    world.feed.came(SID, "/")
    world.on_look = lambda: world.feed.entered(SID, "/", "a")
    await world.feed.flush()
    world.let_in(SID, "a")
    world.told.clear()
    await world.feed.flush()
    assert [(event, *args[:1]) for event, *args in world.told if event == "room_joined"] == [("room_joined", "/")]
    assert [client["rooms"] for event, client, *_ in world.told if event == "socket_connected"] == [[SID, "a"]]


async def test_a_client_whose_record_is_not_written_yet_is_told_later() -> None:
    world = World()
    world.feed.came(SID, "/")
    await world.feed.flush()
    assert world.told == []
    world.let_in(SID)
    await world.feed.flush()
    assert [event for event, *_ in world.told] == ["socket_connected"]


async def test_one_that_never_shows_up_is_given_up() -> None:
    world = World()
    world.feed.came(SID, "/")
    for _ in range(10):
        await world.feed.flush()
    world.let_in(SID)
    await world.feed.flush()
    assert world.told == []


async def test_where_changes_are_left_out_it_is_incomplete() -> None:
    world = World()
    for _ in range(MOST_CHANGES):
        world.feed.went(SID, "/", "ping timeout")
    assert not world.feed.is_incomplete
    world.feed.went(SID, "/", "ping timeout")
    assert world.feed.is_incomplete
    await world.feed.flush()
    assert len(world.told) == MOST_CHANGES


async def test_events_of_both_directions() -> None:
    world = World()
    world.feed.received(SID, "/", ("say", {"text": "hello"}, b"123"))
    world.feed.sent("/", [SID, "io1-aaaaaa.fedcba9876543210"], ["said", 1])
    world.feed.sent("/", ["lobby", 7], ["news"])
    world.feed.sent("/", None, ["all"])
    await world.feed.flush()
    assert world.told == [
        ("event_received", "/", SID, ["say", {"text": "hello"}, "(3 bytes)"], AT),
        ("event_sent", "/", SID, ["said", 1], AT),
        ("event_sent", "/", "io1-aaaaaa.fedcba9876543210", ["said", 1], AT),
        ("event_sent", "/", "(rooms: lobby, 7)", ["news"], AT),
        ("event_sent", "/", "(everybody)", ["all"], AT),
    ]


async def test_events_of_administrators_are_not_told() -> None:
    world = World()
    world.feed.received(SID, "/admin", ("join", "/", "a"))
    world.feed.sent("/admin", [SID], ["session", "secret"])
    await world.feed.flush()
    assert world.told == []


async def test_of_many_events_some_are_told_and_the_others_counted() -> None:
    world = World()
    for number in range(MOST_EVENTS + 7):
        world.feed.received(SID, "/", ("tick", number))
    await world.feed.flush()
    assert len(world.told) == MOST_EVENTS + 1
    assert world.told[-1][3] == ["(7 events were left out)"]
    world.told.clear()
    world.feed.received(SID, "/", ("tick", 0))
    await world.feed.flush()
    assert len(world.told) == 1


async def test_an_event_that_is_too_large_or_no_json_is_told_by_its_name() -> None:
    world = World()
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    for argument in ("x" * 5_000, b"\0" * 500_000, nested, object()):
        world.feed.received(SID, "/", ("big", argument))
    await world.feed.flush()
    assert [event[3] for event in world.told] == [
        ["big", "(5,004 bytes)"],
        ["big", "(666,672 bytes)"],
        ["big", "(cannot be shown)"],
        ["big", "(cannot be shown)"],
    ]


async def test_what_another_json_module_may_not_write_is_not_told() -> None:
    world = World()
    world.feed.received(SID, "/", ("\ud83d", "\ud83d"))
    world.feed.received(SID, "/", ("price", Decimal("1.5"), {"at": None}))
    await world.feed.flush()
    assert [event[3] for event in world.told] == [["?", "(cannot be shown)"], ["price", "(Decimal)", {"at": None}]]


async def test_when_nobody_watches_any_more_nothing_is_kept() -> None:
    world = World()
    world.feed.went(SID, "/", "ping timeout")
    world.feed.received(SID, "/", ("tick",))
    world.feed.forget()
    await world.feed.flush()
    assert world.told == []


async def test_arguments_that_are_nested_deeply_are_not_shown() -> None:
    """Around them comes more, so an emit that the application just could make would fail here."""
    world = World()
    nested: list[Any] = []
    for _ in range(300):
        nested = [nested]
    world.feed.sent("/", None, ["deep", nested])
    world.feed.sent("/", None, ["flat", [[["x"]]]])
    await world.feed.flush()
    assert [event[3] for event in world.told] == [["deep", "(cannot be shown)"], ["flat", [[["x"]]]]]


async def test_an_emit_to_many_sids_holds_nothing_up() -> None:
    world = World()
    sids = [f"io1-aaaaaa.{number:016x}" for number in range(20_000)]
    begun = time.process_time()
    world.feed.sent("/", sids, ["news"])
    assert time.process_time() - begun < 2.0, "each sid is looked at once: with 20,000 looks at each it took a minute"
    await world.feed.flush()
    assert [event[2] for event in world.told] == ["(20000 clients)"]


async def test_what_cannot_be_told_does_not_end_the_feed() -> None:
    world, told = World(), asyncio.Event()

    async def tell(event: str, *args: Any, volatile: bool = False) -> None:
        if args[0] == "/broken":
            raise RecursionError
        told.set()

    world.feed = Feed("/admin", cast(ClientQueries, world), tell)
    running = asyncio.create_task(world.feed.run())
    world.feed.went(SID, "/broken", "ping timeout")
    async with asyncio.timeout(50):
        while not world.feed.is_incomplete:  # the page gets the list anew
            await asyncio.sleep(0.01)
    world.feed.went(SID, "/", "ping timeout")
    async with asyncio.timeout(50):
        await told.wait()
    running.cancel()
