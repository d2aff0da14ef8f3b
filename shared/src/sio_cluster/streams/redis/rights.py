"""What a node's user may do in Redis, and which commands that must allow."""

from sio_cluster.protocol.keys import Keys

RIGHTS = "+@read +@write +@scripting +time +ping +select +client|id +client|info +client|kill +client|unblock +info"
"""What a node's user may do in Redis, besides having the keys of its prefix."""

_ON_KEYS = (
    "DEL", "EXISTS", "GET", "HDEL", "HEXISTS", "HGET", "HGETALL", "HINCRBY", "HKEYS", "HLEN", "HMGET", "HSCAN", "HSET",
    "HSETNX", "HVALS", "INCR", "PERSIST", "PEXPIRE", "PTTL", "SADD", "SCARD", "SET", "SISMEMBER", "SMEMBERS",
    "SMISMEMBER", "SRANDMEMBER", "SREM", "SSCAN", "UNLINK", "XADD", "XDEL", "XLEN", "XRANGE", "XREVRANGE", "XTRIM",
    "ZADD", "ZCARD", "ZRANDMEMBER", "ZRANGE", "ZRANGEBYSCORE", "ZREM", "ZSCAN", "ZSCORE",
)  # fmt: skip
_ARGUMENTS = {
    "HINCRBY": ("field", 1), "HSCAN": (0,), "HSET": ("field", 1), "HSETNX": ("field", 1), "PEXPIRE": (1,), "SET": (1,),
    "SSCAN": (0,), "XADD": ("*", "field", 1), "XRANGE": ("-", "+"), "XREVRANGE": ("+", "-"), "XTRIM": ("MAXLEN", 1),
    "ZADD": (0, "member"), "ZRANGE": (0, 1), "ZRANGEBYSCORE": (0, 1), "ZSCAN": (0,),
    **dict.fromkeys(("HDEL", "HEXISTS", "HGET", "HMGET", "SADD", "SISMEMBER", "SMISMEMBER", "SREM", "XDEL", "ZREM",
                     "ZSCORE"), ("member",)),
}  # fmt: skip


def needed(keys: Keys) -> dict[str, tuple[str | int, ...]]:
    """Every command that nodes send, or that their scripts call: its name, and an example on a key of the cluster."""
    key = keys.config
    on_keys: dict[str, tuple[str | int, ...]] = {name: (name, key, *_ARGUMENTS.get(name, ())) for name in _ON_KEYS}
    return {
        **on_keys,
        "XREAD": ("XREAD", "STREAMS", key, "0"),
        "XREADGROUP": ("XREADGROUP", "GROUP", "group", "reader", "STREAMS", key, ">"),
        "XGROUP CREATE": ("XGROUP", "CREATE", key, "group", "0"),
        "XGROUP DESTROY": ("XGROUP", "DESTROY", key, "group"),
        "XINFO GROUPS": ("XINFO", "GROUPS", key),
        "XINFO STREAM": ("XINFO", "STREAM", key),
        "ZINTERCARD": ("ZINTERCARD", 1, key),
        "SCAN": ("SCAN", 0),
        "EVAL": ("EVAL", "return 1", 0),
        "EVALSHA": ("EVALSHA", "0" * 40, 0),
        "SCRIPT LOAD": ("SCRIPT", "LOAD", "return 1"),
        "TIME": ("TIME",),
        "PING": ("PING",),
        "SELECT": ("SELECT", 0),
        "CLIENT ID": ("CLIENT", "ID"),
        "CLIENT INFO": ("CLIENT", "INFO"),
        "CLIENT UNBLOCK": ("CLIENT", "UNBLOCK", 1),
    }


OPTIONAL: dict[str, tuple[str | int, ...]] = {
    "CLIENT KILL": ("CLIENT", "KILL", "ID", 1),
    "INFO": ("INFO", "memory"),
}
"""Commands without which a node runs, but worse: docs/operations.md says what follows."""
