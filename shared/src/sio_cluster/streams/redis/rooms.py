"""Rooms as they stand in sets: each as JSON, so that the rooms 42 and "42" differ."""

import msgspec

from sio_cluster.protocol.messages import Room

encode_room = msgspec.json.Encoder().encode
_decoder: msgspec.json.Decoder[Room] = msgspec.json.Decoder(str | int)


def decode_room(encoded: bytes) -> Room:
    """The room that this member of a set is."""
    return _decoder.decode(encoded)
