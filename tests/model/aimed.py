"""Histories that are aimed: they do on purpose what befalls one chance history of hundreds."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from tests.model.app_nodes import SimulatedAppNode
from tests.model.cluster import LEASE_S
from tests.model.machine import MOST_CLIENTS, SOON, WHICH, ClusterMachine, one

TURN_S = 0.0003
"""Less than any way to Redis takes: whoever looks so often sees what is on its way."""


class LateOutputMachine(ClusterMachine):
    """App-nodes die while output of theirs is on its way. It may arrive when others have their lanes.

    A rule that is None here is none of this machine's.
    """

    connect: Any = None
    leave: Any = None
    kill: Any = None
    lose_redis: Any = None
    change_pace: Any = None

    @precondition(lambda self: not self.calm and self.sids)
    @rule()
    def die_amid_output(self) -> None:
        while len(self.cluster.app_nodes) < 2:
            self.cluster.start_app_node()
        self.cluster.run(0.3)
        for sid in self.sids:
            self.cluster.event(sid, 0.02)
        for _ in range(100):
            self.cluster.run(TURN_S)
            if sending := [node for node in self.cluster.app_nodes if _sends_output(node)]:
                self.cluster.kill(sending[0])
                break
        self.cluster.run(2.2 * LEASE_S)


class QuarantineMachine(ClusterMachine):
    """App-nodes die in a row with the same event in work, and its client goes on sending."""

    @precondition(lambda self: not self.calm and self.sids)
    @rule(which=WHICH, deaths=st.integers(2, 3), plan=st.sampled_from([0.02, 0.3, "hang"]))
    def die_in_a_row(self, which: int, deaths: int, plan: str | float) -> None:
        sid = one(self.sids, which)
        self.cluster.event(sid, "hang")
        self.cluster.run(0.02)
        for _ in range(deaths):
            while self.cluster.app_nodes:
                self.cluster.kill(self.cluster.app_nodes[0])
            self.cluster.start_app_node()
            self.cluster.event(sid, plan)
            self.cluster.run(1.3 * LEASE_S)


class RoamingMachine(ClusterMachine):
    """Clients lose their connections and come back, at any moment, while all else befalls the cluster."""

    def __init__(self) -> None:
        super().__init__()
        self.roaming: list[str] = []

    @rule(soon=SOON)
    def connect_roaming(self, soon: float) -> None:
        if len(self.roaming) < MOST_CLIENTS:
            self.roaming.append(self.cluster.connect_roaming())
        self.cluster.run(soon)

    @precondition(lambda self: self.roaming)
    @rule(which=WHICH, soon=SOON)
    def drop(self, which: int, soon: float) -> None:
        self.cluster.io_node.roamers.drop(one(self.roaming, which))
        self.cluster.run(soon)

    @precondition(lambda self: self.roaming)
    @rule(which=WHICH, soon=SOON)
    def claim(self, which: int, soon: float) -> None:
        self.cluster.io_node.claim(one(self.roaming, which))
        self.cluster.run(soon)


def _sends_output(node: SimulatedAppNode) -> bool:
    """Whether something that a handler emitted is on its way to Redis, and nothing that is done.

    What is done goes with the lease, so Redis refuses it where that is lost. The rest is refused by bars alone.
    """
    return any(
        request.name == "flush" and request.arguments[0] and not (request.arguments[1] or request.sent)
        for request in node.connections.commands.in_flight
    )
