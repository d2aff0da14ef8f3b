"""The nodes of the cluster."""

from sio_cluster.streams.redis.scripts.script import script

# KEYS nodes; ARGV node, info
# Again: the same.
REGISTER = script("""
redis.call('HDEL', KEYS[1], '')
return redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
""")

# KEYS alive; ARGV ttl_ms
# Again: the node lives for ttl_ms from then on.
HEARTBEAT = script("""
redis.call('DEL', KEYS[1])
return redis.call('SET', KEYS[1], 1, 'PX', ARGV[1])
""")

# KEYS epoch
# Again: the next number. One whose answer was lost is never used.
NEXT_EPOCH = script("""
redis.call('PERSIST', KEYS[1])
return redis.call('INCR', KEYS[1])
""")
