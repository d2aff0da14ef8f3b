"""A script, and the Lua that several of them have in common."""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Script:
    """Lua source and its SHA-1, by which EVALSHA calls it."""

    source: str
    sha: bytes


def script(source: str) -> Script:
    """The script of this source."""
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest().encode())


# Gives back the bytes of entries that were removed. An empty stream holds 0 bytes, whatever was counted.
GIVE_BACK = """
local function give_back(stream, state, bytes)
  if redis.call('XLEN', stream) == 0 then
    redis.call('HSET', state, 'bytes', 0)
  elseif redis.call('HINCRBY', state, 'bytes', -bytes) < 0 then
    redis.call('HSET', state, 'bytes', 0)
  end
end
"""

# Whether the lease is that of this node and token. The token alone does not do: a Redis that lost its data counts
# tokens from 1 again.
HOLDS = """
local function holds(lease, node, token)
  local now = redis.call('HMGET', lease, 'holder', 'token')
  return now[1] == node and now[2] == token
end
"""
