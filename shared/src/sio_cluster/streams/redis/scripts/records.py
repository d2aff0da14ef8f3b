"""Records of clients, and the room index.

A change may be made on behalf of a lease. Then it comes with that lease's key, node and token, and has no effect (-1)
where the lease is lost. A full Redis takes such changes, with a lease or without: a lane entry is removed only after
the changes that it has caused are written.

Again: nothing changes. Each of them sets, adds or removes what may be so already.
"""

from sio_cluster.streams.redis.scripts.script import HOLDS, NOW, script

FENCED = (
    HOLDS
    + """
local function fenced(lease, node, token)
  return lease and not holds(lease, node, token)
end
"""
)

# The room index: `room:` has everybody who is in a room, `here:` who is connected, and `counts:` how many of these are
# in each room. A client is connected if its record says `accepted`, and not `away`. `lane` is how all keys of the
# client's lane begin. The client's namespace may stand in its record only, so keys with a namespace are made in here.
# They have the hash tag of the record.
LESS = """
local function less(lane, namespace, room)
  local counts = lane .. 'counts:' .. namespace
  if redis.call('HINCRBY', counts, room, -1) < 1 then redis.call('HDEL', counts, room) end
end
"""

COMES = """
local function comes(lane, namespace, sid, rooms)
  if redis.call('ZADD', lane .. 'here:' .. namespace, 0, sid) == 0 then return end
  for _, room in ipairs(redis.call('SMEMBERS', rooms)) do
    redis.call('HINCRBY', lane .. 'counts:' .. namespace, room, 1)
  end
end
"""

GOES = (
    LESS
    + """
local function goes(lane, namespace, sid, rooms)
  if redis.call('ZREM', lane .. 'here:' .. namespace, sid) == 0 then return end
  for _, room in ipairs(redis.call('SMEMBERS', rooms)) do less(lane, namespace, room) end
end
"""
)

# What clients show in rooms: `metas:` has it for each room, `shown:` says in which rooms a client shows something,
# `leaving:` when that ends for those who have lost their connections, and `news:` what the rooms have not been told.
# A record has the field `linger` if its client has ever shown something.
HIDES = """
local function hides(lane, sid, place)
  redis.call('SREM', lane .. 'shown:' .. sid, place)
  local meta = redis.call('HGET', lane .. 'metas:' .. place, sid)
  if not meta then return end
  redis.call('HDEL', lane .. 'metas:' .. place, sid)
  redis.call('XADD', lane .. 'news', '*', '-', meta)
end
local function hides_all(lane, sid)
  redis.call('ZREM', lane .. 'leaving', sid)
  for _, place in ipairs(redis.call('SMEMBERS', lane .. 'shown:' .. sid)) do hides(lane, sid, place) end
end
"""

# KEYS client, lease?; ARGV field, value, node?, token?. Returns 0 where the client is gone.
SET_FIELD = script(
    FENCED
    + """
if fenced(KEYS[2], ARGV[3], ARGV[4]) then return -1 end
redis.call('HDEL', KEYS[1], '')
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
"""
)

# KEYS client, rooms, lease?; ARGV sid, lane, generation, node?, token?. Returns 0 where the client is gone.
ACCEPT = script(
    FENCED
    + COMES
    + """
if fenced(KEYS[3], ARGV[4], ARGV[5]) then return -1 end
redis.call('HDEL', KEYS[1], '')
local known = redis.call('HMGET', KEYS[1], 'namespace', 'away')
if not known[1] then return 0 end
redis.call('HSET', KEYS[1], 'accepted', 1, 'let_in', ARGV[3])
if not known[2] then comes(ARGV[2], known[1], ARGV[1], KEYS[2]) end
return 1
"""
)

# KEYS client, lease?; ARGV transport, generation, node?, token?.
# Returns 0 where the client is gone, or the record is of a later generation.
UPGRADE = script(
    FENCED
    + """
if fenced(KEYS[2], ARGV[3], ARGV[4]) then return -1 end
redis.call('HDEL', KEYS[1], '')
local known = redis.call('HMGET', KEYS[1], 'connected', 'generation')
if not known[1] or tonumber(known[2] or 0) > tonumber(ARGV[2]) then return 0 end
redis.call('HSET', KEYS[1], 'transport', ARGV[1])
return 1
"""
)

# KEYS client, rooms, lease?; ARGV sid, lane, namespace, room, node?, token?.
# Returns 0 where the client is gone, or belongs to another namespace.
JOIN = script(
    FENCED
    + """
if fenced(KEYS[3], ARGV[5], ARGV[6]) then return -1 end
local lane, namespace, room = ARGV[2], ARGV[3], ARGV[4]
redis.call('HDEL', KEYS[1], '')
local known = redis.call('HMGET', KEYS[1], 'namespace', 'accepted', 'away')
if known[1] ~= namespace then return 0 end
redis.call('SADD', KEYS[2], room)
local is_new = redis.call('SADD', lane .. 'room:' .. namespace .. ':' .. room, ARGV[1]) == 1
if is_new and known[2] == '1' and not known[3] then redis.call('HINCRBY', lane .. 'counts:' .. namespace, room, 1) end
return 1
"""
)

# KEYS client, rooms, lease?; ARGV sid, lane, namespace, room, node?, token?.
# Returns 0 where the client is gone, or belongs to another namespace.
LEAVE = script(
    FENCED
    + LESS
    + HIDES
    + """
if fenced(KEYS[3], ARGV[5], ARGV[6]) then return -1 end
local lane, namespace, room = ARGV[2], ARGV[3], ARGV[4]
local known = redis.call('HMGET', KEYS[1], 'namespace', 'accepted', 'away', 'linger')
if known[1] ~= namespace then return 0 end
redis.call('SREM', KEYS[2], room)
if known[4] then hides(lane, ARGV[1], namespace .. ':' .. room) end
local was_in = redis.call('SREM', lane .. 'room:' .. namespace .. ':' .. room, ARGV[1]) == 1
if was_in and known[2] == '1' and not known[3] then less(lane, namespace, room) end
return 1
"""
)

# KEYS client; ARGV generation, how it connected, namespace, transport, holder, SHA-256 of its pid's secret. Returns 0
# where the record is of a later generation, and stays. Else the record keeps what it has gained, and its pid.
STORE = script(
    NOW
    + """
local known = redis.call('HMGET', KEYS[1], 'generation', 'connected')
if known[1] and tonumber(known[1]) > tonumber(ARGV[1]) then return 0 end
redis.call(
  'HSET', KEYS[1], 'connected', ARGV[2], 'namespace', ARGV[3], 'transport', ARGV[4], 'holder', ARGV[5],
  'generation', ARGV[1]
)
if known[2] then
  redis.call('HSETNX', KEYS[1], 'pid', ARGV[6])
else
  redis.call('HSET', KEYS[1], 'pid', ARGV[6], 'connected_at', now())
end
return 1
"""
)

_REMOVE = (
    GOES
    + HIDES
    + """
local function remove(client, rooms, sid, lane)
  local known = redis.call('HMGET', client, 'namespace', 'linger')
  local namespace = known[1]
  if known[2] or not namespace then hides_all(lane, sid) end
  if namespace then
    local was_here = redis.call('ZREM', lane .. 'here:' .. namespace, sid) == 1
    for _, room in ipairs(redis.call('SMEMBERS', rooms)) do
      redis.call('SREM', lane .. 'room:' .. namespace .. ':' .. room, sid)
      if was_here then less(lane, namespace, room) end
    end
  end
  redis.call('UNLINK', client, rooms)
end
"""
)

# KEYS client, rooms, lease?; ARGV sid, lane, home, generation, keep_ms (0: it is gone for good), for how long the
# record stays then in ms, why the application is told later ("": it has been told), node?, token?. Returns -2 where the
# record is of a later generation, "" where it is gone, else who held the client.
# Again, with keep_ms: its time begins anew.
FORGET = script(
    FENCED
    + NOW
    + _REMOVE
    + """
if fenced(KEYS[3], ARGV[8], ARGV[9]) then return -1 end
local known = redis.call('HMGET', KEYS[1], 'generation', 'holder', 'let_in', 'connected', 'namespace', 'linger')
if not known[4] then
  remove(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
  return ''
end
local ended = tonumber(ARGV[4])
local untold = (known[3] or '') == '' and '' or ARGV[7]
redis.call('HDEL', KEYS[1], '')
if untold == '' and known[3] ~= '' and tonumber(known[3] or 0) <= ended then
  redis.call('HSET', KEYS[1], 'let_in', '')
end
if tonumber(known[1] or 0) > ended then return -2 end
if ARGV[5] == '0' then
  remove(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
else
  goes(ARGV[2], known[5], ARGV[1], KEYS[2])
  redis.call('HSET', KEYS[1], 'away', now() + ARGV[5], 'untold', untold)
  if known[6] then redis.call('ZADD', ARGV[2] .. 'leaving', now() + math.min(known[6], ARGV[5]), ARGV[1]) end
  for i = 1, 2 do
    if untold == '' then redis.call('PEXPIRE', KEYS[i], ARGV[6]) else redis.call('PERSIST', KEYS[i]) end
  end
end
return known[2] or ARGV[3]
"""
)

# KEYS client, rooms; ARGV sid, lane, home. Removes a client that is away and whose time is over. Returns "gone",
# "here" where its home holds it, "+inf" where another io-node does, "-inf" where the application must be told first, or
# when its time ends.
SWEEP = script(
    NOW
    + _REMOVE
    + """
local known = redis.call('HMGET', KEYS[1], 'connected', 'away', 'holder', 'untold')
if known[1] and not known[2] then return (known[3] or ARGV[3]) == ARGV[3] and 'here' or '+inf' end
if known[1] and tonumber(known[2]) > now() then return known[2] end
if known[1] and known[4] and known[4] ~= '' then return '-inf' end
remove(KEYS[1], KEYS[2], ARGV[1], ARGV[2])
return 'gone'
"""
)

# KEYS client, rooms; ARGV namespace, SHA-256 of the secret that was shown, who claims it, its home, sid, lane. Returns
# why not (see `api.records.ClaimRefused`), or how the client connected last, its new generation, and who held it ("":
# it was away).
# Again: another generation.
CLAIM_SESSION = script(
    NOW
    + COMES
    + """
local known = redis.call(
  'HMGET', KEYS[1], 'connected', 'namespace', 'pid', 'accepted', 'away', 'generation', 'holder'
)
if not known[1] or (known[5] and tonumber(known[5]) <= now()) then return 'gone' end
if not known[3] or known[3] == '' then return 'gone' end
if known[2] ~= ARGV[1] or known[3] ~= ARGV[2] then return 'wrong' end
if known[4] ~= '1' then return 'pending' end
redis.call('HDEL', KEYS[1], 'away', 'untold')
redis.call('ZREM', ARGV[6] .. 'leaving', ARGV[5])
redis.call('PERSIST', KEYS[1])
redis.call('PERSIST', KEYS[2])
local generation = tonumber(known[6] or 0) + 1
redis.call('HSET', KEYS[1], 'generation', generation, 'holder', ARGV[3], 'connected_at', now())
comes(ARGV[6], ARGV[1], ARGV[5], KEYS[2])
return {known[1], generation, known[5] and '' or known[7] or ARGV[4]}
"""
)

# KEYS client; ARGV generation. Nobody may claim it any more, unless it is of a later generation. Again: the same.
RENOUNCE = script("""
local known = redis.call('HMGET', KEYS[1], 'connected', 'generation')
if not known[1] or tonumber(known[2] or 0) > tonumber(ARGV[1]) then return 0 end
redis.call('HDEL', KEYS[1], '')
redis.call('HSET', KEYS[1], 'pid', '')
return 1
""")
