"""The whole cluster in virtual time: Redis, an io-node, app-nodes, and what befalls them."""

import base64
import itertools
import json
import random
from collections.abc import Sequence
from typing import Any

from tests.model.app_nodes import Connections, SimulatedAppNode
from tests.model.history import History
from tests.model.io_nodes import SimulatedIoNode

from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.codec import decode_downlink, decode_uplink
from sio_cluster.protocol.ids import lane_of, quarantine_of
from sio_cluster.protocol.keys import Keys
from sio_cluster.protocol.messages import Ack, Emit
from sio_cluster.streams.api.appends import Append, AppendResult
from sio_cluster.streams.api.leases import Lease
from sio_cluster.streams.memory import MemoryBroker
from sio_cluster.testing.simulation import Network, Outage, SteppedLoop, VirtualClock
from sio_cluster.testing.simulation.network import Request

LEASE_S = 1.0
SETTINGS = {
    "lanes": 2,
    "lease_ms": 1000,
    "heartbeat_ms": 250,
    "node_timeout_ms": 2500,
    "shutdown_ms": 1500,
    "handler_block_ms": 0,  # it measures real time
}
HEAL_S = 60.0
"""Virtual seconds in which everything must come to an end once all faults are over."""

Process = SimulatedAppNode | SimulatedIoNode


class SimulatedCluster:
    """Starts with one Redis and one io-node. All that is random follows from `seed`."""

    def __init__(self, seed: int, *, async_handlers: bool = True, calm: bool = False) -> None:
        """`calm`: nothing will fail. So nothing may be repeated, and nobody may wait for long."""
        random.seed(seed)  # the waits of `Backoff`
        self.random = random.Random(seed)
        self.clock = VirtualClock()
        self.network = Network(self.clock, self.random)
        self.network.after_effect.append(self._observe)
        self.broker = MemoryBroker(self.clock)
        self.config = Config(**SETTINGS)
        self._keys = Keys(self.config.redis_prefix)
        self.history = History(self.clock, self._lease_of, serial=not async_handlers)
        self.history.is_calm = calm
        self.history.is_frozen = self._is_frozen
        self.app_nodes: list[SimulatedAppNode] = []
        self.hangs_over = False
        self._async_handlers = async_handlers
        self._names = itertools.count()
        self._sids = itertools.count()
        self._ended: dict[str, SimulatedAppNode] = {}
        self._resumed_at: dict[str, float] = {}
        self.io_node = self._new_io_node()

    # --- what befalls it

    def start_app_node(self) -> SimulatedAppNode:
        name = self._new_name("app")
        loop = SteppedLoop(self.clock, self.random.uniform(0, 1e6))
        node = SimulatedAppNode(
            name,
            loop=loop,
            connections=Connections(self.network, loop, self.broker, name),
            config=self.config,
            history=self.history,
            are_hangs_over=lambda: self.hangs_over,
            async_handlers=self._async_handlers,
        )
        self.app_nodes.append(node)
        return node

    def kill(self, node: SimulatedAppNode) -> None:
        self.history.fault()
        node.kill()
        self._end(node)

    def pause(self, node: Process) -> None:
        self.history.fault()
        node.paused = True

    def resume(self, node: Process) -> None:
        self.history.fault()
        node.paused = False
        node.loop.woken = True
        self._resumed_at[node.id] = self.clock.now

    def reset_connections(self, node: Process) -> None:
        self.history.fault()
        node.connections.reset()

    def set_outage(self, outage: Outage) -> None:
        self.history.fault()
        self.network.become(outage)

    def set_slow(self, slow: bool) -> None:
        self.history.fault()
        self.network.slow = slow

    def connect(self) -> str:
        return self.io_node.connect(next(self._sids))

    def connect_roaming(self) -> str:
        return self.io_node.connect_roaming(next(self._sids))

    def event(self, sid: str, plan: str | float) -> None:
        self.io_node.event(sid, plan)

    def leave(self, sid: str) -> None:
        self.io_node.leave(sid)

    # --- time

    def run(self, seconds: float) -> None:
        """Lets that much virtual time pass, with all that happens in it."""
        end = self.clock.now + seconds
        while True:
            if self._is_faulty():
                self.history.fault()
            self._turn_all()
            due = [p.loop.due_at for p in self._processes if not p.paused]
            moments = [moment for moment in (*due, self.network.next_at) if moment is not None]
            if not moments or min(moments) > end:
                break
            self.clock.now = max(self.clock.now, min(moments))
            self.network.fire()
        self.clock.now = end
        self.check()

    def check(self) -> None:
        """Raises AssertionError where a promise is broken so far."""
        for process in self._processes:
            process.check()
        self.history.check()

    def heal(self) -> None:
        """Ends all faults. Then everything must be handled and answered, and nothing be left over."""
        self.network.slow = False
        self.network.become(Outage.NONE)
        self.hangs_over = True
        for process in self._processes:
            if process.paused:
                self.resume(process)
        if all(node.stopping for node in self.app_nodes):
            self.start_app_node()
        end = self.clock.now + HEAL_S
        while not self._is_quiet():
            if self.clock.now >= end:
                self.history.check_all()
                raise AssertionError(f"not quiet after {HEAL_S} s: {self._left_over()}")
            self.run(0.25)
        self.io_node.roamers.check()
        self.history.check_all()

    def finish(self) -> None:
        """Stops all app-nodes cleanly. They must end at once and leave nothing in Redis."""
        self.run(LEASE_S)  # what was sent while all was slow has come
        began = self.clock.now
        stopped = {node.id for node in self.app_nodes}
        while self.app_nodes:
            for node in self.app_nodes:
                if node.stopping is None:
                    node.stop()
            self.run(0.1)
            assert self.clock.now - began < 10, f"still stopping: {[node.id for node in self.app_nodes]}"
        leases = [lease for lane in range(self.config.lanes) if (lease := self._lease_of(lane)) and lease[0] in stopped]
        if self.history.is_calm:  # else an ACQUIRE that was lost on its way may have come late
            assert not leases, f"not released: {leases}"
        self.history.check_all()

    def close(self) -> None:
        """Ends all processes."""
        for process in self._processes:
            process.dead = True
            process.connections.close()
            process.loop.close()

    # --- how

    @property
    def _processes(self) -> list[Process]:
        return [self.io_node, *self.app_nodes]

    def _turn_all(self) -> None:
        while awake := [p for p in self._processes if not p.paused and p.loop.is_awake]:
            self.random.shuffle(awake)
            for process in awake:
                process.loop.turn()
            for node, stopping in [(n, n.stopping) for n in self.app_nodes if n.stopping and n.stopping.done()]:
                stopping.result()
                node.dead = True
                node.loop.close()
                self._end(node)

    def _is_faulty(self) -> bool:
        return self.network.slow or self.network.outage is not Outage.NONE or any(p.paused for p in self._processes)

    def _is_frozen(self, node: str) -> bool:
        """Whether it stands still: paused, or resumed and not yet run."""
        return self._node(node).paused or self._resumed_at.get(node) == self.clock.now

    def _end(self, node: SimulatedAppNode) -> None:
        self.app_nodes.remove(node)
        self._ended[node.id] = node

    def _node(self, name: str) -> Any:
        return next((p for p in self._processes if p.id == name), None) or self._ended[name]

    def _lease_of(self, lane: int) -> tuple[str, int] | None:
        lease = self.broker.leases.get(lane)
        return None if lease is None or lease.deadline <= self.clock.now else (lease.node_id, lease.token)

    def _is_quiet(self) -> bool:
        return self.io_node.is_idle and not self._left_over()

    def _left_over(self) -> list[str]:
        """What keeps the cluster from being quiet."""
        lanes = range(self.config.lanes)
        numbers = [*lanes, *map(quarantine_of, lanes)]
        ours = [*map(self._keys.uplink, numbers), self._keys.inbox(self.io_node.id)]
        left = [f"{held} entries in {key}" for key in ours if (held := len(self.broker.streams[key].entries))]
        left += [f"lane {lane} is nobody's" for lane in range(self.config.lanes) if self._lease_of(lane) is None]
        for node in self.app_nodes:
            if node.node.uplink.consumer.inflight_bytes:
                left.append(f"{node.node.uplink.consumer.inflight_bytes} bytes in work on {node.id}")
            if node.node.downlink.outbox.waiting:
                left.append(f"{node.node.downlink.outbox.waiting} commands in the outbox of {node.id}")
            if node.stopping is not None:
                left.append(f"{node.id} is stopping")
        return left

    def _observe(self, request: Request, result: Any) -> None:
        """Watches what arrives in the io-node's inbox, what becomes a dead letter, what a handover gives up, and how
        often a claim takes several pages."""
        if isinstance(result, BaseException):
            return
        match request.name:
            case "set_aside":
                for fact in decode_uplink(request.arguments[1].entry).facts:
                    self.history.set_aside(fact)
            case "claim_more":
                self.history.later_pages += bool(result.entries)
            case "release":
                self._observe_release(*request.arguments)
            case "append":
                self._observe_appends(_sender(request), request.arguments[0], result)
            case "flush" if not result.lost:
                self._observe_appends(_sender(request), request.arguments[0], result.appends)

    def _observe_release(self, lease: Lease, settled: bool) -> None:
        if settled or lease.lane in self.broker.leases:  # then the lease had run out before
            return
        entries = self.broker.streams[self._keys.uplink(lease.lane)].entries.values()
        left = [fact for entry in entries for fact in decode_uplink(entry).facts]
        self.history.cut_short(lease.lane, lease.token, left)

    def _observe_appends(self, sender: str, appends: Sequence[Append], result: Sequence[AppendResult]) -> None:
        for append, outcome in zip(appends, result, strict=True):
            if append.node_id != sender:
                self.history.violated(f"{sender} appends as {append.node_id}")
            if outcome is not AppendResult.APPENDED:
                continue
            if append.stream != self._keys.inbox(self.io_node.id):
                if not self._keys.is_inbox(append.stream):
                    self.history.sent(decode_uplink(append.entry).facts)
                continue
            for command in decode_downlink(append.entry).commands:
                match command:
                    case Emit(to=[sid], packet=packet):
                        self.history.landed(sender, sid, json.loads(packet[packet.index(b"[") :])[1][1])
                    case Ack(sid=sid, packet=packet) if answer := json.loads(packet[packet.index(b"[") :]):
                        self.history.answered(sender, sid, *answer[0])

    def _new_io_node(self) -> SimulatedIoNode:
        name = self._new_name("io")
        loop = SteppedLoop(self.clock, self.random.uniform(0, 1e6))
        connections = Connections(self.network, loop, self.broker, name)
        return SimulatedIoNode(
            name,
            loop=loop,
            connections=connections,
            config=self.config,
            history=self.history,
            now=self.clock,
            after=self.network.after,
            draws=self.random,
        )

    def _new_name(self, kind: str) -> str:
        number = next(self._names)
        boot = base64.b32encode(self.random.randbytes(5))[:6].decode().lower()
        return f"{kind}{number}-{boot}"

    def lane(self, sid: str) -> int:
        return lane_of(sid, self.config.lanes)


def _sender(request: Request) -> str:
    """The node whose request this is."""
    return request.connection.name.partition(".")[0]
