"""The bus in Redis or Valkey: one server, one connection for commands, one for each blocking reader.

    bus = RedisBus(Config(REDIS_URL="redis://localhost:6379/0"))

`bus` makes the parts: `inbox`, `lanes`, `leases`, `records`, `registry`, `appender`, `store`. `dead_letters`,
`outcomes` and `overview` are for operators and for the HTTP API, and no part of the bus. All of them ask through
`connections`, and what must be atomic is in `scripts`. For another Redis topology: `connections` says which server a
command goes to, `connection` and `wire` how one server is reached, `address` where it is, `replies` what its errors
mean. `lanes` reads several lanes at once, and `bus` refuses a Redis that does not fit.

May import: `streams.api`, `protocol`. The only folder that imports redis and hiredis.
"""

from sio_cluster.streams.redis.bus import RedisBus

__all__ = ["RedisBus"]
