"""Lane entries that are moved: into a quarantine, to the dead letters, and back from there."""

from sio_cluster.streams.redis.scripts.script import GIVE_BACK, HOLDS, script

# KEYS uplink, state, lease, done, quarantine, its state; ARGV node, token, id, parts... Moves the entry into the
# quarantine, as one entry for each part. Returns -1 for a lost lease, 0 if it was moved before.
QUARANTINE = script(
    GIVE_BACK
    + HOLDS
    + """
if not holds(KEYS[3], ARGV[1], ARGV[2]) then return -1 end
local found = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
if not found then return 0 end
redis.call('XDEL', KEYS[1], ARGV[3])
give_back(KEYS[1], KEYS[2], #found[2][2])
redis.call('HDEL', KEYS[4], ARGV[3])
local bytes = 0
for i = 4, #ARGV do
  redis.call('XADD', KEYS[5], '*', 'b', ARGV[i])
  bytes = bytes + #ARGV[i]
end
redis.call('HINCRBY', KEYS[6], 'bytes', bytes)
return 1
"""
)

# KEYS uplink, state, lease, done, dead; ARGV node, token, id, entry, why, most dead letters, redelivered (1: its facts
# may have been handled). Returns -1 for a lost lease, 0 if it was moved before, else 1, and 1 more for each older dead
# letter that went for good.
SET_ASIDE = script(
    GIVE_BACK
    + HOLDS
    + """
if not holds(KEYS[3], ARGV[1], ARGV[2]) then return -1 end
if redis.call('XDEL', KEYS[1], ARGV[3]) == 0 then return 0 end
give_back(KEYS[1], KEYS[2], #ARGV[4])
redis.call('HDEL', KEYS[4], ARGV[3])
local before = redis.call('XLEN', KEYS[5])
redis.call('XADD', KEYS[5], 'MAXLEN', ARGV[6], '*', 'b', ARGV[4], 'why', ARGV[5], 'id', ARGV[3], 'again', ARGV[7])
return 2 + before - redis.call('XLEN', KEYS[5])
"""
)

# KEYS dead, uplink, state; ARGV id. Returns 0 where the dead letter is gone. Facts that may have been handled before
# say so again: their entry has a second field.
# Again: 0, and the entry is not appended twice.
REQUEUE = script("""
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
