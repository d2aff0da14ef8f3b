"""The bus, declared once: everything that a process of the cluster does with Redis.

    import asyncio

    from sio_cluster.node.settings.config import Config
    from sio_cluster.streams.api.appends import Append, Commit
    from sio_cluster.streams.memory import MemoryBroker, MemoryBus

    async def main():
        bus = MemoryBus(Config(), MemoryBroker())          # in production: RedisBus(Config())
        await bus.start()
        hello = Append(bus.keys.uplink(3), "io1-aaaaaa", seq=1, entry=b"hello", max_bytes=1_000_000)
        print(await bus.appender.append([hello]))          # [<AppendResult.APPENDED: 0>]
        print(await bus.appender.append([hello]))          # [<AppendResult.DUPLICATE: 1>], a retry does no harm

        lease = await bus.leases.acquire(3, "app-bbbbbb", lease_ms=5_000)
        reader = bus.lane_reader("app-bbbbbb")
        left = await reader.claim(3)                       # nothing: nobody held this lane before
        for entry in [*left.entries, *await reader.read([3], block_ms=100, count=10)]:
            print(entry.entry)                             # b'hello'
            done = Commit(lease, [entry.id], len(entry.entry))
            await bus.appender.flush([], [done])           # now it is forgotten
        await bus.stop()

    asyncio.run(main())

`bus` has the whole. `appends` puts entries into streams, `inboxes` and `lanes` read them, `leases` say who may.
`records` is what is kept about clients, `room_index` who is connected and who is in which room, `presences` what
clients show in rooms, `interest` in which rooms a home has members, `registry` what is known of nodes, `passes` who
has shown a password, `store` what the server says of itself. `streams.redis.RedisBus` and `streams.memory.MemoryBus`
both provide it. One contract suite runs against both (shared/tests/streams/test_*_contract.py).

May import: `protocol`. Inside, `bus` is above the others, `room_index` is above `records`, and `appends`, `lanes`,
`presences` and `records` are above `leases`.

What holds for every method, unless its docstring says otherwise:

- **Atomic**: what one call does to one stream, one lease or one client happens as a whole or not at all. A call that
  names several of them treats each by itself.
- **Lost answers**: a call that raises `BusUnavailable` may or may not have had its effect. Repeat it with the same
  arguments: the second try never doubles the effect of the first.
- **A Redis that is away**: `BusUnavailable` after 3 seconds at most, and `block_ms` more for a read that blocks.
  Nothing waits inside for Redis to come back; the caller tries again (`node.retry.Retry`).
- **A full Redis** (`maxmemory` reached): a call that needs memory raises `RedisFull` and has no effect. Calls that
  free memory work, and so do those that must come before: commit, trim, leases, heartbeats, changes of records, and
  appends that are `urgent`.
- **A Redis that lost its data**: streams and records are gone, and the cluster's life is another word
  (`Registry.life`). Readers go on with what is written from then on.
- **A lost lease**: `LeaseLost`, or a count of what had no effect. Nothing was changed.
"""
