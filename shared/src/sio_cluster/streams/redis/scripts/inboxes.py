"""Inboxes: what their reader removes and forgets, and who is barred from them."""

from sio_cluster.streams.redis.scripts.script import GIVE_BACK, script

# KEYS inbox, state; ARGV last id read, the id after it, bytes read. Trimming the same id again does nothing.
TRIM = script(
    GIVE_BACK
    + """
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HGET', KEYS[2], 'trimmed') == ARGV[1] then return 0 end
redis.call('XTRIM', KEYS[1], 'MINID', '=', ARGV[2])
redis.call('HSET', KEYS[2], 'trimmed', ARGV[1])
give_back(KEYS[1], KEYS[2], ARGV[3])
return 1
"""
)

# KEYS inbox, state; ARGV last id read, bytes read. As TRIM, for a reader that keeps what it has read.
GIVE_BACK_READ = script("""
if redis.call('EXISTS', KEYS[1]) == 0 or redis.call('HGET', KEYS[2], 'trimmed') == ARGV[1] then return 0 end
redis.call('HDEL', KEYS[2], '')
redis.call('HSET', KEYS[2], 'trimmed', ARGV[1])
if redis.call('XLEN', KEYS[1]) == 0 then
  redis.call('HSET', KEYS[2], 'bytes', 0, 'read', 0)
else
  redis.call('HINCRBY', KEYS[2], 'read', ARGV[2])
  if redis.call('HINCRBY', KEYS[2], 'bytes', -ARGV[2]) < 0 then redis.call('HSET', KEYS[2], 'bytes', 0) end
end
return 1
""")

# KEYS state; ARGV node, seq, node, seq... Forgets those whose last sequence number is still this one.
# Again: they are gone, or have appended meanwhile and stay.
FORGET_SILENT = script("""
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
return 1
""")

# KEYS state; ARGV node, ttl_ms. What this node has made until now is not appended any more: see
# `api.leases.Leases.bar_former`.
# Again: the node is barred once more. It asks for the count, however high that is.
BAR = script("""
redis.call('HDEL', KEYS[1], '')
redis.call('HINCRBY', KEYS[1], ARGV[1] .. ':bar', 1)
if redis.call('PTTL', KEYS[1]) == -1 and redis.call('HEXISTS', KEYS[1], 'parked') == 0 then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 1
""")
