"""The server's commands for code without an event loop: Celery, Django, Flask, scripts.

The event loop that they need runs in a thread of its own, with the same server object as in an app-node. So what is
said here is encoded, routed, numbered and retried exactly as there.
"""

import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from app_node.interface.loop_thread import LoopThread
from app_node.interface.patience import Patience
from app_node.interface.rooms import Rooms, Sids, shared_room
from app_node.interface.server import ClusterServer, get_client
from sio_cluster.node.settings.config import Config
from sio_cluster.protocol.messages import Room

_Question = Callable[[ClusterServer], Coroutine[Any, Any, Any]]
"""A method of the server object, called with its arguments."""

_emitters: "weakref.WeakSet[Emitter]" = weakref.WeakSet()
_of_the_parent: list[LoopThread] = []
"""What a forked process must not touch, nor free: the event loop's files are shared with the process it came from."""


class Emitter:
    """Emits to the clients of the cluster, and changes their rooms, from any thread of any process.

        sio = Emitter()                                      # at module level, too: it does no IO
        sio.emit("news", {"n": 1}, room="lobby")             # connects with the first command

    Arguments and errors are those of the asynchronous server (`get_client`), and so is the order: what one thread says
    arrives in the order in which it said it. Each method returns when Redis has it. If Redis does not take it within
    `timeout` seconds, the method raises BusUnavailable. An emit that had not left by then is taken back. The other
    commands go on: they happen when Redis is back, and may be repeated.

    A process that was forked, such as a worker of Celery or gunicorn, gets a connection of its own with its first
    command. `close`, the end of a `with` block and the end of the interpreter leave nothing behind in Redis. What a
    killed process leaves, its sequence numbers, is removed after ten minutes.
    """

    def __init__(
        self, config: Config | Mapping[str, Any] | None = None, *, timeout: float = 5.0, json: Any = None
    ) -> None:
        """Settings come from `config`, else from the environment. `timeout`: seconds. `json`: as in python-socketio.

        No IO here. Raises ConfigError for a wrong setting, ValueError for a timeout that is not above 0.
        """
        if not timeout > 0:
            raise ValueError(f"timeout must be more than 0 seconds, not {timeout!r}")
        self.config = config if isinstance(config, Config) else Config(config)
        self._timeout_s = float(timeout)
        self._json = json
        self._patience = Patience(self._timeout_s)
        self._lock = threading.Lock()
        self._thread: LoopThread | None = None
        self._end: Callable[[], object] = _nothing
        _emitters.add(self)

    def emit(
        self,
        event: str,
        data: Any = None,
        to: Rooms | None = None,
        room: Rooms | None = None,
        skip_sid: Sids | None = None,
        namespace: str | None = None,
        *,
        except_room: Rooms | None = None,
        volatile: bool = False,
    ) -> None:
        """As `ClusterServer.emit`, without a callback: use `call`. None as `to` is everybody, an empty list is nobody.

        Raises TypeError for data that is not JSON, ValueError for more binary values than clients take, NodesTooOld as
        there, BusUnavailable.
        """
        self._run(
            lambda sio: self._patience.or_take_back(
                sio.emit(event, data, to, room, skip_sid, namespace, except_room=except_room, volatile=volatile)
            )
        )

    def call(
        self,
        event: str,
        data: Any = None,
        to: Any = None,
        sid: Any = None,
        namespace: str | None = None,
        timeout: float = 60,
    ) -> Any:
        """As `ClusterServer.call`: what the client answers, which may take `timeout` seconds besides the emitter's own.

        Raises python-socketio's TimeoutError and DisconnectedError, and BusUnavailable.
        """

        async def asked(sio: ClusterServer) -> Any:
            question = sio.call(event, data, to=to, sid=sid, namespace=namespace, timeout=timeout)
            return await self._patience.or_take_back(question, longer_s=timeout)

        return self._run(asked, longer_s=timeout)

    def enter_room(self, sid: str, room: Any, namespace: str | None = None) -> None:
        """As `ClusterServer.enter_room`. Raises KeyError for a client that is gone, ValueError, BusUnavailable."""
        self._run(lambda sio: self._patience.or_let_go_on(sio.enter_room(sid, room, namespace)))

    def leave_room(self, sid: str, room: Any, namespace: str | None = None) -> None:
        """As `ClusterServer.leave_room`. Raises BusUnavailable."""
        self._run(lambda sio: self._patience.or_let_go_on(sio.leave_room(sid, room, namespace)))

    def close_room(self, room: Any, namespace: str | None = None) -> None:
        """As `ClusterServer.close_room`. Raises ValueError for a sid as the room, BusUnavailable."""
        self._run(lambda sio: self._patience.or_let_go_on(sio.close_room(room, namespace)))

    def enter_rooms(
        self,
        rooms: Rooms,
        room: Rooms | None = None,
        except_room: Rooms | None = None,
        namespace: str | None = None,
    ) -> None:
        """As `ClusterServer.enter_rooms`: all clients that match enter `rooms`.

        Where there are so many that it takes longer than `timeout`, it goes on. Raises TypeError, ValueError and
        NodesTooOld as there, and BusUnavailable.
        """
        self._run(lambda sio: self._patience.or_let_go_on(sio.enter_rooms(rooms, room, except_room, namespace)))

    def leave_rooms(
        self,
        rooms: Rooms,
        room: Rooms | None = None,
        except_room: Rooms | None = None,
        namespace: str | None = None,
    ) -> None:
        """As `ClusterServer.leave_rooms`, and as `enter_rooms`."""
        self._run(lambda sio: self._patience.or_let_go_on(sio.leave_rooms(rooms, room, except_room, namespace)))

    def disconnect(self, sid: str, namespace: str | None = None) -> None:
        """As `ClusterServer.disconnect`. Raises BusUnavailable."""
        self._run(lambda sio: self._patience.or_let_go_on(sio.disconnect(sid, namespace)))

    def disconnect_room(
        self,
        room: Rooms | None,
        close: bool = False,
        except_room: Rooms | None = None,
        namespace: str | None = None,
    ) -> None:
        """As `ClusterServer.disconnect_room`: all clients that match, 1,000 every 0.1 s. None as `room` is everybody.

        So 100,000 clients take more than 10 s, and after `timeout` it goes on. Raises TypeError and NodesTooOld as
        there, and BusUnavailable.
        """
        self._run(lambda sio: self._patience.or_let_go_on(sio.disconnect_room(room, close, except_room, namespace)))

    def presence(self, room: Room, namespace: str | None = None) -> "PresenceReader":
        """As `ClusterServer.presence`, to read: `sio.presence("lobby").list()`. Does no IO.

        Raises ValueError for a sid as the room, TypeError for a room that is neither str nor int.
        """
        return PresenceReader(self._ask, shared_room(room, "be present in"), namespace or "/")

    def close(self) -> None:
        """Leaves the cluster, within `timeout` seconds. Idempotent. The next command connects anew.

        What other threads still wait for raises RuntimeError there.
        """
        with self._lock:
            end, self._end, self._thread = self._end, _nothing, None
        end()

    def __enter__(self) -> "Emitter":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _run(self, operation: _Question, longer_s: float = 0) -> Any:
        return self._running().run(operation, self._timeout_s + longer_s)

    def _ask(self, question: _Question) -> Any:
        return self._run(lambda sio: self._patience.or_take_back(question(sio)))

    def _running(self) -> LoopThread:
        with self._lock:
            if self._thread is None:
                config, json = self.config, self._json
                self._thread = LoopThread(lambda: get_client(config, json=json))
                # Also where nobody closes it: when this object is freed, or the interpreter ends.
                self._end = weakref.finalize(self, self._thread.end, self._timeout_s)
            return self._thread

    def _forked(self) -> None:
        """This is another process, with one thread: the lock may be that of a thread that is not here."""
        self._lock = threading.Lock()
        self._patience = Patience(self._timeout_s)
        if self._thread is not None:
            _of_the_parent.append(self._thread)
            self._thread, self._end = None, _nothing


class PresenceReader:
    """Who is present in one room. Made by `Emitter.presence`; it keeps nothing."""

    def __init__(self, ask: Callable[[_Question], Any], room: Room, namespace: str) -> None:
        self._ask = ask
        self.room = room
        self.namespace = namespace

    def list(self) -> dict[str, dict[str, Any]]:
        """As the list of `ClusterServer.presence`: each key, with one meta for each client. Raises BusUnavailable."""
        present: dict[str, dict[str, Any]] = self._ask(lambda sio: sio.presence(self.room, self.namespace).list())
        return present


def _nothing() -> None:
    """What there is to end before the first command."""


def _after_fork() -> None:
    for emitter in list(_emitters):
        emitter._forked()


os.register_at_fork(after_in_child=_after_fork)
