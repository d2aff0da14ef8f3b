"""The one place that knows Redis' errors: each error reply becomes an exception of the project's tree.

An error of Redis begins with a code in capitals (https://redis.io/docs/latest/develop/reference/protocol-spec/,
"Simple errors"). Nothing else of the cluster looks at an error's text.
"""

from sio_cluster.protocol.errors import AccessRefused, BusError, BusRefused, BusUnavailable, RedisFull


class NoScript(BusRefused):
    """The script is not loaded (Redis restarted, or SCRIPT FLUSH). Nothing has happened."""


class NoGroup(BusRefused):
    """A stream has no group of this name (any more)."""


class NoKey(BusRefused):
    """The key does not exist, and the command needs it."""


class ReadOnly(BusRefused):
    """This server has become a replica. Connect again: the address may lead to the new master by now."""


class MasterDown(BusUnavailable):
    """As `ReadOnly`, and the replica has lost its master."""


class OtherSlot(AccessRefused):
    """This is one server of a Redis Cluster, or the only one."""


REPLICA = (ReadOnly, MasterDown)

_KINDS: dict[str, type[BusError]] = {
    "LOADING": BusUnavailable,
    "MASTERDOWN": MasterDown,
    "CLUSTERDOWN": BusUnavailable,
    "TRYAGAIN": BusUnavailable,
    "BUSY": BusUnavailable,  # another client's script runs for too long
    "NOSCRIPT": NoScript,
    "NOGROUP": NoGroup,
    "UNBLOCKED": NoGroup,  # the stream went away under a blocked read
    "READONLY": ReadOnly,
    "OOM": RedisFull,
    "NOAUTH": AccessRefused,
    "WRONGPASS": AccessRefused,
    "NOPERM": AccessRefused,
    "DENIED": AccessRefused,  # protected mode: Redis has no password, and we come from another machine
    "MOVED": OtherSlot,
    "CROSSSLOT": OtherSlot,
}
# These errors have no code of their own.
_NO_KEY = "ERR no such key"
_TOO_MANY_CLIENTS = "ERR max number of clients"
_MAY_NOT_IN_SCRIPT = "ERR ACL failure in script"


def error_of(text: str) -> BusError:
    """What an error reply means to the callers of the bus. Those that are not named here are BusRefused."""
    if text == _NO_KEY:
        return NoKey(text)
    if text.startswith(_TOO_MANY_CLIENTS):
        return BusUnavailable(f"Redis answered: {text}")
    if text.startswith(_MAY_NOT_IN_SCRIPT):
        return AccessRefused(f"Redis answered: {text}")
    kind = _KINDS.get(text.partition(" ")[0], BusRefused)
    return kind(f"Redis answered: {text}")
