"""The bus in Redis or Valkey: one server, one connection for commands, one for each blocking reader.

    bus = RedisBus(Config(REDIS_URL="redis://localhost:6379/0"))

`bus` makes the parts, `inbox`, `lanes`, `leases`, `records`, `registry` and `appender` are the parts. They ask through
`connections`, and what must be atomic is in `scripts`. For another Redis topology: `connections` says which server a
command goes to, `connection` how one server is reached, `replies` what its errors mean.

May import: `streams.api`, `protocol`. The only folder that imports redis and hiredis.
"""

from sio_cluster.streams.redis.bus import RedisBus

__all__ = ["RedisBus"]
