"""What must be atomic, in Lua. Every script touches keys of one hash tag, and bears to be repeated.

A stream's state is a hash: `bytes`, what the stream holds; `trimmed`, the last id that the reader of an inbox trimmed;
`reader`, the mark of that reader; and, by its node id, the last sequence number of each sender, and `ID:bar`, how often
that sender was barred.

A Redis that is out of memory must still let readers remove what they have read, and an app-node take over from a dead
one, since nothing else frees memory: such a script begins with a write that Redis allows then (XDEL, XTRIM, HDEL of no
field, PERSIST), after which it allows all others.
"""

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Script:
    """Lua source and its SHA-1, by which EVALSHA calls it."""

    source: str
    sha: bytes


def _script(source: str) -> Script:
    return Script(source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest().encode())


# Removing entries: gives bytes back, and begins anew at zero whenever the stream is empty.
_GIVE_BACK = """
local function give_back(stream, state, bytes)
  if redis.call('XLEN', stream) == 0 then
    redis.call('HSET', state, 'bytes', 0)
  elseif redis.call('HINCRBY', state, 'bytes', -bytes) < 0 then
    redis.call('HSET', state, 'bytes', 0)
  end
end
"""

# Whether the lease is that of this holder and token. The holder counts too: a Redis that lost its data counts its
# tokens from 1 again.
_HOLDS = """
local function holds(lease, holder, token)
  local now = redis.call('HMGET', lease, 'holder', 'token')
  return now[1] == holder and now[2] == token
end
"""

# KEYS stream, state; ARGV sender, seq, entry, max_bytes, ttl_ms (0: for ever), bar, urgent (1: also into a full Redis).
# 0 appended, 1 duplicate, 2 full, 3 barred: more often than the sender knows
APPEND = _script("""
local state = redis.call('HMGET', KEYS[2], ARGV[1], 'bytes', ARGV[1] .. ':bar')
if state[1] and tonumber(ARGV[2]) <= tonumber(state[1]) then return 1 end
if (state[3] or '0') ~= ARGV[6] then return 3 end
local held = tonumber(state[2] or 0)
local size = #ARGV[3]
if held > 0 and held + size > tonumber(ARGV[4]) then return 2 end
if ARGV[7] == '1' then redis.call('HDEL', KEYS[2], '') end
redis.call('XADD', KEYS[1], '*', 'b', ARGV[3])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2], 'bytes', held + size)
if not state[2] and ARGV[5] ~= '0' then
  redis.call('PEXPIRE', KEYS[1], ARGV[5])
  redis.call('PEXPIRE', KEYS[2], ARGV[5])
end
return 0
""")

# KEYS state; ARGV sender, ttl_ms. What this sender has made until now is not appended any more: see Leases.bar_former.
BAR = _script("""
redis.call('HDEL', KEYS[1], '')
redis.call('HINCRBY', KEYS[1], ARGV[1] .. ':bar', 1)
if redis.call('PTTL', KEYS[1]) == -1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 1
""")

# KEYS nodes; ARGV node, info
REGISTER = _script("""
redis.call('HDEL', KEYS[1], '')
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
""")

# KEYS alive; ARGV ttl_ms
HEARTBEAT = _script("""
redis.call('DEL', KEYS[1])
return redis.call('SET', KEYS[1], 1, 'PX', ARGV[1])
""")

# KEYS epoch
NEXT_EPOCH = _script("""
redis.call('PERSIST', KEYS[1])
return redis.call('INCR', KEYS[1])
""")

# KEYS inbox, state; ARGV last id read, the id after it, bytes read. A repeated trim of the same id does nothing.
TRIM = _script(
    _GIVE_BACK
    + """
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HGET', KEYS[2], 'trimmed') == ARGV[1] then return 0 end
redis.call('XTRIM', KEYS[1], 'MINID', '=', ARGV[2])
redis.call('HSET', KEYS[2], 'trimmed', ARGV[1])
give_back(KEYS[1], KEYS[2], ARGV[3])
return 1
"""
)

# KEYS lease, token, uplink, holders; ARGV holder, lease_ms. The token, or nil while another holds the lane.
#
# The stream's one consumer group bears its holder's name and keeps the position up to which entries were given out.
# Taking over renames it: a former holder that does not know yet can read nothing more, and a read of his that is
# blocked in Redis ends. Without that he would be given entries which the new holder then never sees.
ACQUIRE = _script("""
local current = redis.call('HGET', KEYS[1], 'holder')
if current and current ~= ARGV[1] then return false end
redis.call('PERSIST', KEYS[2])
local position = '0-0'
if redis.call('EXISTS', KEYS[3]) == 1 then
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[3])) do
    local fields = {}
    for i = 1, #group, 2 do fields[group[i]] = group[i + 1] end
    position = fields['last-delivered-id']
    redis.call('XGROUP', 'DESTROY', KEYS[3], fields['name'])
  end
end
redis.call('XGROUP', 'CREATE', KEYS[3], ARGV[1], position, 'MKSTREAM')
local token = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'token', token, 'position', position)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SADD', KEYS[4], ARGV[1])
return token
""")

# KEYS lease; ARGV holder, token, lease_ms. 1 while it is ours
RENEW = _script(
    _HOLDS
    + """
if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
"""
)

# KEYS lease, holders; ARGV holder, token, settled (1: all that its holding has caused is in Redis)
RELEASE = _script(
    _HOLDS
    + """
if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
if ARGV[3] == '1' then redis.call('SREM', KEYS[2], ARGV[1]) end
return redis.call('DEL', KEYS[1])
"""
)

# KEYS lease, holders; ARGV holder, token, former holders that are barred...
BARRED = _script(
    _HOLDS
    + """
if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
return redis.call('SREM', KEYS[2], unpack(ARGV, 3))
"""
)

# KEYS uplink, state, lease; ARGV holder, token, bytes, ids... How many were there, -1 where the lease is lost.
COMMIT = _script(
    _GIVE_BACK
    + _HOLDS
    + """
if not holds(KEYS[3], ARGV[1], ARGV[2]) then return -1 end
local gone = redis.call('XDEL', KEYS[1], unpack(ARGV, 4))
if gone > 0 then give_back(KEYS[1], KEYS[2], math.floor(ARGV[3] * gone / (#ARGV - 3))) end
return gone
"""
)

# KEYS uplink, state, lease, dead; ARGV holder, token, id, entry, why, most entries. -1 lease lost, 0 moved before, else
# moved: 1, and 1 more for each older one that went for good.
SET_ASIDE = _script(
    _GIVE_BACK
    + _HOLDS
    + """
if not holds(KEYS[3], ARGV[1], ARGV[2]) then return -1 end
if redis.call('XDEL', KEYS[1], ARGV[3]) == 0 then return 0 end
give_back(KEYS[1], KEYS[2], #ARGV[4])
local before = redis.call('XLEN', KEYS[4])
redis.call('XADD', KEYS[4], 'MAXLEN', ARGV[6], '*', 'b', ARGV[4], 'why', ARGV[5], 'id', ARGV[3])
return 2 + before - redis.call('XLEN', KEYS[4])
"""
)

# KEYS dead, uplink, state; ARGV id. 0 where it is gone.
REQUEUE = _script("""
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found then return 0 end
local entry
for i = 1, #found[2], 2 do if found[2][i] == 'b' then entry = found[2][i + 1] end end
redis.call('XADD', KEYS[2], '*', 'b', entry)
redis.call('HINCRBY', KEYS[3], 'bytes', #entry)
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
""")

# The record of a client may be changed by whoever holds its lane: a change on behalf of a lease comes with that lease's
# key, holder and token, and has no effect (-1) where the lease is lost. A full Redis takes it, with a lease or without:
# a lane entry waits for it, or for what waits behind it, and is removed only afterwards.
_FENCED = (
    _HOLDS
    + """
local function fenced(lease, holder, token)
  return lease and not holds(lease, holder, token)
end
"""
)

# KEYS client, lease?; ARGV field, value, holder?, token?. 0 where the client is gone.
SET_FIELD = _script(
    _FENCED
    + """
if fenced(KEYS[2], ARGV[3], ARGV[4]) then return -1 end
redis.call('HDEL', KEYS[1], '')
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""
)

# KEYS client, rooms, lease?; ARGV room, holder?, token?. 0 where the client is gone.
JOIN = _script(
    _FENCED
    + """
if fenced(KEYS[3], ARGV[2], ARGV[3]) then return -1 end
redis.call('HDEL', KEYS[1], '')
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('SADD', KEYS[2], ARGV[1])
return 1
"""
)

# KEYS rooms, lease?; ARGV room, holder?, token?
LEAVE = _script(
    _FENCED
    + """
if fenced(KEYS[2], ARGV[2], ARGV[3]) then return -1 end
return redis.call('SREM', KEYS[1], ARGV[1])
"""
)

# KEYS client, rooms, lease?; ARGV holder?, token?
FORGET = _script(
    _FENCED
    + """
if fenced(KEYS[3], ARGV[1], ARGV[2]) then return -1 end
return redis.call('UNLINK', KEYS[1], KEYS[2])
"""
)

ALL = (
    APPEND, BAR, REGISTER, HEARTBEAT, NEXT_EPOCH, TRIM,
    ACQUIRE, RENEW, RELEASE, BARRED, COMMIT, SET_ASIDE, REQUEUE, SET_FIELD, JOIN, LEAVE, FORGET,
)  # fmt: skip
