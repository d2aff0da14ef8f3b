"""What an app-node does at each heartbeat so that the cluster knows it, and what it says there about itself."""

from collections.abc import Callable, Collection
from dataclasses import replace

import structlog

from app_node.lanes.division import NodeInfo
from sio_cluster.protocol.figures import about_this_process
from sio_cluster.streams.api.registry import Registry

log = structlog.get_logger()


class AppNodeRegistration:
    """The `Registration` of `sio_cluster.node.membership.presence.Presence`."""

    def __init__(self, node_id: str, registry: Registry, has_handlers: Callable[[], bool]) -> None:
        self._node_id = node_id
        self._registry = registry
        self._has_handlers = has_handlers
        self._info = NodeInfo()
        self._about = about_this_process()
        self._said: NodeInfo | None = None  # what the registry has, None before this app-node is registered
        self._left = False
        self.takes_lanes = False

    @property
    def is_registered(self) -> bool:
        """Whether it has registered this app-node."""
        return self._said is not None

    async def refresh(self) -> None:
        """Registers this app-node where it should be registered and is not. Raises BusError and ClusterMismatch."""
        if not self.takes_lanes or not self._has_handlers():
            return
        if self._node_id not in await self._registry.app_nodes():
            await self._registry.join_cluster()
            await self._say(self._info)
            log.info("app_node_registered", **self._info.encoded())

    async def drain(self) -> None:
        """Says that this app-node takes no lanes any more, if it took any. Raises BusError."""
        self._info = replace(self._info, draining=True)
        if self._has_handlers():
            await self._say(self._info)

    async def announce(self, quarantined: Collection[int], *, alone: bool) -> None:
        """Says what concerns quarantines, where that has changed and this app-node is registered. Raises BusError."""
        await self._change(replace(self._info, quarantined=frozenset(quarantined), alone=alone))

    async def watch(self, watched: bool) -> None:
        """Says whether somebody watches the cluster, as `announce`."""
        await self._change(replace(self._info, watched=watched))

    async def leave(self) -> None:
        """Forgets this app-node. Raises BusError."""
        self._left = True
        await self._registry.unregister_app_node(self._node_id)

    async def _change(self, info: NodeInfo) -> None:
        self._info = info
        if self._said not in (None, info) and not self._left:
            await self._say(info)

    async def _say(self, info: NodeInfo) -> None:
        self._info = info
        await self._registry.register_app_node(self._node_id, {**info.encoded(), **self._about})
        self._said = info
