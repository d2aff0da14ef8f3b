"""What may befall the cluster, for Hypothesis to choose from: any order, any moment."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from unittest.mock import patch

import structlog
from hypothesis import strategies as st
from hypothesis.internal.conjecture.providers import HypothesisProvider
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from tests.model.app_nodes import SimulatedAppNode
from tests.model.cluster import LEASE_S, SimulatedCluster

from sio_cluster.testing.simulation import Outage

MOST_APP_NODES = 3
MOST_CLIENTS = 6

WHICH = st.integers(0, 5)
PLANS = st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.02, 0.3, 1.5 * LEASE_S, "raise", "hang"]), min_size=1, max_size=5)
SOON = st.sampled_from([0.0, 0.0, 0.001, 0.003, 0.02, 0.1, LEASE_S / 2])
"""Seconds until the next thing happens. Defects show where many things happen at one moment."""


class ClusterMachine(RuleBasedStateMachine):
    """Draws what happens; `SimulatedCluster` and its history check it all the while."""

    cluster: SimulatedCluster
    seen: Callable[[SimulatedCluster], None] | None = None
    """Called with each cluster at its end."""

    @initialize(
        seed=st.integers(0, 2**32 - 1),
        async_handlers=st.booleans(),
        app_nodes=st.integers(1, 2),
        clients=st.integers(1, 4),
        calm=st.sampled_from([False, False, False, True]),
    )
    def begin(self, seed: int, async_handlers: bool, app_nodes: int, clients: int, calm: bool) -> None:
        self.calm = calm
        self.longest_s = 0.3 if async_handlers else 0.005  # one after another they must end within SHUTDOWN_MS
        self.cluster = SimulatedCluster(seed, async_handlers=async_handlers, calm=calm)
        for _ in range(app_nodes):
            self.cluster.start_app_node()
        self.sids = [self.cluster.connect() for _ in range(clients)]
        self.cluster.run(0.2)

    # --- clients

    @rule(soon=SOON)
    def connect(self, soon: float) -> None:
        if len(self.sids) < MOST_CLIENTS:
            self.sids.append(self.cluster.connect())
        self.cluster.run(soon)

    @precondition(lambda self: self.sids)
    @rule(which=WHICH, plans=PLANS, soon=SOON)
    def send(self, which: int, plans: list[Any], soon: float) -> None:
        sid = one(self.sids, which)
        for plan in plans:
            self.cluster.event(sid, self._bearable(plan))
        self.cluster.run(soon)

    @precondition(lambda self: self.sids)
    @rule(plans=PLANS, soon=SOON)
    def send_all(self, plans: list[Any], soon: float) -> None:
        """Sends these events from every client."""
        for plan in plans:
            for sid in self.sids:
                self.cluster.event(sid, self._bearable(plan))
        self.cluster.run(soon)

    @precondition(lambda self: self.sids)
    @rule(which=WHICH, soon=SOON)
    def leave(self, which: int, soon: float) -> None:
        sid = one(self.sids, which)
        self.sids.remove(sid)
        self.cluster.leave(sid)
        self.cluster.run(soon)

    @rule(seconds=st.sampled_from([0.005, 0.05, 0.3, LEASE_S, 2.2 * LEASE_S]))
    def wait(self, seconds: float) -> None:
        self.cluster.run(seconds)

    # --- app-nodes

    @rule(soon=SOON)
    def start(self, soon: float) -> None:
        if len(self.cluster.app_nodes) < MOST_APP_NODES:
            self.cluster.start_app_node()
        self.cluster.run(soon)

    @rule(which=WHICH, soon=SOON)
    def stop(self, which: int, soon: float) -> None:
        running = [node for node in self.cluster.app_nodes if node.stopping is None and not node.paused]
        if len(running) > self.calm:
            one(running, which).stop()
        self.cluster.run(soon)

    @precondition(lambda self: not self.calm)
    @rule(which=WHICH, soon=SOON)
    def kill(self, which: int, soon: float) -> None:
        if self.cluster.app_nodes:
            self.cluster.kill(one(self.cluster.app_nodes, which))
        self.cluster.run(soon)

    @precondition(lambda self: not self.calm)
    @rule(which=WHICH, seconds=st.sampled_from([0.1, 0.9 * LEASE_S, 1.2 * LEASE_S, 3 * LEASE_S]), soon=SOON)
    def pause(self, which: int, seconds: float, soon: float) -> None:
        """Pauses an app-node. It resumes by itself after that time, while other things happen."""
        if running := [node for node in self.cluster.app_nodes if not node.paused]:
            node = one(running, which)
            self.cluster.pause(node)
            self.cluster.network.after(seconds, lambda: self._resume(node))
        self.cluster.run(soon)

    # --- Redis, and the way to it

    @precondition(lambda self: not self.calm)
    @rule(which=WHICH, soon=SOON)
    def lose_connections(self, which: int, soon: float) -> None:
        self.cluster.reset_connections(one([self.cluster.io_node, *self.cluster.app_nodes], which))
        self.cluster.run(soon)

    @precondition(lambda self: not self.calm)
    @rule(outage=st.sampled_from([Outage.STALLED, Outage.GONE]), seconds=st.sampled_from([0.02, 0.5, 1.5 * LEASE_S]))
    def lose_redis(self, outage: Outage, seconds: float) -> None:
        self.cluster.set_outage(outage)
        self.cluster.run(seconds)
        self.cluster.set_outage(Outage.NONE)
        self.cluster.run(0.001)

    @precondition(lambda self: not self.calm)
    @rule()
    def change_pace(self) -> None:
        self.cluster.set_slow(not self.cluster.network.slow)

    # --- the end

    def teardown(self) -> None:
        cluster = getattr(self, "cluster", None)
        if cluster is None:
            return
        try:
            if not cluster.history.violations:
                cluster.heal()
                cluster.finish()
        finally:
            if self.seen is not None:
                self.seen(cluster)
            cluster.close()

    def _bearable(self, plan: str | float) -> str | float:
        """In a calm history no handler takes long."""
        if not self.calm or plan == "raise":
            return plan
        return self.longest_s if isinstance(plan, str) else min(plan, self.longest_s)

    def _resume(self, node: SimulatedAppNode) -> None:
        if not node.dead and node.paused:
            self.cluster.resume(node)


def one(choices: list[Any], which: int) -> Any:
    return choices[which % len(choices)]


def same_draws() -> AbstractContextManager[Any]:
    """Lets what Hypothesis draws follow from its seed alone.

    It likes to draw numbers that stand in the modules of this process, which depend on the tests that ran before.
    """
    return patch.object(HypothesisProvider, "_maybe_draw_constant", lambda *_, **__: None)


@contextmanager
def quiet_logs() -> Iterator[None]:
    """Silences the logs: nodes that lose Redis a thousand times log it a thousand times."""
    before = structlog.get_config() if structlog.is_configured() else None
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    try:
        yield
    finally:
        structlog.reset_defaults()
        if before is not None:
            structlog.configure(**before)
