"""The message that is published: fixed-width fields, so that a receiver cuts it out of the packet and parses nothing.

    PPPPPPPP RRRRRRRR SSSSSSSS TTTTTTTTTTTTTTTT xxxx...     without the spaces
    publisher, room (0: broadcast), sequence from 0 per (publisher, room), the publisher's clock in us, padding

On the wire: `2/loadtest,["d","PPPPPPPPRRRR..."]` behind the Engine.IO type.
"""

EVENT = "d"
HEAD = 40
KEY = 16  # publisher and room


def pack(publisher: int, room: int, seq: int, at_us: int, size: int = HEAD) -> str:
    """`size` characters, but no fewer than the head has."""
    return f"{publisher:08d}{room:08d}{seq:08d}{at_us:016d}".ljust(size, "x")


def prefix(namespace: str) -> bytes:
    """What stands before the message in a packet."""
    return f'2{"" if namespace == "/" else namespace + ","}["{EVENT}","'.encode()


def key(publisher: int, room: int) -> bytes:
    return b"%08d%08d" % (publisher, room)


def room_in(stream_key: bytes) -> int:
    return int(stream_key[8:])


def publisher_in(stream_key: bytes) -> int:
    return int(stream_key[:8])
