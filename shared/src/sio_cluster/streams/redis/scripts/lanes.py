"""Lanes: who holds one, what its former holder left, and what is done."""

from sio_cluster.streams.redis.scripts.script import HOLDS, IS_LATER, script

# The first entries from one id to another ("(ID": behind it), at most `count`, and at most `max_bytes` unless the first
# one is larger. They are read one by one: a read of several may bring any number of bytes. Returns the entries, and the
# one that comes next if there is any.
_PAGE = """
local function page(stream, from, to, count, max_bytes)
  local entries, bytes = {}, 0
  local next = redis.call('XRANGE', stream, from, to, 'COUNT', 1)[1]
  while next and #entries < count do
    bytes = bytes + #next[2][2]
    if bytes > max_bytes and #entries > 0 then break end
    entries[#entries + 1] = next
    next = redis.call('XRANGE', stream, '(' .. next[1], to, 'COUNT', 1)[1]
  end
  return entries, next
end
"""

# KEYS lease, token, uplink, holders, takeovers; ARGV node, lease_ms, stood still (1: the node lost this lane since its
# event loop stood still). Returns the token, or nil while another node holds the lane.
#
# The lane has one consumer group. It bears the node id of the holder, and keeps the position up to which entries were
# given out. Taking the lane over replaces the group by one with the new node id, at the same position. So a former
# holder that does not know yet reads nothing more, and a read of its that is blocked in Redis ends. Otherwise it would
# be given entries that the new holder then never sees.
#
# A takeover counts if a former holder (`last`) had claimed the lane and did not release it: it died, or it stood still
# for longer than its lease. Who acquires its own lane again lives, so that is none, unless it had stood still. `once`
# is the position at the last takeover that counted, `twice` the one at the takeover before. So an entry up to `once`
# that is still there was taken over unfinished at least once, and one up to `twice` at least twice. A former holder
# that was still claiming was given the entries up to `given` only. Those behind it are as they were.
# `api.lanes.Counted.taken_over` has the same in Python.
#
# Again: the lease is ours, so it gets a new token, and the position and the counts stay: `last` is gone.
ACQUIRE = script(
    IS_LATER
    + """
local current = redis.call('HGET', KEYS[1], 'holder')
if current and current ~= ARGV[1] then return false end
redis.call('PERSIST', KEYS[2])
local position = '0-0'
if redis.call('EXISTS', KEYS[3]) == 1 then
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', KEYS[3])) do
    local fields = {}
    for i = 1, #group, 2 do fields[group[i]] = group[i + 1] end
    position = fields['last-delivered-id']
    redis.call('XGROUP', 'DESTROY', KEYS[3], fields['name'])
  end
end
redis.call('XGROUP', 'CREATE', KEYS[3], ARGV[1], position, 'MKSTREAM')
local past = redis.call('HMGET', KEYS[5], 'last', 'given', 'once', 'twice')
if past[1] and (past[1] ~= ARGV[1] or ARGV[3] == '1') then
  local given, once, twice = past[2] or position, past[3] or '0-0', past[4] or '0-0'
  local again = is_later(once, given) and given or once
  if is_later(again, twice) then twice = again end
  if is_later(given, once) then once = given end
  redis.call('HSET', KEYS[5], 'once', once, 'twice', twice)
  redis.call('HDEL', KEYS[5], 'last', 'given')
end
local token = redis.call('INCR', KEYS[2])
redis.call('HSET', KEYS[1], 'holder', ARGV[1], 'token', token, 'position', position)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SADD', KEYS[4], ARGV[1])
return token
"""
)

# KEYS lease, uplink, takeovers, done; ARGV node, count, max_bytes; for the second page and those after it, the last id
# of the page before, and the token. Returns the position, the token, the counts of takeovers, a page of what stands up
# to the position, whether there is more (0 or 1), and of each entry the note of what is done ("" where there is none);
# nil where the lane is not ours.
# Again: the same page, less what was committed meanwhile.
CLAIM = script(
    _PAGE
    + """
local now = redis.call('HMGET', KEYS[1], 'holder', 'position', 'token')
if now[1] ~= ARGV[1] or (ARGV[5] and ARGV[5] ~= now[3]) then return false end
local from = ARGV[4] and '(' .. ARGV[4] or '-'
local entries, next = page(KEYS[2], from, now[2], tonumber(ARGV[2]), tonumber(ARGV[3]))
redis.call('HDEL', KEYS[3], '')
redis.call('HSET', KEYS[3], 'last', ARGV[1])
if next then
  redis.call('HSET', KEYS[3], 'given', entries[#entries][1])
else
  redis.call('HDEL', KEYS[3], 'given')
end
local counts = redis.call('HMGET', KEYS[3], 'once', 'twice')
local notes = {}
for i, entry in ipairs(entries) do notes[i] = redis.call('HGET', KEYS[4], entry[1]) or '' end
return {now[2], now[3], counts[1] or '0-0', counts[2] or '0-0', entries, next and 1 or 0, notes}
"""
)

# KEYS uplink; ARGV where to begin, count, max_bytes
PEEK = script(
    _PAGE
    + """
return (page(KEYS[1], ARGV[1], '+', tonumber(ARGV[2]), tonumber(ARGV[3])))
"""
)

# KEYS leases; ARGV lease_ms, and of each lease node, token. Returns 1 for each that is still ours.
# Again: the leases last as long from then on.
RENEW = script(
    HOLDS
    + """
local renewed = {}
for i, lease in ipairs(KEYS) do
  renewed[i] = holds(lease, ARGV[2 * i], ARGV[2 * i + 1]) and redis.call('PEXPIRE', lease, ARGV[1]) or 0
end
return renewed
"""
)

# KEYS lease, holders, takeovers; ARGV node, token, settled (1: all that this lease has caused is in Redis)
# Again: 0, since the lease is gone.
RELEASE = script(
    HOLDS
    + """
if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
if ARGV[3] == '1' then redis.call('SREM', KEYS[2], ARGV[1]) end
redis.call('HDEL', KEYS[3], 'last', 'given')
return redis.call('DEL', KEYS[1])
"""
)

# KEYS lease, holders; ARGV node, token, then the former holders that are barred now
# Again: nothing, they are out of the set.
BARRED = script(
    HOLDS
    + """
if not holds(KEYS[1], ARGV[1], ARGV[2]) then return 0 end
return redis.call('SREM', KEYS[2], unpack(ARGV, 3))
"""
)
