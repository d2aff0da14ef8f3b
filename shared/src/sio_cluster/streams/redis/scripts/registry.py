"""The nodes of the cluster."""

from sio_cluster.streams.redis.scripts.script import script

# KEYS nodes; ARGV node, info
# Again: the same.
REGISTER = script("""
redis.call('HDEL', KEYS[1], '')
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
""")

# KEYS io-nodes, parked io-nodes, state of its inbox; ARGV node, info. A home that was parked has a reader again: what
# stands in it and was not forgotten meanwhile is what its reader has not read.
# Again: the same.
REGISTER_IO_NODE = script("""
redis.call('HDEL', KEYS[1], '')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('SREM', KEYS[2], ARGV[1]) == 0 then return 1 end
local read = tonumber(redis.call('HGET', KEYS[3], 'read') or 0)
redis.call('HDEL', KEYS[3], 'parked')
if read < 0 then
  redis.call('HINCRBY', KEYS[3], 'bytes', read)
  redis.call('HSET', KEYS[3], 'read', 0)
end
return 1
""")

# KEYS alive; ARGV ttl_ms. Returns Redis' time: seconds, microseconds. The key says since when the node lives without a
# gap.
# Again: the node lives for ttl_ms from then on.
HEARTBEAT = script("""
local since, time = redis.call('GET', KEYS[1]), redis.call('TIME')
redis.call('DEL', KEYS[1])
redis.call('SET', KEYS[1], since or time[1], 'PX', ARGV[1])
return time
""")

# KEYS epoch
# Again: the next number. One whose answer was lost is never used.
NEXT_EPOCH = script("""
redis.call('PERSIST', KEYS[1])
return redis.call('INCR', KEYS[1])
""")
