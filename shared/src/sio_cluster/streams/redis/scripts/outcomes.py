"""What became of requests that carry a key of their own, so that each is carried out once."""

from sio_cluster.streams.redis.scripts.script import script

# KEYS outcome; ARGV owner, what is asked (a digest), ttl_ms. Returns "mine" where the owner is to carry it out, "other"
# where the key stands for something else, "taken" while another owner has it, or else "done" and the outcome.
# Again, by the same owner: "mine".
CLAIM_OUTCOME = script("""
local known = redis.call('HMGET', KEYS[1], 'owner', 'asked', 'outcome')
if not known[1] then
  redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'asked', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
  return {'mine', ''}
end
if known[2] ~= ARGV[2] then return {'other', ''} end
if known[3] then return {'done', known[3]} end
return {known[1] == ARGV[1] and 'mine' or 'taken', ''}
""")

# KEYS outcome; ARGV owner, what was asked, outcome, ttl_ms. Also where the claim has run out meanwhile, but not where
# another owner has the key by then. A Redis that is out of memory takes it: what it tells of has happened.
# Again: the same.
SETTLE_OUTCOME = script("""
redis.call('HDEL', KEYS[1], '')
local owner = redis.call('HGET', KEYS[1], 'owner')
if owner and owner ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'owner', ARGV[1], 'asked', ARGV[2], 'outcome', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
""")

# KEYS outcome; ARGV owner. Nothing was done: the key is free again, but not where there is an outcome, or another owner
# has the key by then. Again: the same.
RELEASE_OUTCOME = script("""
local known = redis.call('HMGET', KEYS[1], 'owner', 'outcome')
if known[1] == ARGV[1] and not known[2] then redis.call('DEL', KEYS[1]) end
return 1
""")
