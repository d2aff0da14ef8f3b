"""Names of nodes and clients, and which lane a client belongs to.

    node id   NAME-BOOT        `io1-k3x7q2`            BOOT differs each time the process starts
    sid       NODE.RANDOM      `io1-k3x7q2.Jf8sK...`   RANDOM: 96 bits, URL-safe

The name alone routes a polling request to its io-node (nginx reads it out of the sid), the node id addresses the
inbox, the sid hashes to a lane. Randomness is passed in, so that this module stays pure.
"""

import base64
import hashlib
import re
import zlib
from collections.abc import Callable, Collection, Iterable

NAME_PATTERN = re.compile(r"[a-z0-9]{1,32}")
_NODE_PATTERN = re.compile(r"([a-z0-9]{1,32})-([a-z2-7]{6})")
_SID_PATTERN = re.compile(r"([a-z0-9]{1,32}-[a-z2-7]{6})\.([A-Za-z0-9_-]{16})")

RandomBytes = Callable[[int], bytes]


def new_node_id(name: str, random_bytes: RandomBytes) -> str:
    """A node id for one life of the node called `name` (lower-case letters and digits, at most 32)."""
    if not NAME_PATTERN.fullmatch(name):
        raise ValueError(f"node name {name!r} is not 1 to 32 lower-case letters and digits")
    boot = base64.b32encode(random_bytes(5)).decode().lower()[:6]
    return f"{name}-{boot}"


def new_sid(node_id: str, random_bytes: RandomBytes) -> str:
    """A fresh sid that belongs to this io-node. Used for Engine.IO and Socket.IO sids alike, never the same twice."""
    return f"{node_id}.{base64.urlsafe_b64encode(random_bytes(12)).decode()}"


def node_of(sid: str) -> str | None:
    """The id of the io-node that owns this sid, None if it is not a sid of this cluster's form."""
    match = _SID_PATTERN.fullmatch(sid)
    return match[1] if match else None


def name_of(node_id: str) -> str:
    """The node's name without its boot part."""
    match = _NODE_PATTERN.fullmatch(node_id)
    if match is None:
        raise ValueError(f"{node_id!r} is not a node id")
    return match[1]


def lane_of(sid: str, lanes: int) -> int:
    """The lane of this client: CRC-32 of its sid, modulo the number of lanes. Fixed for the life of the client."""
    return zlib.crc32(sid.encode()) % lanes


def quarantine_of(lane: int) -> int:
    """The number of this lane's quarantine, wherever a lane's number stands: -1 for lane 0, -2 for lane 1."""
    return ~lane


def is_quarantine(number: int) -> bool:
    """Whether this is the number of a quarantine, and not that of a lane."""
    return number < 0


def lane_behind(number: int) -> int:
    """The lane whose clients this number serves: the lane itself, or the one whose quarantine it is."""
    return ~number if number < 0 else number


def lane_owner(lane: int, app_nodes: Iterable[str]) -> str | None:
    """Which of these app-nodes this lane likes best: rendezvous hashing. None where there are none."""
    return max(app_nodes, key=lambda node: _liking(lane, node), default=None)


def lane_owners(lanes: int, app_nodes: Collection[str]) -> dict[int, str]:
    """Which app-node should hold which lane. {} where there are no app-nodes.

    All get equally many, or one more or less. Each lane goes to the node that it likes best and that has room for it.
    Who likes most chooses first. So a change of one node moves few lanes besides its own.
    """
    likings = sorted(((_liking(lane, node), lane) for lane in range(lanes) for node in app_nodes), reverse=True)
    room, one_more = divmod(lanes, max(1, len(app_nodes)))
    owners: dict[int, str] = {}
    held = dict.fromkeys(app_nodes, 0)
    for (_, node), lane in likings:
        if lane in owners or held[node] > room or (held[node] == room and not one_more):
            continue
        one_more -= held[node] == room
        held[node] += 1
        owners[lane] = node
    return owners


def _liking(lane: int, node: str) -> tuple[bytes, str]:
    return hashlib.blake2b(f"{lane}|{node}".encode(), digest_size=8).digest(), node
