"""Homes: inboxes that are logs. Their horizon, the rooms there, and what happens when nobody reads them any more."""

from sio_cluster.streams.redis.scripts.script import IS_LATER, NOW, script

# KEYS state, rooms of the client at the horizon; ARGV the last id of which nothing was said to the client ("": nobody
# knows). Returns the horizon, and the client's rooms there; nil where there is no such home, or where nobody knows the
# rooms.
AT_HORIZON = script(
    IS_LATER
    + """
local known = redis.call('HMGET', KEYS[1], 'reader', 'horizon', 'torn')
if not known[1] then return false end
if known[3] and (ARGV[1] == '' or not is_later(ARGV[1], known[3])) then return false end
return {known[2] or '0-0', redis.call('SMEMBERS', KEYS[2])}
"""
)

# KEYS inbox; ARGV where to begin, count, max_bytes. Returns the first entries from there on, at most `count`, and at
# most `max_bytes` unless the first one is larger.
LOG_PAGE = script("""
local entries, bytes, from = {}, 0, ARGV[1]
while true do
  local some = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 32)
  for _, entry in ipairs(some) do
    bytes = bytes + #entry[2][2]
    if #entries == tonumber(ARGV[2]) or (#entries > 0 and bytes > tonumber(ARGV[3])) then return entries end
    entries[#entries + 1] = entry
  end
  if #some < 32 then return entries end
  from = '(' .. some[32][1]
end
""")

# KEYS inbox, state, clients, away; ARGV the id up to which entries go, the id after it, how the keys with the rooms of
# a client begin, parked alone (1: only if it is), known (0: nobody knows what these entries said), and of each change
# of a room: sid, room, inside (1 or 0). Clients that are gone for good join nothing: their keys would stay for ever.
# Whoever leaves is not looked for, since one command can close a room of 20,000 clients of this home.
# Again, or with an older id: nothing happens.
FORGET_LOG = script(
    IS_LATER
    + """
local now = redis.call('HMGET', KEYS[2], 'reader', 'horizon', 'parked')
if not now[1] or (ARGV[4] == '1' and not now[3]) or not is_later(ARGV[1], now[2] or '0-0') then return 0 end
local bytes, from = 0, '-'
while true do
  local some = redis.call('XRANGE', KEYS[1], from, ARGV[1], 'COUNT', 32)
  for _, entry in ipairs(some) do bytes = bytes + #entry[2][2] end
  if #some < 32 then break end
  from = '(' .. some[32][1]
end
redis.call('XTRIM', KEYS[1], 'MINID', '=', ARGV[2])
redis.call('HDEL', KEYS[2], '')
redis.call('HSET', KEYS[2], 'horizon', ARGV[1])
redis.call('HINCRBY', KEYS[2], 'read', -bytes)
if ARGV[5] == '0' then redis.call('HSET', KEYS[2], 'torn', ARGV[1]) end
for i = 6, #ARGV, 3 do
  local sid = ARGV[i]
  if ARGV[i + 2] == '0' then
    redis.call('SREM', ARGV[3] .. sid, ARGV[i + 1])
  elseif redis.call('SISMEMBER', KEYS[3], sid) == 1 or redis.call('ZSCORE', KEYS[4], sid) then
    redis.call('SADD', ARGV[3] .. sid, ARGV[i + 1])
  end
end
return 1
"""
)

# KEYS inbox, state; ARGV the last id that was read. A Redis that lost data has lost what stood up to there.
# Again: the same.
LOST = script(
    IS_LATER
    + """
redis.call('HDEL', KEYS[2], '')
local horizon = redis.call('HGET', KEYS[2], 'horizon') or '0-0'
if is_later(ARGV[1], horizon) then horizon = ARGV[1] end
redis.call('HSET', KEYS[2], 'horizon', horizon, 'torn', horizon)
return 1
"""
)

# KEYS inbox, state, parked io-nodes, io-nodes, lost io-nodes, alive; ARGV home, max_bytes, a mark for a home that has
# no reader. Again: the same.
PARK = script("""
redis.call('HDEL', KEYS[2], '')
redis.call('HSETNX', KEYS[2], 'reader', ARGV[3])
redis.call('HSET', KEYS[2], 'parked', ARGV[2])
redis.call('HSETNX', KEYS[2], 'bytes', 0)
redis.call('PERSIST', KEYS[1])
redis.call('PERSIST', KEYS[2])
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('HDEL', KEYS[4], ARGV[1])
redis.call('SREM', KEYS[5], ARGV[1])
redis.call('DEL', KEYS[6])
return 1
""")

# KEYS parked io-nodes, clients, away, inbox, state; ARGV home. Returns 0 where it is not parked, or still has
# clients. Again: 0.
END = script("""
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then return 0 end
if redis.call('SCARD', KEYS[2]) > 0 or redis.call('ZCARD', KEYS[3]) > 0 then return 0 end
redis.call('SREM', KEYS[1], ARGV[1])
redis.call('UNLINK', KEYS[4], KEYS[5])
return 1
""")

# KEYS clients; ARGV sid. The io-node holds this client. Again: the same.
HOLD = script("""
redis.call('SREM', KEYS[1], '')
return redis.call('SADD', KEYS[1], ARGV[1])
""")

# KEYS away, state; ARGV how long it may come back in ms ("inf": another io-node holds it), sids... Returns 0 where
# there is no such home. Again: the time begins anew.
AWAY = script(
    NOW
    + """
if redis.call('HEXISTS', KEYS[2], 'reader') == 0 then return 0 end
redis.call('ZREM', KEYS[1], '')
local score = ARGV[1] == 'inf' and '+inf' or now() + ARGV[1]
for i = 2, #ARGV do redis.call('ZADD', KEYS[1], score, ARGV[i]) end
return 1
"""
)

# KEYS away; ARGV count. Returns those whose time is over, each with the end of its time. Those of whom the application
# must be told first (-inf) are left out.
OVER = script(
    NOW
    + """
return redis.call('ZRANGEBYSCORE', KEYS[1], '(-inf', now(), 'WITHSCORES', 'LIMIT', 0, ARGV[1])
"""
)

# KEYS away; ARGV sid, the end of its time, what is right ("": it does not belong there). Corrects the entry, unless it
# has changed meanwhile. Again: nothing happens.
CORRECT = script("""
if redis.call('ZSCORE', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('ZREM', KEYS[1], ARGV[1])
if ARGV[3] ~= '' then redis.call('ZADD', KEYS[1], ARGV[3], ARGV[1]) end
return 1
""")
