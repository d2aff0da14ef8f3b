"""Events with their offset as the last argument."""

import json

import pytest

from io_node.engineio.api import Outbound
from sio_cluster.protocol.recovery import Position, encode_offset

PLACE = Position(1690, 2, 3)
OFFSET = encode_offset(PLACE).decode()


@pytest.mark.parametrize(
    ("packet", "head"),
    [
        (b'2["news",1]', b"2"),
        (b'2["hello"]', b"2"),
        (b'2/chat,["hello",{"a":["]"]}]', b"2/chat,"),
        (b'51-["picture",{"_placeholder":true,"num":0}]', b"51-"),
    ],
)
def test_the_offset_is_the_last_argument(packet: bytes, head: bytes) -> None:
    message = Outbound(packet, [b"x"] if packet[:1] == b"5" else (), volatile=True, place=PLACE)
    twin = message.with_offset()
    assert twin.packet is not None
    assert json.loads(twin.packet.removeprefix(head)) == [*json.loads(packet.removeprefix(head)), OFFSET]
    assert twin.attachments == message.attachments
    assert twin.volatile
    assert twin.size == message.size + len(OFFSET) + 3
    assert message.with_offset() is twin
    assert message.packet == packet


def test_a_message_without_a_place_has_none() -> None:
    for message in (Outbound(b'30["ok"]'), Outbound(None, [b"x"], place=PLACE)):
        assert message.with_offset() is message
