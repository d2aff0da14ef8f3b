"""The Admin UI's server side: what `sio.instrument` turns on."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from app_node.admin.credentials import Credentials
from app_node.admin.doorway import Doorway
from app_node.admin.feed import Feed
from app_node.admin.rounds import Rounds
from app_node.admin.server import Server
from app_node.admin.tasks import FEATURES, Tasks
from app_node.app import AppNode
from app_node.clock import Clock
from sio_cluster.protocol.errors import NodesTooOld

Mode = Literal["development", "production"]

_APART = "give the Admin UI a namespace of its own"


class Console:
    """One for a server object. Each app-node that this object becomes has rounds and a feed of its own.

    In production mode administrators see nodes and figures, in development mode clients, rooms and events too.
    `read_only`: they can change nothing.
    """

    def __init__(
        self,
        server: Server,
        *,
        auth: Any,
        mode: str,
        read_only: bool,
        namespace: str,
        interval_s: float,
        refused: Callable[[str], Exception],
        clock: Clock,
    ) -> None:
        """Registers its handlers. `refused` makes the error that refuses a client. Raises as `Credentials`, and
        ValueError for another mode, and for a namespace that is none or has handlers."""
        if mode not in ("development", "production"):
            raise ValueError(f"mode is development or production, not {mode!r}")
        if not namespace.startswith("/") or namespace == "/":
            raise ValueError(f"namespace is one of its own, such as /admin, not {namespace!r}")
        if not interval_s > 0:
            raise ValueError(f"server_stats_interval is more than 0 s, not {interval_s!r}")
        self._server = server
        self._namespace = namespace
        self._interval_s = interval_s
        self._shows_clients = mode == "development"
        self._features = ["AGGREGATED_EVENTS", *(() if read_only else FEATURES)]
        if self._shows_clients:
            self._features.append("ALL_EVENTS")
        self._clock = clock
        self._rounds: Rounds | None = None
        if namespace in server.handlers or namespace in server.namespace_handlers:
            raise ValueError(f"{namespace} has handlers of the application: {_APART}")
        self._doorway = Doorway(server, namespace, Credentials(auth), refused=refused, then=self._welcome, clock=clock)
        server.on("connect", self._doorway.connect, namespace)
        if not read_only:
            Tasks(server, namespace).register()

    def begin(self, node: AppNode) -> None:
        """This app-node starts. Once for each. Raises ValueError where the application has put another `connect`
        handler in place of the one that asks for a password."""
        if self._server.handlers[self._namespace].get("connect") != self._doorway.connect:
            raise ValueError(f"{self._namespace} has another connect handler than that of instrument(): {_APART}")
        if "admin" in node.loops:
            return
        feed = Feed(self._namespace, node.clients.queries, self._tell) if self._shows_clients else None
        self._rounds = Rounds(
            self._server,
            self._namespace,
            doorway=self._doorway,
            interval_s=self._interval_s,
            feed=feed,
            clock=self._clock,
        )
        node.loops.start("admin", self._rounds.run())
        if feed is not None:
            node.loops.start("admin feed", feed.run())

    async def _tell(self, event: str, *args: Any, volatile: bool = False) -> None:
        if self._rounds is not None:
            await self._rounds.tell(event, *args, volatile=volatile)

    async def _welcome(self, sid: str) -> None:
        config = {"supportedFeatures": self._features}
        await self._server.emit("config", config, to=sid, namespace=self._namespace)
        if self._rounds is not None:
            self._server.start_background_task(self._show, self._rounds, sid)

    async def _show(self, rounds: Rounds, sid: str) -> None:
        """Outside of the handler: the list may be long, and there is more to tell some seconds later."""
        rounds.look_now()
        if self._shows_clients:
            with suppress(NodesTooOld):  # the room index is not exact now: a round sends the list when it is
                await rounds.introduce(sid)
