"""What must be atomic, in Lua. Each script touches keys of one hash tag only, and may be repeated without harm.

A stream's state is a hash beside it:

    bytes      how many bytes of entries the stream holds
    NODE       the last sequence number that this node appended
    NODE:bar   how often this node was barred
    reader     the mark of the inbox's reader: while it is there, this is the inbox that the reader knows
    trimmed    the last id that the inbox's reader has trimmed

A Redis that is out of memory refuses writes that need memory. But readers must still remove what they have read, and an
app-node must still take over from a dead one, since nothing else frees memory. Redis lets a script go on once its
first write is one that needs no memory. So such a script begins with one: XDEL, XTRIM, PERSIST, or HDEL of a field
that does not exist.
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


# Gives back the bytes of entries that were removed. An empty stream holds 0 bytes, whatever was counted.
_GIVE_BACK = """
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
_HOLDS = """
local function holds(lease, node, token)
  local now = redis.call('HMGET', lease, 'holder', 'token')
  return now[1] == node and now[2] == token
end
"""

# The first entries from one id to another ("(ID": behind it), at most `count`, and at most `max_bytes` unless the first
# one is larger. They are read one by one: a read of several may bring any number of bytes. Returns the entries, and the
# one that comes next if there is any.
_PAGE = """
local function page(stream, from, to, count, max_bytes)
  local entries, bytes = {}, 0
  local next = redis.call('XRANGE', stream, from, to, 'COUNT', 1)[1]
  while next and #entries < count do
    bytes = bytes + #next[2][2]
    if bytes > max_bytes and #entries > 0 then break end
    entries[#entries + 1] = next
    next = redis.call('XRANGE', stream, '(' .. next[1], to, 'COUNT', 1)[1]
  end
  return entries, next
end
"""

# KEYS stream, state; ARGV node, seq, entry, max_bytes, ttl_ms (0: no expiry), bar, urgent (1: even if Redis is full).
# Returns 0 appended, 1 duplicate, 2 the stream is full, 3 the node was barred more often than it knows.
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

# KEYS state; ARGV node, ttl_ms. What this node has made until now is not appended any more: see api.Leases.bar_former.
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

# KEYS inbox, state; ARGV last id read, the id after it, bytes read. Trimming the same id again does nothing.
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

# KEYS state; ARGV node, seq, node, seq... Forgets those whose last sequence number is still this one.
FORGET_SILENT = _script("""
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return 1
""")

# KEYS lease, token, uplink, holders, takeovers; ARGV node, lease_ms. Returns the token, or nil while another node holds
# the lane.
#
# The lane has one consumer group. It bears the node id of the holder, and keeps the position up to which entries were
# given out. Taking the lane over replaces the group by one with the new node id, at the same position. So a former
# holder that does not know yet reads nothing more, and a read of its that is blocked in Redis ends. Otherwise it would
# be given entries that the new holder then never sees.
#
# A takeover counts if a former holder (`last`) had claimed the lane and did not release it: it died, or it stood still
# for longer than its lease. Who acquires its own lane again lives, so that is none. `once` is the position at the last
# takeover that counted, `twice` the one at the takeover before. So an entry up to `once` that is still there was taken
# over unfinished at least once, and one up to `twice` at least twice. A former holder that was still claiming was given
# the entries up to `given` only. Those behind it are as they were. `api.lanes.Counted.taken_over` has the same in Python.
ACQUIRE = _script("""
local function is_later(a, b)
  local a_ms, a_number = string.match(a, '(%d+)-(%d+)')
  local b_ms, b_number = string.match(b, '(%d+)-(%d+)')
  if a_ms == b_ms then return tonumber(a_number) > tonumber(b_number) end
  return tonumber(a_ms) > tonumber(b_ms)
end
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
local past = redis.call('HMGET', KEYS[5], 'last', 'given', 'once', 'twice')
if past[1] and past[1] ~= ARGV[1] then
  local given, once, twice = past[2] or position, past[3] or '0-0', past[4] or '0-0'
  local again = is_later(once, given) and given or once
  if is_later(again, twice) then twice = again end
  if is_later(given, once) then once = given end
  redis.call('HSET', KEYS[5], 'once', once, 'twice', twice)
  redis.call('HDEL', KEYS[5], 'last', 'given')
end
local token = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'token', token, 'position', position)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SADD', KEYS[4], ARGV[1])
return token
""")

# KEYS lease, uplink, takeovers; ARGV node, count, max_bytes; for the second page and those after it, the last id of the
# page before, and the token. Returns the position, the token, the counts of takeovers, a page of what stands up to the
# position, and whether there is more (0 or 1); nil where the lane is not ours.
CLAIM = _script(
    _PAGE
    + """
local now = redis.call('HMGET', KEYS[1], 'holder', 'position', 'token')
if now[1] ~= ARGV[1] or (ARGV[5] and ARGV[5] ~= now[3]) then return false end
local from = ARGV[4] and '(' .. ARGV[4] or '-'
local entries, next = page(KEYS[2], from, now[2], tonumber(ARGV[2]), tonumber(ARGV[3]))
redis.call('HDEL', KEYS[3], '')
redis.call('HSET', KEYS[3], 'last', ARGV[1])
if next then
  redis.call('HSET', KEYS[3], 'given', entries[#entries][1])
else
  redis.call('HDEL', KEYS[3], 'given')
end
local counts = redis.call('HMGET', KEYS[3], 'once', 'twice')
return {now[2], now[3], counts[1] or '0-0', counts[2] or '0-0', entries, next and 1 or 0}
"""
)

# KEYS uplink; ARGV where to begin, count, max_bytes
PEEK = _script(
    _PAGE
    + """
return (page(KEYS[1], ARGV[1], '+', tonumber(ARGV[2]), tonumber(ARGV[3])))
"""
)

# KEYS lease; ARGV node, token, lease_ms. Returns 1 while the lease is ours.
RENEW = _script(
    _HOLDS
    + """
if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[3])
"""
)

# KEYS lease, holders, takeovers; ARGV node, token, settled (1: all that this lease has caused is in Redis)
RELEASE = _script(
    _HOLDS
    + """
if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
if ARGV[3] == '1' then redis.call('SREM', KEYS[2], ARGV[1]) end
redis.call('HDEL', KEYS[3], 'last', 'given')
return redis.call('DEL', KEYS[1])
"""
)

# KEYS lease, holders; ARGV node, token, then the former holders that are barred now
BARRED = _script(
    _HOLDS
    + """
if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
return redis.call('SREM', KEYS[2], unpack(ARGV, 3))
"""
)

# KEYS uplink, state, lease; ARGV node, token, bytes, ids... Returns how many were there, -1 for a lost lease.
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

# KEYS uplink, state, lease, quarantine, its state; ARGV node, token, id, bytes, parts... Moves the entry into the
# quarantine, as one entry for each part. Returns -1 for a lost lease, 0 if it was moved before.
QUARANTINE = _script(
    _GIVE_BACK
    + _HOLDS
    + """
if not holds(KEYS[3], ARGV[1], ARGV[2]) then return -1 end
if redis.call('XDEL', KEYS[1], ARGV[3]) == 0 then return 0 end
give_back(KEYS[1], KEYS[2], ARGV[4])
local bytes = 0
for i = 5, #ARGV do
  redis.call('XADD', KEYS[4], '*', 'b', ARGV[i])
  bytes = bytes + #ARGV[i]
end
redis.call('HINCRBY', KEYS[5], 'bytes', bytes)
return 1
"""
)

# KEYS uplink, state, lease, dead; ARGV node, token, id, entry, why, most dead letters, redelivered (1: its facts may
# have been handled). Returns -1 for a lost lease, 0 if it was moved before, else 1, and 1 more for each older dead
# letter that went for good.
SET_ASIDE = _script(
    _GIVE_BACK
    + _HOLDS
    + """
if not holds(KEYS[3], ARGV[1], ARGV[2]) then return -1 end
if redis.call('XDEL', KEYS[1], ARGV[3]) == 0 then return 0 end
give_back(KEYS[1], KEYS[2], #ARGV[4])
local before = redis.call('XLEN', KEYS[4])
redis.call('XADD', KEYS[4], 'MAXLEN', ARGV[6], '*', 'b', ARGV[4], 'why', ARGV[5], 'id', ARGV[3], 'again', ARGV[7])
return 2 + before - redis.call('XLEN', KEYS[4])
"""
)

# KEYS dead, uplink, state; ARGV id. Returns 0 where the dead letter is gone. Facts that may have been handled before
# say so again: their entry has a second field.
REQUEUE = _script("""
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])[1]
if not found then return 0 end
local fields = {}
for i = 1, #found[2], 2 do fields[found[2][i]] = found[2][i + 1] end
if fields['again'] == '1' then
  redis.call('XADD', KEYS[2], '*', 'b', fields['b'], 'again', 1)
else
  redis.call('XADD', KEYS[2], '*', 'b', fields['b'])
end
redis.call('HINCRBY', KEYS[3], 'bytes', #fields['b'])
redis.call('XDEL', KEYS[1], ARGV[1])
return 1
""")

# A change of a client's record may be made on behalf of a lease. Then it comes with that lease's key, node and token,
# and has no effect (-1) where the lease is lost. A full Redis takes such changes, with a lease or without: a lane entry
# is removed only after the changes that it has caused are written.
_FENCED = (
    _HOLDS
    + """
local function fenced(lease, node, token)
  return lease and not holds(lease, node, token)
end
"""
)

# KEYS client, lease?; ARGV field, value, node?, token?. Returns 0 where the client is gone.
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

# KEYS client, rooms, members of the room, lease?; ARGV sid, namespace, room, node?, token?.
# Returns 0 where the client is gone, or belongs to another namespace.
JOIN = _script(
    _FENCED
    + """
if fenced(KEYS[4], ARGV[4], ARGV[5]) then return -1 end
redis.call('HDEL', KEYS[1], '')
if redis.call('HGET', KEYS[1], 'namespace') ~= ARGV[2] then return 0 end
redis.call('SADD', KEYS[2], ARGV[3])
redis.call('SADD', KEYS[3], ARGV[1])
return 1
"""
)

# The client's namespace is in its record, so the key with the members of a room is made in here. `members` is how all
# such keys of the lane begin. They have the hash tag of the record.

# KEYS client, rooms, lease?; ARGV sid, members, room, node?, token?. Returns 0 where the client is gone.
LEAVE = _script(
    _FENCED
    + """
if fenced(KEYS[3], ARGV[4], ARGV[5]) then return -1 end
redis.call('SREM', KEYS[2], ARGV[3])
local namespace = redis.call('HGET', KEYS[1], 'namespace')
if not namespace then return 0 end
redis.call('SREM', ARGV[2] .. namespace .. ':' .. ARGV[3], ARGV[1])
return 1
"""
)

# KEYS members of the room, lease?; ARGV how the keys with the rooms of a client begin, room, node?, token?
CLOSE_ROOM = _script(
    _FENCED
    + """
if fenced(KEYS[2], ARGV[3], ARGV[4]) then return -1 end
for _, sid in ipairs(redis.call('SMEMBERS', KEYS[1])) do redis.call('SREM', ARGV[1] .. sid, ARGV[2]) end
redis.call('UNLINK', KEYS[1])
return 1
"""
)

# KEYS client, rooms, lease?; ARGV sid, members, node?, token?
FORGET = _script(
    _FENCED
    + """
if fenced(KEYS[3], ARGV[3], ARGV[4]) then return -1 end
local namespace = redis.call('HGET', KEYS[1], 'namespace')
for _, room in ipairs(redis.call('SMEMBERS', KEYS[2])) do
  redis.call('SREM', ARGV[2] .. namespace .. ':' .. room, ARGV[1])
end
return redis.call('UNLINK', KEYS[1], KEYS[2])
"""
)

ALL = (
    APPEND, BAR, REGISTER, HEARTBEAT, NEXT_EPOCH, TRIM, FORGET_SILENT, ACQUIRE, CLAIM, PEEK, RENEW, RELEASE, BARRED,
    COMMIT, QUARANTINE, SET_ASIDE, REQUEUE, SET_FIELD, JOIN, LEAVE, CLOSE_ROOM, FORGET,
)  # fmt: skip
