"""The accounts of rooms beside inboxes: see `api.interest`. Appends note rooms and look at them by `appends`."""

from sio_cluster.streams.redis.scripts.script import IS_LATER, script

# KEYS interest, inbox; ARGV token, ttl_ms. Returns the last id of the inbox.
# Again: the account begins anew.
BEGIN = script("""
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], '-', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
return last and last[1] or '0-0'
""")

# KEYS interest; ARGV token, up_to, how many rooms have members, these, rooms that are empty... Returns 0 where the
# account has another token, and does nothing. Again: the same.
KEEP = script(
    IS_LATER
    + """
redis.call('HDEL', KEYS[1], ' ')
if redis.call('HGET', KEYS[1], '-') ~= ARGV[1] then return 0 end
local members = tonumber(ARGV[3])
for i = members + 4, #ARGV do
  local noted = redis.call('HGET', KEYS[1], ARGV[i])
  if noted and not is_later(noted, ARGV[2]) then redis.call('HDEL', KEYS[1], ARGV[i]) end
end
for i = 4, members + 3 do redis.call('HSETNX', KEYS[1], ARGV[i], '0-0') end
return 1
"""
)

# KEYS interest; ARGV token. Returns 0 where the account has another token, and does nothing. Again: the same.
BELIEVE = script("""
if redis.call('HGET', KEYS[1], '-') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], '', ARGV[1])
return 1
""")
