"""Connection state recovery on the wire, by clients that say that they can use offsets.

Socket.IO's own tests (`connection-state-recovery.ts`) ask the same of its server, with one exception: it writes missed
events before CONNECT. Its client may have such an event twice then (docs/adr/0015-recovery-from-the-home.md).
"""

import json
import re
from typing import Any, NamedTuple

import pytest
from tests.conformance.conftest import Target
from tests.conformance.raw import Poller, Wire

pytestmark = pytest.mark.e2e

CAN = "recovery=1"


class Session(NamedTuple):
    """What a client knows of its session: its ids, and the offset of the last event that it has."""

    sid: str
    pid: str
    offset: str


def payload(packet: str | bytes, namespace: str) -> Any:
    """The JSON of a CONNECT or EVENT packet of this namespace."""
    prefix = "" if namespace == "/" else namespace + ","
    kind = re.match(r"4(?:0|2|51-)", str(packet))
    assert kind is not None, packet
    assert str(packet)[kind.end() :].startswith(prefix), packet
    return json.loads(str(packet)[kind.end() + len(prefix) :])


async def join(wire: Wire, namespace: str = "/", auth: Any = None) -> Session:
    """Joins as a fresh client, and takes its `auth` event."""
    prefix = "" if namespace == "/" else namespace + ","
    await wire.send(f"40{prefix}{'' if auth is None else json.dumps(auth)}")
    told = payload(await wire.receive(5), namespace)
    assert told.keys() == {"sid", "pid"}, told
    event = payload(await wire.receive(), namespace)
    assert event[0] == "auth"
    assert len(event) == 3
    return Session(told["sid"], told["pid"], event[2])


async def come_back(wire: Wire, pid: str, offset: str | None, namespace: str = "/", auth: Any = None) -> Any:
    """Sends CONNECT as the JavaScript client does. Returns what the server's CONNECT says."""
    prefix = "" if namespace == "/" else namespace + ","
    shown = {"pid": pid, **({} if offset is None else {"offset": offset}), **(auth or {})}
    await wire.send(f"40{prefix}{json.dumps(shown)}")
    return payload(await wire.receive(5), namespace)


async def ask(wire: Wire, namespace: str, event: str, *args: Any) -> Any:
    """An event with an ack, and its answer."""
    prefix = "" if namespace == "/" else namespace + ","
    await wire.send(f"42{prefix}7{json.dumps([event, *args])}")
    answer = str(await wire.receive())
    assert answer.startswith(f"43{prefix}7["), answer
    return json.loads(answer[3 + len(prefix) :])


@pytest.mark.parametrize("namespace", ["/", "/custom"])
async def test_session_rooms_and_missed_events_come_back(target: Target, namespace: str) -> None:
    async with Wire.open(target.url) as other:
        await other.join(namespace)
        async with Wire.open(target.url, query=CAN) as wire:
            mine = await join(wire, namespace)
            assert await ask(wire, namespace, "join", [f"recovered{namespace}"]) == [[f"recovered{namespace}"]]
            await ask(wire, namespace, "remember", "a session")
        for number in range(3):
            await ask(other, namespace, "tell", [f"recovered{namespace}"], [], number)
        async with Wire.open(target.url, query=CAN) as wire:
            assert await come_back(wire, mine.pid, mine.offset, namespace) == {"sid": mine.sid, "pid": mine.pid}
            missed = [payload(await wire.receive(), namespace) for _ in range(3)]
            assert [event[:2] for event in missed] == [["told", 0], ["told", 1], ["told", 2]]
            offsets = [mine.offset, *[event[2] for event in missed]]
            assert len(set(offsets)) == 4
            event = payload(await wire.receive(), namespace)  # what the connect handler says to everybody
            assert event[0] == "auth"
            assert event[1] == {}, "pid and offset are none of the application's business"
            assert await ask(wire, namespace, "recall") == ["a session"]
            await ask(other, namespace, "tell", [f"recovered{namespace}"], [], "live")
            assert payload(await wire.receive(), namespace)[:2] == ["told", "live"]


async def test_volatile_events_are_not_missed(target: Target) -> None:
    """They are not sent again, and the client misses nothing. One that it got counts as the last that it has."""
    if target.is_external:
        pytest.skip("Socket.IO's own server asks for them in another way")
    async with Wire.open(target.url) as other:
        await other.join()
        async with Wire.open(target.url, query=CAN) as wire:
            mine = await join(wire)
            await ask(other, "/", "tell_volatile", [mine.sid], "live")
            event = payload(await wire.receive(), "/")
            assert event[:2] == ["told", "live"]
            offset = event[2]
        await ask(other, "/", "tell_volatile", [mine.sid], "lost")
        await ask(other, "/", "tell", [mine.sid], [], "kept")
        await ask(other, "/", "tell_volatile", [mine.sid], "lost too")
        async with Wire.open(target.url, query=CAN) as wire:
            assert await come_back(wire, mine.pid, offset) == {"sid": mine.sid, "pid": mine.pid}
            assert payload(await wire.receive(), "/")[:2] == ["told", "kept"]
            assert payload(await wire.receive(), "/")[0] == "auth"  # what the connect handler says, live again


async def test_who_was_in_an_excepted_room_missed_nothing(target: Target) -> None:
    if target.is_external:
        pytest.skip("Socket.IO's own server asks for it in another way")
    async with Wire.open(target.url) as other:
        await other.join()
        async with Wire.open(target.url, query=CAN) as wire:
            mine = await join(wire)
            await ask(wire, "/", "join", ["deaf", "hears"])
        await ask(other, "/", "tell_except", ["hears"], ["deaf"], "not for it")
        await ask(other, "/", "tell_except", [mine.sid], ["others"], "for it")
        async with Wire.open(target.url, query=CAN) as wire:
            assert (await come_back(wire, mine.pid, mine.offset))["sid"] == mine.sid
            assert payload(await wire.receive(), "/")[:2] == ["told", "for it"]


async def test_events_that_it_has_are_not_sent_again(target: Target) -> None:
    async with Wire.open(target.url) as other:
        await other.join()
        async with Wire.open(target.url, query=CAN) as wire:
            mine = await join(wire)
            await ask(other, "/", "tell", [mine.sid], [], "seen")
            offset = payload(await wire.receive(), "/")[2]
        for _ in range(3):
            async with Wire.open(target.url, query=CAN) as wire:
                assert (await come_back(wire, mine.pid, offset))["sid"] == mine.sid
                event = payload(await wire.receive(), "/")
                assert event[0] == "auth"
                offset = event[2]


async def test_without_any_offset_it_gets_all_since_it_was_let_in(target: Target) -> None:
    async with Wire.open(target.url, query=CAN) as wire:
        mine = await join(wire)
    async with Wire.open(target.url, query=CAN) as wire:
        assert (await come_back(wire, mine.pid, None))["sid"] == mine.sid
        assert payload(await wire.receive(), "/")[:2] == ["auth", {}]
        assert payload(await wire.receive(), "/")[0] == "auth"


async def test_attachments_come_back(target: Target) -> None:
    async with Wire.open(target.url) as other:
        await other.join()
        async with Wire.open(target.url, query=CAN) as wire:
            mine = await join(wire)
        told = json.dumps(["tell", [mine.sid], [], {"_placeholder": True, "num": 0}])
        await other.send(f"451-{told}", b"\x01\x02")
        assert await ask(other, "/", "echo", 1) == [1]
        async with Wire.open(target.url, query=CAN) as wire:
            await come_back(wire, mine.pid, mine.offset)
            event = payload(await wire.receive(), "/")
            assert event[0] == "told"
            assert event[1] == {"_placeholder": True, "num": 0}
            assert isinstance(event[2], str)
            assert await wire.receive() == b"\x01\x02"


async def test_over_polling(target: Target) -> None:
    async with Wire.open(target.url) as other:
        await other.join()
        async with Wire.open(target.url, query=CAN) as wire:
            mine = await join(wire)
        await ask(other, "/", "tell", [mine.sid], [], "missed")
        async with Poller.open(target.url) as poller:
            await poller.send(f"40{json.dumps({'pid': mine.pid, 'offset': mine.offset})}")
            assert payload(await poller.receive(), "/")["sid"] == mine.sid
            assert payload(await poller.receive(), "/")[:2] == ["told", "missed"]


async def test_a_half_open_predecessor_is_closed(target: Target) -> None:
    async with Wire.open(target.url, query=CAN) as old, Wire.open(target.url, query=CAN) as new:
        mine = await join(old)
        assert (await come_back(new, mine.pid, mine.offset))["sid"] == mine.sid
        await old.closes(1)
        assert payload(await new.receive(), "/")[0] == "auth"
        await new.works()


@pytest.mark.parametrize(
    "change",
    [
        lambda pid: pid[:-1],
        lambda pid: pid[:-1] + ("A" if pid[-1] != "A" else "B"),
        lambda pid: pid.partition("~")[0],
        lambda pid: pid + "x",
        lambda pid: "nonsense",
        lambda pid: {"pid": pid},
        lambda pid: 7,
        lambda pid: None,
        lambda pid: "x" * 500_000,
    ],
)
async def test_a_wrong_pid_gets_a_fresh_session(target: Target, change: Any) -> None:
    async with Wire.open(target.url, query=CAN) as wire:
        mine = await join(wire)
    async with Wire.open(target.url, query=CAN) as wire:
        told = await come_back(wire, change(mine.pid), mine.offset)
        assert told["sid"] != mine.sid
        assert payload(await wire.receive(), "/")[0] == "auth"
        await wire.works()


@pytest.mark.parametrize("offset", ["", "x", "_" * 16, "x" * 100_000, 7, ["x"], {"a": 1}])
async def test_a_wrong_offset_is_never_guessed_at(target: Target, offset: Any) -> None:
    async with Wire.open(target.url, query=CAN) as wire:
        mine = await join(wire)
    async with Wire.open(target.url, query=CAN) as wire:
        assert (await come_back(wire, mine.pid, offset))["sid"] != mine.sid
        assert payload(await wire.receive(), "/")[0] == "auth"
        await wire.works()


async def test_a_pid_is_good_in_its_own_namespace_only(target: Target) -> None:
    async with Wire.open(target.url, query=CAN) as wire:
        mine = await join(wire)
    async with Wire.open(target.url, query=CAN) as wire:
        assert (await come_back(wire, mine.pid, mine.offset, "/custom"))["sid"] != mine.sid


@pytest.mark.parametrize("ending", ["41", '42["leave_namespace"]'])
async def test_who_was_disconnected_gets_a_fresh_session(target: Target, ending: str) -> None:
    async with Wire.open(target.url, query=CAN) as wire:
        mine = await join(wire)
        await wire.send(ending)
        if ending != "41":
            assert await wire.receive() == "41"
    async with Wire.open(target.url, query=CAN) as wire:
        assert (await come_back(wire, mine.pid, mine.offset))["sid"] != mine.sid


async def test_others_get_neither_pid_nor_offset(target: Target) -> None:
    """A Python client says by its User-Agent what it is."""
    async with Wire.open(target.url) as wire:
        await wire.send("40")
        assert payload(await wire.receive(5), "/").keys() == {"sid"}
        assert await wire.receive() == '42["auth",{}]'
    async with Wire.open(target.url) as wire:
        await wire.send('40{"recovery":true}')
        assert payload(await wire.receive(5), "/").keys() == {"sid", "pid"}
        assert len(payload(await wire.receive(), "/")) == 3
    async with Wire.open(target.url, query=CAN) as wire:
        await wire.send('40{"recovery":false}')
        assert payload(await wire.receive(5), "/").keys() == {"sid"}


@pytest.mark.parametrize("query", [CAN, "recovery=0"])
async def test_a_call_to_one_that_leaves_or_has_left_fails_at_once(target: Target, query: str) -> None:
    """Socket.IO's own server and python-socketio let such a call wait for its time-out."""
    if target.is_external:
        pytest.skip("what differs from Socket.IO's own server")
    async with Wire.open(target.url) as asker:
        await asker.join()
        async with Wire.open(target.url, query=query) as other:
            await other.send("40")
            sid = payload(await other.receive(5), "/")["sid"]
            await other.receive()
            await asker.send(f"427{json.dumps(['call_other', sid, 30])}")
            assert "question" in str(await other.receive())
        assert await asker.receive(3) == '437["disconnected"]'
        assert await ask(asker, "/", "call_other", sid, 30) == ["disconnected"]
