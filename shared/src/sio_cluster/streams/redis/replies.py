"""The one place that knows Redis' errors: each error reply becomes an exception of the project's tree.

An error of Redis begins with a code in capitals (https://redis.io/docs/latest/develop/reference/protocol-spec/,
"Simple errors"). Nothing else of the cluster looks at an error's text.
"""

from sio_cluster.protocol.errors import BusError, BusRefused, BusUnavailable, RedisFull


class NoScript(BusRefused):
    """The script is not loaded (Redis restarted, or SCRIPT FLUSH). Nothing has happened."""


class NoGroup(BusRefused):
    """A stream has no group of this name (any more)."""


class NoKey(BusRefused):
    """The key does not exist, where the command needs it."""


class ReadOnly(BusRefused):
    """This server is a replica by now: connect anew, where the address may lead to the new master."""


_KINDS: dict[str, type[BusError]] = {
    "LOADING": BusUnavailable,
    "MASTERDOWN": BusUnavailable,
    "CLUSTERDOWN": BusUnavailable,
    "TRYAGAIN": BusUnavailable,
    "BUSY": BusUnavailable,  # a script of somebody else runs on and on
    "NOSCRIPT": NoScript,
    "NOGROUP": NoGroup,
    "UNBLOCKED": NoGroup,  # the stream went away under a blocked read
    "READONLY": ReadOnly,
    "OOM": RedisFull,
}
_NO_KEY = "ERR no such key"  # has no code of its own


def error_of(text: str) -> BusError:
    """What an error reply means to the callers of the bus: NOPERM, WRONGPASS and all others are BusRefused."""
    if text == _NO_KEY:
        return NoKey(text)
    kind = _KINDS.get(text.partition(" ")[0], BusRefused)
    return kind(f"Redis answered: {text}")
