"""A cluster in virtual time: every process on an event loop of its own that the test steps by hand.

    clock = VirtualClock()
    network = Network(clock, random.Random(7))
    loop = SteppedLoop(clock)                 # one process
    connection = network.connection(loop)     # its connection to Redis, over the fakes of `streams.memory`
    loop.loop.create_task(main(Remote(connection, bus.leases)))
    loop.turn()                               # runs until it has nothing to do now

Nothing here waits for real time, and nothing runs unless it is told to. A process is paused by not turning its loop:
the clock, Redis and the others go on, as around a process that was sent SIGSTOP. Each operation takes effect in Redis
at one moment, its reply comes at a later one, and both can be lost.
"""

from sio_cluster.testing.simulation.clock import SteppedLoop, VirtualClock
from sio_cluster.testing.simulation.network import Network, Outage, SimulatedConnection
from sio_cluster.testing.simulation.remote import Remote, RemoteInboxReader, RemoteLaneReader

__all__ = [
    "Network",
    "Outage",
    "Remote",
    "RemoteInboxReader",
    "RemoteLaneReader",
    "SimulatedConnection",
    "SteppedLoop",
    "VirtualClock",
]
