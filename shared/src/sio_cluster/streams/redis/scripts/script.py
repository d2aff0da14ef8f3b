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
  local left = redis.call('HINCRBY', state, 'bytes', -bytes)
  if left < 0 or left > 0 and redis.call('XLEN', stream) == 0 then redis.call('HSET', state, 'bytes', 0) end
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

# Whether the id of one entry is behind that of another.
IS_LATER = """
local function is_later(a, b)
  local a_ms, a_number = string.match(a, '(%d+)-(%d+)')
  local b_ms, b_number = string.match(b, '(%d+)-(%d+)')
  if a_ms == b_ms then return tonumber(a_number) > tonumber(b_number) end
  return tonumber(a_ms) > tonumber(b_ms)
end
"""

# Redis' clock, in ms.
NOW = """
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
"""
