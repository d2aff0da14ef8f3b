"""The bus in Redis or Valkey: one server, one connection for commands, one for each blocking reader.

    bus = RedisBus(Config(REDIS_URL="redis://localhost:6379/0"))

May import: `streams.api`, `protocol`. The only folder that imports redis and hiredis.
"""

from sio_cluster.streams.redis.bus import RedisBus

__all__ = ["RedisBus"]
