"""Records of clients, and the index of rooms.

A change may be made on behalf of a lease. Then it comes with that lease's key, node and token, and has no effect (-1)
where the lease is lost. A full Redis takes such changes, with a lease or without: a lane entry is removed only after
the changes that it has caused are written.

Again: nothing changes. Each of them sets, adds or removes what may be so already.
"""

from sio_cluster.streams.redis.scripts.script import HOLDS, script

_FENCED = (
    HOLDS
    + """
local function fenced(lease, node, token)
  return lease and not holds(lease, node, token)
end
"""
)

# KEYS client, lease?; ARGV field, value, node?, token?. Returns 0 where the client is gone.
SET_FIELD = script(
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
JOIN = script(
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
LEAVE = script(
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
CLOSE_ROOM = script(
    _FENCED
    + """
if fenced(KEYS[2], ARGV[3], ARGV[4]) then return -1 end
for _, sid in ipairs(redis.call('SMEMBERS', KEYS[1])) do redis.call('SREM', ARGV[1] .. sid, ARGV[2]) end
redis.call('UNLINK', KEYS[1])
return 1
"""
)

# KEYS client, rooms, lease?; ARGV sid, members, node?, token?
FORGET = script(
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
