"""Appending to a stream: a lane or an inbox."""

from sio_cluster.streams.redis.scripts.script import script

# KEYS stream, state; ARGV node, seq, entry, max_bytes, ttl_ms (0: no expiry), bar, urgent (1: even if Redis is full).
# Returns 0 appended, 1 duplicate, 2 the stream is full, 3 the node was barred more often than it knows.
# Again, with the same seq: 1, and nothing is appended.
APPEND = script("""
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
