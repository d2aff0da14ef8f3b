"""Fields of a client's record, as they stand in Redis."""

import msgspec

from sio_cluster.protocol.messages import ClientConnected
from sio_cluster.streams.api.records import io_node_of

encode_connected = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(ClientConnected)


def holder_of(client: ClientConnected) -> str:
    """The io-node that holds its connection."""
    return client.holder or io_node_of(client.sid)


def decode_connected(encoded: bytes, holder: bytes | None, generation: bytes | int | None) -> ClientConnected:
    """How the client connected last, with its present holder and generation. Records of older releases have neither."""
    connected = _decoder.decode(encoded)
    if generation is None or connected.generation == int(generation):
        return connected
    home = io_node_of(connected.sid).encode()
    by = "" if holder is None or holder == home else holder.decode()
    return msgspec.structs.replace(connected, holder=by, generation=int(generation))


def decode_let_in(let_in: bytes | None, accepted: bytes | None) -> int | None:
    """The generation of the connection that the application has let in."""
    if let_in is None:  # a record of an older release
        return 0 if accepted == b"1" else None
    return int(let_in) if let_in else None
