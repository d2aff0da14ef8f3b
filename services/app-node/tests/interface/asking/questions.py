"""Questions as they come to io-nodes, and what these say to them."""

from typing import Any

from sio_cluster.protocol.messages import AckExpected, AckMissed, AckReceived, AckRequest, Emit

LONG_S = 30
"""A time-out that no test waits for."""


async def asked(*nodes: Any, number: int = 1) -> AckRequest:
    """The question that came to these io-nodes, as the `number`th."""
    emits = [(await node.wait(number, Emit))[number - 1] for node in nodes]
    [ack] = {emit.ack for emit in emits}
    assert isinstance(ack, AckRequest)
    assert (ack.names_asked, ack.hears_missed, ack.is_call) == (True, True, True)
    return ack


async def say(node: Any, request: AckRequest, *items: AckExpected | AckReceived | AckMissed) -> None:
    await node.to_app_node(request.app_node, *items)


async def dies(io: Any) -> None:
    """As kill -9."""
    io._reader.cancel()
    await io.bus.registry.heartbeat(io.id, 1)
