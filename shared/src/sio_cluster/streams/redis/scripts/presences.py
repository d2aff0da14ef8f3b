"""What clients show in rooms, and what the rooms have not been told of it.

The scripts of records hide what a client shows where it leaves a room, and where its record goes.
"""

from sio_cluster.streams.redis.scripts.records import FENCED, HIDES
from sio_cluster.streams.redis.scripts.script import HOLDS, NOW, script

# KEYS client, rooms, lease?; ARGV sid, lane, namespace, room, ref, what it shows, for how many ms that stays while the
# client is away, node?, token?. Returns 0 where the client is gone or belongs to another namespace, 2 where it is not
# in the room.
# Again: nothing changes. What stands there under another ref is the same.
SHOW = script(
    FENCED
    + NOW
    + """
if fenced(KEYS[3], ARGV[8], ARGV[9]) then return -1 end
local sid, lane, ref, linger = ARGV[1], ARGV[2], ARGV[5], tonumber(ARGV[7])
redis.call('HDEL', KEYS[1], '')
local known = redis.call('HMGET', KEYS[1], 'namespace', 'away', 'linger')
if known[1] ~= ARGV[3] then return 0 end
if redis.call('SISMEMBER', KEYS[2], ARGV[4]) == 0 then return 2 end
redis.call('HSET', KEYS[1], 'linger', math.max(linger, tonumber(known[3] or 0)))
if known[2] then redis.call('ZADD', lane .. 'leaving', 'NX', now() + linger, sid) end
local place = ARGV[3] .. ':' .. ARGV[4]
local former = redis.call('HGET', lane .. 'metas:' .. place, sid)
if former and string.sub(former, #ref + 1) == ARGV[6] then return 1 end
redis.call('SADD', lane .. 'shown:' .. sid, place)
redis.call('HSET', lane .. 'metas:' .. place, sid, ref .. ARGV[6])
redis.call('XADD', lane .. 'news', '*', '+', ref .. ARGV[6])
if former then redis.call('XADD', lane .. 'news', '*', '-', former) end
return 1
"""
)

# KEYS client, rooms, lease?; ARGV sid, lane, namespace, room, node?, token?. Returns 0 where the client is gone.
# Again: nothing changes.
HIDE = script(
    FENCED
    + HIDES
    + """
if fenced(KEYS[3], ARGV[5], ARGV[6]) then return -1 end
redis.call('HDEL', KEYS[1], '')
if redis.call('HGET', KEYS[1], 'namespace') ~= ARGV[3] then return 0 end
hides(ARGV[2], ARGV[1], ARGV[3] .. ':' .. ARGV[4])
return 1
"""
)

# KEYS leaving, news, lease; ARGV lane, how many, node, token. Hides what clients show that have been away for long
# enough, and returns the oldest news. Returns -1 where the lease is lost.
# Again: the same news, and perhaps more.
NEWS = script(
    HOLDS
    + NOW
    + HIDES
    + """
if not holds(KEYS[3], ARGV[3], ARGV[4]) then return -1 end
for _, sid in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now(), 'LIMIT', 0, ARGV[2])) do
  hides_all(ARGV[1], sid)
end
return redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', ARGV[2])
"""
)
