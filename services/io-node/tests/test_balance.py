"""The counters of an io-node balance: after mixed traffic, and with bad luck."""

import asyncio
import json
from collections import defaultdict
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sio_cluster.node.monitoring.metrics import exposition
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol import reasons
from sio_cluster.protocol.messages import Accept, AckRequest, ClientConnected, ClientDisconnected, Emit
from sio_cluster.streams.memory import MemoryBroker
from sio_cluster.testing.http import http_client

from .by_hand import open_raw
from .tiny_app import FAST, NODE, World, kinds, serving

pytestmark = pytest.mark.slow


class Balance:
    """What a node says of itself. Sums over labels."""

    def __init__(self, text: str) -> None:
        self.by_label: dict[str, dict[str, float]] = defaultdict(dict)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self.by_label[sample.name]["".join(sample.labels.values())] = sample.value

    def __getitem__(self, name: str) -> int:
        return int(sum(self.by_label[f"sio_io_{name}"].values()))

    def check(self) -> None:
        for what in ("facts_accepted", "deliveries"):
            noun = what.split("_")[0]
            parts = [self[f"{noun}_written_total"], self[f"{noun}_dropped_total"], self[f"{noun}_waiting"]]
            assert self[f"{what}_total"] == sum(parts), (what, self[f"{what}_total"], parts)
        assert self["connections_opened_total"] == self["connections_closed_total"] + self["connections"]


def balance_of(world: World) -> Balance:
    balance = Balance(exposition(world.node.metrics()).decode())
    balance.check()
    return balance


async def until_quiet(world: World) -> Balance:
    """Until no connection is left and no fact waits."""
    async with asyncio.timeout(5):
        while (balance := balance_of(world))["facts_waiting"] or balance["connections"]:
            await asyncio.sleep(0.01)
    return balance


async def test_after_mixed_traffic_the_counters_balance() -> None:
    broker = MemoryBroker()
    async with serving(Config(FAST, MAX_NAMESPACES=2), broker) as world:
        async with (
            open_raw(world) as raw,
            open_raw(world) as other,
            open_raw(world) as third,
            http_client() as web,
        ):
            await raw.connect()
            await raw.connect("/custom")
            await other.connect()
            await raw.send("40/more,")  # too many
            assert str(await raw.receive()).startswith("44/more,")
            await third.send("40/nobody,")  # refused by the application
            assert str(await third.receive()).startswith("44/nobody,")
            for number in range(20):
                await raw.send(f'42{number}["message-with-ack",{number}]')
                assert await raw.receive() == f"43{number}[{number}]"
            await raw.send('451-["message",{"_placeholder":true,"num":0}]', b"\x01")
            assert str(await raw.receive()).startswith("451-")
            assert await raw.receive() == b"\x01"
            await raw.send('42["ask-me"]')
            assert await raw.receive() == '427000000001["question"]'
            await raw.send("437000000001[1]", "437000000001[2]")  # the second is not expected
            balance_of(world)
            polled = (await web.get(f"{world.url}/socket.io/?EIO=4&transport=polling")).text
            path = f"{world.url}/socket.io/?EIO=4&transport=polling&sid={json.loads(polled[1:])['sid']}"
            await web.post(path, content="40")
            await world.app.wait_for(lambda facts: len(kinds(facts, ClientConnected)) == 5)
            await web.get(path)
            # nobody polls: a volatile message is dropped, another one waits, and is dropped when the node goes
            polling = kinds(world.app.facts, ClientConnected)[-1].sid
            emits = balance_of(world)["emits_total"]
            await world.app.send(polling, Emit("/", b'2["v"]', to=[polling], volatile=True))
            await world.app.send(polling, Emit("/", b'2["w"]', to=[polling]))
            nobody = f"{world.node.node_id}.0000000000000001"
            question = Emit("/", b'21["q"]', to=[nobody], ack=AckRequest(NODE, 1, is_call=True, hears_missed=True))
            await world.app.send(nobody, Emit("/", b'2["to all"]'), question, Accept("x.y"))
            async with asyncio.timeout(5):
                while balance_of(world)["emits_total"] < emits + 4:
                    await asyncio.sleep(0.01)
            async with http_client() as asking:
                answer = await asking.get(f"{world.url}/metrics")
            assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
            live = Balance(answer.text)
            live.check()
            assert live["clients"] == 4
            assert live["deliveries_waiting"] >= 1
            assert live.by_label["sio_io_deliveries_dropped_total"]["volatile"] == 1
        world.node.engine.connections.abort_all()
        balance = await until_quiet(world)
    kinds_accepted = balance.by_label["sio_io_facts_accepted_total"]
    assert kinds_accepted == {
        "connected": 5,
        "event": 22,
        "ack": 1,
        "missed": 1,
        "expected": 0,
        "upgraded": 0,
        "room": 0,
        "disconnected": 5,  # four, and the phantom
    }
    assert balance["facts_written_total"] == 34
    assert balance["acks_written_total"] == 2
    refused: dict[str, Any] = balance.by_label["sio_io_inputs_refused_total"]
    assert (refused["unexpected_ack"], refused["too_many_namespaces"]) == (1, 1)
    assert balance.by_label["sio_io_deliveries_dropped_total"]["connection_closed"] >= 1
    assert balance["clients"] == 0
    # what the application wrote is what the node read, and what the node wrote is what the application read
    assert balance["commands_read_total"] > 0
    assert len(world.app.facts) + kinds_accepted["missed"] == balance["facts_written_total"]


async def test_a_client_that_is_accepted_too_late_is_said_to_be_gone() -> None:
    """Its disconnect was handled and its connect was not, because an app-node died in between."""
    async with serving(Config(FAST), MemoryBroker()) as world:
        sid = f"{world.node.node_id}.0000000000000001"
        await world.app.send(sid, Accept(sid))
        await world.app.wait_for(lambda facts: facts != [])
        assert world.app.facts == [ClientDisconnected(sid, reasons.TRANSPORT_CLOSE)]
        assert balance_of(world)["phantoms_total"] == 1


async def test_the_counters_balance_while_redis_is_away() -> None:
    broker = MemoryBroker()
    async with serving(Config(FAST), broker) as world, open_raw(world) as raw:
        await raw.connect()
        broker.go_down()
        await raw.send(*(f'42["message",{number}]' for number in range(50)))
        async with asyncio.timeout(5):
            while balance_of(world)["facts_waiting"] < 50 or not balance_of(world)["redis_retries_total"]:
                await asyncio.sleep(0.01)
        broker.come_back()
        for number in range(50):
            assert await raw.receive() == f'42["message-back",{number}]'
        assert balance_of(world)["facts_waiting"] == 0


async def test_a_slow_consumer_in_the_counters() -> None:
    """Closed with a reason and counted, and each message to it accounted for."""
    config = Config(FAST, DOWNLINK_BUFFER_BYTES=200_000)
    async with serving(config, MemoryBroker()) as world:
        async with open_raw(world) as raw:
            sid = await raw.connect()
            raw.socket.transport.pause_reading()
            for _ in range(80):
                await world.app.send(sid, Emit("/", b'2["x","%s"]' % (b"x" * 100_000), to=[sid]))
            await world.app.wait_for(lambda facts: kinds(facts, ClientDisconnected) != [])
            raw.socket.transport.resume_reading()
        assert kinds(world.app.facts, ClientDisconnected) == [ClientDisconnected(sid, reasons.SLOW_CONSUMER)]
        balance = await until_quiet(world)
        assert balance["slow_consumers_total"] == 1
        assert balance.by_label["sio_io_slow_consumers_total"] == {"stalled": 0, "buffer_full": 1, "home_log_full": 0}
        assert balance.by_label["sio_io_clients_closed_total"]["slow consumer"] == 1
        assert balance["downlink_waiting_bytes"] == 0
        assert balance.by_label["sio_io_deliveries_dropped_total"]["slow_consumer"] >= 1
