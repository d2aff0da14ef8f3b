"""Rooms of the Socket.IO v5 protocol, seen from outside: who gets what is said to a room, and who does not."""

import pytest
from tests.conformance.conftest import Target
from tests.conformance.raw import Poller, Wire, joined_wires

pytestmark = pytest.mark.e2e


class TestRooms:
    async def test_several_rooms_without_doubles(self, target: Target) -> None:
        async with joined_wires(target.url, 3) as (both, one, none):
            await both.send('421["join",["wire-a","wire-b"]]')
            assert await both.receive() == '431[["wire-a","wire-b"]]'
            await one.send('421["join",["wire-b"]]')
            assert await one.receive() == '431[["wire-b"]]'
            await none.send('42["tell",["wire-a","wire-b"],[],1,"x"]')
            for wire in (both, one):
                assert await wire.receive() == '42["told",1,"x"]'
            for wire in (both, one, none):
                await wire.works()

    async def test_skip(self, target: Target) -> None:
        async with Wire.open(target.url) as teller, joined_wires(target.url, 2) as members:
            teller_sid = await teller.join()
            for wire in (teller, *members):
                await wire.send('421["join",["wire-skip"]]')
                await wire.receive()
            await teller.send(f'42["tell",["wire-skip"],["{teller_sid}"],null]')
            for wire in members:
                assert await wire.receive() == '42["told",null]'
            await teller.works()

    async def test_leave_and_close(self, target: Target) -> None:
        async with joined_wires(target.url, 3) as (one, two, three):
            for wire in (one, two, three):
                await wire.send('421["join",["wire-leave"]]')
                await wire.receive()
            await one.send('422["leave",["wire-leave"]]')
            assert await one.receive() == "432[[]]"
            await two.send('42["tell",["wire-leave"],[],1]')
            assert await two.receive() == await three.receive() == '42["told",1]'
            await two.send('423["close","wire-leave"]')
            await two.receive()
            await two.send('42["tell",["wire-leave"],[],2]')
            for wire in (one, two, three):
                await wire.works()

    async def test_binary_to_mixed_transports(self, target: Target) -> None:
        async with Poller.open(target.url) as poller, Wire.open(target.url) as wire:
            await poller.join()
            await wire.join()
            await poller.send('421["join",["wire-mixed"]]')
            await poller.receive()
            await wire.send('421["join",["wire-mixed"]]')
            await wire.receive()
            await wire.send('451-["tell",["wire-mixed"],[],{"_placeholder":true,"num":0}]', b"\x00\x01\xff")
            head = '451-["told",{"_placeholder":true,"num":0}]'
            assert await wire.receive_many(2) == [head, b"\x00\x01\xff"]
            assert await poller.receive_many(2) == [head, "bAAH/"]

    async def test_everybody_of_the_namespace(self, target: Target) -> None:
        async with joined_wires(target.url, 6) as wires, Wire.open(target.url) as elsewhere:
            await elsewhere.join("/custom")
            await wires[0].send('42["tell_all","all"]')
            for wire in wires:
                assert await wire.receive() == '42["told","all"]'
            await elsewhere.send('42/custom,1["echo",1]')
            assert await elsewhere.receive() == "43/custom,1[1]"

    async def test_the_rest(self, target: Target) -> None:
        """Everybody of the namespace but the one who says it, as text and with attachments."""
        async with (
            joined_wires(target.url, 3) as (teller, *wires),
            Poller.open(target.url) as poller,
            Wire.open(target.url) as elsewhere,
        ):
            await poller.join()
            await elsewhere.join("/custom")
            await teller.send('42["tell_the_rest",1]')
            assert [await wire.receive() for wire in wires] == ['42["told",1]'] * 2
            assert await poller.receive() == '42["told",1]'
            await teller.send('451-["tell_the_rest",{"_placeholder":true,"num":0}]', b"\x00\xff")
            head = '451-["told",{"_placeholder":true,"num":0}]'
            assert [await wire.receive_many(2) for wire in wires] == [[head, b"\x00\xff"]] * 2
            assert await poller.receive_many(2) == [head, "bAP8="]
            await teller.works()
            await elsewhere.send('42/custom,1["echo",1]')
            assert await elsewhere.receive() == "43/custom,1[1]"

    async def test_binary_to_a_room_but_for_one(self, target: Target) -> None:
        async with Wire.open(target.url) as teller, joined_wires(target.url, 2) as (member, stranger):
            teller_sid = await teller.join()
            for wire in (teller, member):
                await wire.send('421["join",["wire-binary"]]')
                await wire.receive()
            told = f'["tell",["wire-binary"],["{teller_sid}"],{{"_placeholder":true,"num":0}}]'
            await teller.send(f"451-{told}", b"\x00\xff")
            assert await member.receive_many(2) == ['451-["told",{"_placeholder":true,"num":0}]', b"\x00\xff"]
            for wire in (teller, member, stranger):
                await wire.works()
