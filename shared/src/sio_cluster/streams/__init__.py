"""The bus: streams, leases, records and the registry of nodes, in Redis or in memory.

`api` says what there is and what it guarantees. `redis` and `memory` provide it, and do not know each other.
May import: `protocol`. Only `streams.redis` imports redis and hiredis.
"""
