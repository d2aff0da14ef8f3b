"""What a bridge does in the Redis that it listens to. None of these touches a lane or an inbox."""

from sio_cluster.streams.redis.scripts.script import script

# KEYS lease; ARGV bridge, ms. Returns 1 where this bridge is the active one from now on, for so long.
HOLD_LEASE = script("""
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
""")

# KEYS lease; ARGV bridge.
FREE_LEASE = script("""
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
""")

# KEYS stream; ARGV the id up to where it was read, how many entries at most ('0': none).
# Returns how many entries were ever added, how many there are, the id of the last one ever added, and the next ones.
READ_STREAM = script("""
if redis.call('EXISTS', KEYS[1]) == 0 then return {0, 0, '0-0', {}} end
local info, about = redis.call('XINFO', 'STREAM', KEYS[1]), {}
for i = 1, #info, 2 do about[info[i]] = info[i + 1] end
local entries = {}
if ARGV[2] ~= '0' then entries = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+', 'COUNT', ARGV[2]) end
return {about['entries-added'], about['length'], about['last-generated-id'], entries}
""")

# KEYS lease, position; ARGV bridge, id, read. Returns 0, and changes nothing, where another bridge is the active one.
SAVE_POSITION = script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], 'id', ARGV[2], 'read', ARGV[3])
return 1
""")
