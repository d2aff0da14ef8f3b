"""Selections of clients by their records."""

from sio_cluster.streams.redis.scripts.records import HIDES, LESS
from sio_cluster.streams.redis.scripts.script import HOLDS, script

# KEYS lease of the lane; ARGV node ("": no lease), token, lane, namespace, "enter" or "leave" or "" (no change),
# "again" or "", how long notes last in ms, then four lists of rooms as JSON, each with its length before it: those to
# be in, those not to be in, those of the change, those of which it is noted who has left them; then a list of sids that
# need be in no room, in the same form; then other sids. `lane` is how all keys of the lane begin. Returns -1 where the
# lease is lost, else the sids that matched and are here, and those that matched and are away.
# Again, with "again": the same, and whoever is as the change says.
SELECT = script(
    HOLDS
    + LESS
    + HIDES
    + """
if ARGV[1] ~= '' and not holds(KEYS[1], ARGV[1], ARGV[2]) then return -1 end
local lane, namespace, what, again = ARGV[3], ARGV[4], ARGV[5], ARGV[6] == 'again'
local clients, rooms_of, members = lane .. 'client:', lane .. 'rooms:', lane .. 'room:' .. namespace .. ':'
local place = 8
local function list()
  local length = tonumber(ARGV[place])
  local items = {}
  for i = place + 1, place + length do items[#items + 1] = ARGV[i] end
  place = place + length + 1
  return items
end
local to, except, rooms, noted, named = list(), list(), list(), list(), list()

local function is_in(sid, room)
  return redis.call('SISMEMBER', rooms_of .. sid, room) == 1
end
local function in_one_of(sid, some)
  for _, room in ipairs(some) do if is_in(sid, room) then return true end end
  return false
end
local function has_it_already(sid)
  for _, room in ipairs(rooms) do if is_in(sid, room) ~= (what == 'enter') then return false end end
  return what ~= ''
end

redis.call('HDEL', KEYS[1], '')  -- a full Redis takes the rest then
local here, away = {}, {}
local changed, is_connected = {}, {}
local function look_at(sid, needs_room)
  local known = redis.call('HMGET', clients .. sid, 'namespace', 'away', 'accepted', 'linger')
  if known[1] == namespace then
    local matches = (not needs_room or in_one_of(sid, to)) and not in_one_of(sid, except)
    if matches and what ~= '' then
      redis.call(what == 'enter' and 'SADD' or 'SREM', rooms_of .. sid, unpack(rooms))
      if known[4] and what == 'leave' then
        for _, room in ipairs(rooms) do hides(lane, sid, namespace .. ':' .. room) end
      end
      changed[#changed + 1] = sid
      is_connected[sid] = known[3] == '1' and not known[2]
    end
    if matches or (again and has_it_already(sid)) then
      local matched = known[2] and away or here
      matched[#matched + 1] = sid
    end
  end
end
for _, sid in ipairs(named) do look_at(sid, false) end
for i = place, #ARGV do look_at(ARGV[i], true) end
local change = what == 'enter' and 'SADD' or 'SREM'
for _, room in ipairs(rooms) do
  for _, sid in ipairs(changed) do
    if redis.call(change, members .. room, sid) == 1 and is_connected[sid] then
      if what == 'enter' then
        redis.call('HINCRBY', lane .. 'counts:' .. namespace, room, 1)
      else
        less(lane, namespace, room)
      end
    end
  end
end
if #changed > 0 then
  for _, room in ipairs(noted) do
    local left = lane .. 'left:' .. namespace .. ':' .. room
    redis.call('SADD', left, unpack(changed))
    redis.call('PEXPIRE', left, ARGV[7])
  end
end
return {here, away}
"""
)
