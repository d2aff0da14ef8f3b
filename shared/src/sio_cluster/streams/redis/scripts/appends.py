"""Appending to streams (lanes and inboxes), and what is committed together with that."""

from sio_cluster.streams.redis.scripts.script import GIVE_BACK, HOLDS, script

# Appends one entry. From ARGV[at] on: node, seq, entry, max_bytes, ttl_ms (0: no expiry), bar, urgent (1: even if Redis
# is full), how many rooms it is only for (-1: for the home in any case), these, how many rooms it lets clients into,
# these. Returns 0 appended, 1 duplicate, 2 the stream is full, 3 the node was barred more often than it knows, 4 it is
# for rooms without members, as far as the account of rooms (`interest`) is believed.
# `behind` says where the arguments of the next append begin.
# A parked home is never full: its oldest entries go, until it holds `parked` bytes with the new one.
_APPEND_ONE = """
local function make_room(inbox, state, held, parked)
  local dropped, horizon = 0, nil
  held = held + (redis.call('HGET', state, 'read') or 0)
  while held - dropped > parked do
    local oldest = redis.call('XRANGE', inbox, '-', '+', 'COUNT', 1)[1]
    if not oldest then break end
    redis.call('XDEL', inbox, oldest[1])
    horizon, dropped = oldest[1], dropped + #oldest[2][2]
  end
  if not horizon then return end
  redis.call('HINCRBY', state, 'read', -dropped)
  redis.call('HSET', state, 'horizon', horizon, 'torn', horizon)
end

local function concerns_nobody(interest, at)
  local count = tonumber(ARGV[at])
  if count < 0 then return false end
  local tokens = redis.call('HMGET', interest, '-', '')
  if not tokens[2] or tokens[1] ~= tokens[2] then return false end
  if count == 0 then return true end
  for _, noted in ipairs(redis.call('HMGET', interest, unpack(ARGV, at + 1, at + count))) do
    if noted then return false end
  end
  return true
end

local function note_rooms(interest, at, id)
  at = at + 1 + math.max(0, ARGV[at])
  local count = tonumber(ARGV[at])
  if count == 0 or redis.call('HEXISTS', interest, '-') == 0 then return end
  local noted = {}
  for i = at + 1, at + count do
    noted[#noted + 1], noted[#noted + 2] = ARGV[i], id
    if #noted == 2000 or i == at + count then
      redis.call('HSET', interest, unpack(noted))
      noted = {}
    end
  end
end

local function append(stream, state, interest, at)
  local node, seq, entry = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local known = redis.call('HMGET', state, node, 'bytes', node .. ':bar', 'parked')
  if known[1] and tonumber(seq) <= tonumber(known[1]) then return 1 end
  if (known[3] or '0') ~= ARGV[at + 5] then return 3 end
  if concerns_nobody(interest, at + 7) then return 4 end
  local held = tonumber(known[2] or 0)
  local size = #entry
  if known[4] then
    make_room(stream, state, held + size, tonumber(known[4]))
  elseif held > 0 and held + size > tonumber(ARGV[at + 3]) then
    return 2
  end
  if ARGV[at + 6] == '1' then redis.call('HDEL', state, '') end
  local id = redis.call('XADD', stream, '*', 'b', entry)
  redis.call('HSET', state, node, seq, 'bytes', held + size)
  if not known[2] and ARGV[at + 4] ~= '0' then
    redis.call('PEXPIRE', stream, ARGV[at + 4])
    redis.call('PEXPIRE', state, ARGV[at + 4])
  end
  note_rooms(interest, at + 7, id)
  return 0
end

local function behind(at)
  at = at + 8 + math.max(0, ARGV[at + 7])
  return at + 1 + ARGV[at]
end
"""

# KEYS of each append: stream, state, interest; ARGV of each append as above. Returns a list of what is said above.
# Again, with the same seqs: 1 for each that was appended, and nothing more is.
APPEND = script(
    _APPEND_ONE
    + """
local results, at = {}, 1
for i = 1, #KEYS / 3 do
  results[i] = append(KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i], at)
  at = behind(at)
end
return results
"""
)

# KEYS of each append: stream, state, interest; then of each commit: uplink, state, lease, done. ARGV how many appends,
# how many commits; of each append as above; then of each commit: node, token, bytes, how many ids, ids..., how many ids
# of which there are notes, these ids..., how many notes, and of each its id and the numbers, such as "0,3".
#
# Returns the commits whose lease is lost, by their numbers from 1, the results of the appends, and 1 if it committed.
# With a lost lease nothing is appended. Where an append is full or barred, nothing is committed.
# Again: the appends are duplicates, the entries are gone, and no bytes are given back for them. Notes repeat numbers.
FLUSH = script(
    GIVE_BACK
    + HOLDS
    + _APPEND_ONE
    + """
local appends, commits = tonumber(ARGV[1]), tonumber(ARGV[2])
local first_key, at = 3 * appends, 3
local begins = {}
for i = 1, appends do
  begins[i] = at
  at = behind(at)
end
local lost, first = {}, at
for i = 1, commits do
  if not holds(KEYS[first_key + 4 * i - 1], ARGV[at], ARGV[at + 1]) then lost[#lost + 1] = i end
  at = at + 4 + ARGV[at + 3]
  at = at + 1 + ARGV[at]
  at = at + 1 + 2 * ARGV[at]
end
if #lost > 0 then return {lost, {}, 0} end
local results, written = {}, true
for i = 1, appends do
  local result = append(KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i], begins[i])
  results[i] = result
  written = written and result ~= 2 and result ~= 3
end
if not written then return {lost, results, 0} end
at = first
for i = 1, commits do
  local key, count = first_key + 4 * i - 3, tonumber(ARGV[at + 3])
  if count > 0 then
    local gone = redis.call('XDEL', KEYS[key], unpack(ARGV, at + 4, at + 3 + count))
    if gone > 0 then give_back(KEYS[key], KEYS[key + 1], math.floor(ARGV[at + 2] * gone / count)) end
  end
  at = at + 4 + count
  count = tonumber(ARGV[at])
  if count > 0 then redis.call('HDEL', KEYS[key + 3], unpack(ARGV, at + 1, at + count)) end
  at = at + 1 + count
  for note = at + 1, at + 2 * ARGV[at], 2 do
    local before = redis.call('HGET', KEYS[key + 3], ARGV[note])
    redis.call('HSET', KEYS[key + 3], ARGV[note], (before and before .. ',' or '') .. ARGV[note + 1])
  end
  at = at + 1 + 2 * ARGV[at]
end
return {lost, results, 1}
"""
)
