"""The message that a publisher sends: fixed-width fields, so that a receiver cuts them out of the packet unparsed.

    PPPPPPPP RRRRRRRR SSSSSSSS TTTTTTTTTTTTTTTT xxxx...     without the spaces

P is the publisher, R the room (0: broadcast), S the sequence number, which counts from 0 for each pair of publisher and
room. T is the publisher's clock in microseconds. x fills the message up to its size.

On the wire, behind the type byte of Engine.IO: `2/loadtest,["d","PPPPPPPPRRRR..."]`.
"""

EVENT = "d"
HEAD = 40
KEY = 16  # publisher and room


def pack(publisher: int, room: int, seq: int, at_us: int, size: int = HEAD) -> str:
    """A message of `size` characters, or of 40 where `size` is smaller."""
    return f"{publisher:08d}{room:08d}{seq:08d}{at_us:016d}".ljust(size, "x")


def prefix(namespace: str) -> bytes:
    """The bytes of a packet before its message."""
    return f'2{"" if namespace == "/" else namespace + ","}["{EVENT}","'.encode()


def key(publisher: int, room: int) -> bytes:
    """The first 16 bytes of a message. They name a stream: one publisher in one room."""
    return b"%08d%08d" % (publisher, room)


def room_in(stream_key: bytes) -> int:
    return int(stream_key[8:])


def publisher_in(stream_key: bytes) -> int:
    return int(stream_key[:8])
