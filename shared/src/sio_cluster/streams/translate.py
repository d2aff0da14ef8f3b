"""The one place that knows redis' errors. Everything behind it sees `BusUnavailable` and `BusRefused` alone."""

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    InvalidResponse,
    NoScriptError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TimeoutError,
    TryAgainError,
)

from sio_cluster.protocol.errors import BusError, BusRefused, BusUnavailable


class NoScript(BusRefused):
    """The script is not loaded (Redis restarted, or SCRIPT FLUSH). Nothing has happened."""


class NoGroup(BusRefused):
    """A stream has no group of this name (any more)."""


class ReadOnly(BusRefused):
    """This server is a replica by now: connect anew, where the address may lead to the new master."""


class NoKey(BusRefused):
    """The key does not exist, where the command needs it."""


_UNAVAILABLE_CODES = frozenset({"LOADING", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY"})
_NO_GROUP_CODES = frozenset({"NOGROUP", "UNBLOCKED"})  # UNBLOCKED: the group went away under a blocked read


def translate(error: Exception) -> BusError:
    """What a redis error, a socket error or a time-out means to the callers of the bus."""
    match error:
        case AuthenticationError() | AuthorizationError():
            return BusRefused(f"Redis refused the log-in: {error}")
        case NoScriptError():
            return NoScript(str(error))
        case ReadOnlyError():
            return ReadOnly(f"Redis refused: {error}")
        case BusyLoadingError() | ClusterDownError() | TryAgainError():  # MASTERDOWN is a ClusterDownError
            return BusUnavailable(f"Redis is not ready: {error}")
        case ResponseError():
            return _refusal(error)
        case ConnectionError() | TimeoutError() | InvalidResponse() | OSError():
            return BusUnavailable(f"no answer from Redis: {error}" if str(error) else "no answer from Redis in time")
        case RedisError():
            return BusRefused(f"{type(error).__name__}: {error}")
        case _:
            raise error


def _refusal(error: ResponseError) -> BusError:
    """By the code that begins each error of Redis, as redis-py names no class for these."""
    text = str(error)
    code = text.partition(" ")[0]
    if code in _UNAVAILABLE_CODES:
        return BusUnavailable(f"Redis is not ready: {text}")
    if code in _NO_GROUP_CODES:
        return NoGroup(text)
    if text == "ERR no such key" or text == "no such key":
        return NoKey(text)
    return BusRefused(f"Redis refused: {text}")
