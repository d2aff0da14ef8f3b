"""What it costs to split a server in two, and nothing else: the same way through as many processes, with no promises.

    client -> io process -> XADD lane -> app process -> XADD inbox -> io process -> client

- `io_process`: holds connections, as `bare` does, but answers nothing itself. An io-node does that in this cluster.
- `app_process`: makes the answers, and knows who is in which room. An app-node does that in this cluster.
- `wire`: how both talk to Redis. It is hiredis on asyncio's protocols, with callbacks and no futures.

A round trip is that of an idle cluster: two writes to Redis, each with its answer, and two blocking reads. As in the
cluster, each process writes what gathered while its last write was under way.

What is left out is what makes a cluster: nothing is checked, counted, limited or written twice. There are no leases,
records, sessions and heartbeats. Each process ends when Redis refuses a command or goes away.

Both streams have entries with one field, `b`. It holds lines, one for each packet. No line has a line end or a tab
inside, because the benchmark's packets have none.

- An entry of the lane: the number of the io process, then a line `WHO PACKET` for each packet from a client. WHO is the
  number that the io process has given to the connection. The packet `41` also says that a connection is gone.
- An entry of an inbox: a line `WHO PACKET` for one client, or `WHO,...,WHO, PACKET<tab>PACKET...` for those in a room.
  The WHOs of all connections of the io process are `*`. In the benchmark, nobody connects while somebody emits.
"""
