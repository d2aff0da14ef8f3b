"""The room index, built anew from the records. `scripts.records` keeps it."""

from sio_cluster.streams.redis.scripts.records import COMES, GOES
from sio_cluster.streams.redis.scripts.script import script

# KEYS client, rooms, here; ARGV sid, lane. Whether the client is connected. Returns its namespace and its rooms; nil
# where it is gone: then it is not connected to the namespace of `here`. Again: nothing changes.
REINDEX = script(
    COMES
    + GOES
    + """
local known = redis.call('HMGET', KEYS[1], 'namespace', 'connected', 'accepted', 'away')
if not known[2] then
  redis.call('ZREM', KEYS[3], ARGV[1])
  return false
end
if known[3] == '1' and not known[4] then
  comes(ARGV[2], known[1], ARGV[1], KEYS[2])
else
  goes(ARGV[2], known[1], ARGV[1], KEYS[2])
end
return {known[1], redis.call('SMEMBERS', KEYS[2])}
"""
)

# KEYS members of the room, here, counts; ARGV room. Counts its connected members. Again: nothing changes.
RECOUNT = script("""
local number = redis.call('ZINTERCARD', 2, KEYS[1], KEYS[2])
redis.call('HDEL', KEYS[3], number == 0 and ARGV[1] or '')
if number > 0 then redis.call('HSET', KEYS[3], ARGV[1], number) end
return number
""")

# KEYS config; ARGV the note that the work began with, the new note. Without effect where the note has changed since.
NOTE = script("""
if redis.call('HGET', KEYS[1], 'index') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'index', ARGV[2])
return 1
""")
