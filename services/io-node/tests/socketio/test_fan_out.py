"""Which emits are carried out as one."""

import msgspec
import pytest

from io_node.socketio.fan_out import go_together
from sio_cluster.protocol.messages import AckRequest, Emit

EMIT = Emit("/", b"2[1]", to=["red"], skip=["ann"], except_rooms=["blue"])


@pytest.mark.parametrize("other", [{"packet": b"2[2]"}, {"attachments": [b"x"]}, {"volatile": True}, {}])
def test_what_they_say_may_differ(other: dict[str, object]) -> None:
    assert go_together(EMIT, msgspec.structs.replace(EMIT, **other))
    assert go_together(msgspec.structs.replace(EMIT, **other), EMIT)


@pytest.mark.parametrize(
    "other",
    [
        {"namespace": "/chat"},
        {"to": None},
        {"to": ["red", "green"]},
        {"skip": []},
        {"except_rooms": []},
        {"ack": AckRequest("app1-bbbbbb", 5)},
        {"trace": b"t" * 25},
    ],
)
def test_whom_they_are_for_may_not(other: dict[str, object]) -> None:
    assert not go_together(EMIT, msgspec.structs.replace(EMIT, **other))
    assert not go_together(msgspec.structs.replace(EMIT, **other), EMIT)
