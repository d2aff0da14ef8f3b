"""What a client shows when it comes back: its pid, and the offset of the last message that it has.

    pid      SID~SECRET     `io1-k3x7q2.Jf8sK...~Uq3...`    SECRET: 128 bits, URL-safe. Redis has its SHA-256 only
    offset   PLACE          `AZHf...`                       where in the home's inbox the message stands, URL-safe

Both are Socket.IO's own ("connection state recovery"). The pid comes with the server's CONNECT, the offset as the last
argument of each event, and the client gives back both in its next CONNECT. Pure.
"""

import base64
import hashlib
import hmac
import re
from typing import NamedTuple

from sio_cluster.protocol.ids import RandomBytes, node_of

_PID = re.compile(r"([^~]{1,64})~([A-Za-z0-9_-]{22})")
_SECRET_BYTES = 16
_OFFSET = re.compile(r"[A-Za-z0-9_-]{16}")


class Position(NamedTuple):
    """A place in a home's log. `ms`, `number`: the entry's id. `command`: which command of the entry, from 0."""

    ms: int
    number: int
    command: int


START = Position(0, 0, 0)


class Pid(NamedTuple):
    """What a pid says. `hash` is what Redis knows of its secret."""

    sid: str
    hash: bytes


def new_secret(random_bytes: RandomBytes) -> str:
    """The secret part of a fresh pid."""
    return base64.urlsafe_b64encode(random_bytes(_SECRET_BYTES)).rstrip(b"=").decode()


def pid_of(sid: str, secret: str) -> str:
    """The pid of this client."""
    return f"{sid}~{secret}"


def hash_of(secret: str) -> bytes:
    """What Redis knows of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def parse_pid(pid: object) -> Pid | None:
    """What a client's pid says. None for anything that cannot be one: any type, any length."""
    match = _PID.fullmatch(pid) if isinstance(pid, str) and len(pid) < 100 else None
    if match is None or node_of(match[1]) is None:
        return None
    return Pid(match[1], hash_of(match[2]))


def is_same(known: bytes, shown: bytes) -> bool:
    """Whether two hashes are the same, compared in constant time. Two empty ones are not."""
    return bool(known) and hmac.compare_digest(known, shown)


def position_of(entry_id: bytes, command: int) -> Position:
    """The place of a command: the id of its entry (b"1690-0"), and its number there, from 0."""
    milliseconds, _, number = entry_id.partition(b"-")
    return Position(int(milliseconds), int(number), command)


def pack(ms: int, number: int, command: int) -> int:
    """A place in one number, for up to 2**24 entries in a millisecond, of 2**24 commands each."""
    return (ms << 48) + (number << 24) + command


def unpack(packed: int) -> Position:
    """The place that `pack` was given."""
    return Position(packed >> 48, packed >> 24 & 0xFFFFFF, packed & 0xFFFFFF)


def encode_offset(position: Position) -> bytes:
    """The offset of a message: 16 characters."""
    return base64.urlsafe_b64encode(pack(*position).to_bytes(12, "big"))


def parse_offset(offset: object) -> Position | None:
    """The place that a client's offset says. None for anything that cannot be one: any type, any length."""
    if not isinstance(offset, str) or not _OFFSET.fullmatch(offset):
        return None
    return unpack(int.from_bytes(base64.urlsafe_b64decode(offset), "big"))
