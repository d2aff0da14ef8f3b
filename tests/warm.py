"""Python processes that tests start, forked from one that has imported all that they need.

A node needs more than a second of CPU for its imports, and tests start hundreds of nodes. In a file with this mark, and
where CAN_FORK is true, a start of these by subprocess or asyncio takes a tenth of that:

    pytestmark = pytest.mark.forked("app-node")  # without a word: NODES

The new process is what it would be otherwise: a child of this one with a process id, a session, an environment and
files of its own, that runs its program from the first line. What differs: its modules are there already, its command
line in /proc is that of the process that was forked, and all that are forked from it have one hash seed. A start with
an option that is not known here is an ordinary one.

So tests of a command itself start it in the ordinary way: tests/e2e/test_start.py, test_make_run.py, and both
test_command.py. Those in tests/chaos and tests/upgrade fork the nodes of this code that a scenario begins with; what
is started after a fault is started in the ordinary way.
"""

import atexit
import contextlib
import ctypes
import os
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

NODES: Final = ("io_node.cli", "app_node.cli")
"""The nodes of a `Stack`."""

_PROGRAM: Final = Path(__file__).with_name("warm_process.py")
_SCRIPTS: Final = Path(sys.executable).parent
_FIXED: Final = ("SIO_PURE", "LD_", "MALLOC_", "LANG", "LC_")
"""What Python and this project read when they are loaded, besides PYTHON...: the forked process cannot change it."""
_PR_SET_CHILD_SUBREAPER: Final = 36

_TRIED: Final = ((3, 11), (3, 12))
"""Versions of Python in which subprocess starts every process by the function that is replaced here. 3.13 starts some
of them in another way."""

CAN_FORK: Final = sys.platform == "linux" and sys.version_info[:2] in _TRIED
"""Else every start is an ordinary one."""

_models: dict[str, "Model"] = {}
_wanted: set[str] = set()
_lock = threading.Lock()
_start: Any = None  # of subprocess, before `_install`


class Request(NamedTuple):
    """One start. Four files come beside it: stdin, stdout and stderr of the new process, and one that it closes when it
    would call exec. Until then, whoever starts it waits."""

    argv: tuple[str, ...]
    env: dict[bytes, bytes]
    cwd: str
    new_session: bool
    orphan_signal: int
    parent: int


@pytest.fixture(scope="module", autouse=True)
def _forked(request: pytest.FixtureRequest) -> Iterator[None]:
    mark = request.node.get_closest_marker("forked")
    with forked(*(mark.args or NODES if mark else ())):
        yield


@contextlib.contextmanager
def forked(*kinds: str) -> Iterator[None]:
    """Meanwhile these are forked, wherever in this process they are started: modules as for `python -m`, or commands
    such as app-node. It returns when the processes to be forked have imported everything, which no event loop should
    have to wait for."""
    if not CAN_FORK or not kinds:
        yield
        return
    _install()
    before = _wanted.copy()
    for kind in kinds:
        if kind not in _models:
            _models[kind] = Model(kind)
    for kind in kinds:
        _models[kind].wait()
    _wanted.update(kinds)
    try:
        yield
    finally:
        _wanted.intersection_update(before)


class Model:
    """The process that is forked. It ends when this one does."""

    def __init__(self, kind: str) -> None:
        self._socket, end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        word = str(_SCRIPTS / kind) if _is_command(kind) else kind
        with end:
            self._process = subprocess.Popen(
                (sys.executable, str(_PROGRAM), word, str(end.fileno())),
                pass_fds=(end.fileno(),), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            )  # fmt: skip
        self._env = _fixed(os.environb)
        self._is_ready = False
        atexit.register(self.close)

    def wait(self) -> None:
        if not self._is_ready:
            assert self._socket.recv(16) == b"ready", "the process to be forked has died"
            self._is_ready = True

    def takes(self, env: Mapping[bytes, bytes]) -> bool:
        """Whether a process with this environment would have been loaded in the same way."""
        return _fixed(env) == self._env

    def fork(self, request: Request, files: Sequence[int]) -> int:
        """The id of the new process, which is a child of this one.

        Whoever forks is the parent. So the forked process forks once more and ends, and for that moment this process
        takes orphans among its descendants over, as process 1 does otherwise.
        """
        _take_orphans(True)
        try:
            socket.send_fds(self._socket, [pickle.dumps(tuple(request))], files)
            pid = self._socket.recv(16)
        finally:
            _take_orphans(False)
        assert pid, "the process to be forked has died"
        return int(pid)

    def close(self) -> None:
        self._socket.close()
        self._process.wait(10)


def _install() -> None:
    global _start
    if _start is None:
        _start = subprocess._fork_exec  # type: ignore[attr-defined]
        subprocess._fork_exec = _fork_exec  # type: ignore[attr-defined]


def _fork_exec(argv: Sequence[Any], *given: Any) -> int:
    """In place of subprocess' own, which starts all processes of subprocess and of asyncio."""
    if (kind := _kind(argv)) in _wanted:
        model = _models[kind]
        with _lock:
            request, files = _request(argv, *given)
            if request is not None and model.takes(request.env):
                return model.fork(request, files)
    pid: int = _start(argv, *given)
    return pid


def _kind(argv: Sequence[Any]) -> str:
    """Such as "app_node.cli", for `python -m app_node.cli`, or "app-node"; empty for what cannot be forked."""
    words = [os.fsdecode(word) for word in argv[:3]]
    if words[:2] == [sys.executable, "-m"] and len(words) > 2:
        return words[2]
    path = Path(words[0])
    return path.name if path.parent == _SCRIPTS else ""


def _request(
    argv: Sequence[Any], executables: Any, close_fds: bool, fds: tuple[int, ...], cwd: Any, env: Any,
    p2cread: int, p2cwrite: int, c2pread: int, c2pwrite: int, errread: int, errwrite: int, errpipe_read: int,
    errpipe_write: int, restore_signals: bool, new_session: bool, group: int, gid: Any, gids: Any, uid: Any,
    umask: int, preexec: Any, *vfork: bool,
) -> tuple[Request | None, tuple[int, ...]]:  # fmt: skip
    """What subprocess was asked for, with the names of its own parameters; None where it is more than a model does."""
    files = (
        p2cread if p2cread >= 0 else 0,
        c2pwrite if c2pwrite >= 0 else 1,
        errwrite if errwrite >= 0 else 2,
        errpipe_write,
    )
    folder = os.fsdecode(cwd) if cwd is not None else str(Path.cwd())
    is_usual = (
        close_fds and restore_signals and fds == (errpipe_write,) and group == -1 and umask == -1
        and (gid, gids, uid) == (None, None, None) and _orphan_signal(preexec) is not None
        and os.access(folder, os.X_OK)
    )  # fmt: skip
    if not is_usual:
        return None, files
    given = dict(pair.split(b"=", 1) for pair in env) if env is not None else dict(os.environb)
    words = tuple(os.fsdecode(word) for word in argv)
    return Request(words, given, folder, bool(new_session), _orphan_signal(preexec) or 0, os.getpid()), files


def _orphan_signal(preexec: Any) -> int | None:
    """None for a function that is to run in the new process, other than this one."""
    from sio_stack.child import DieWithParent  # not above: all workers load this file

    if isinstance(preexec, DieWithParent):
        return preexec.number
    return 0 if preexec is None else None


def _is_command(kind: str) -> bool:
    return "." not in kind


def _fixed(env: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """What of an environment has an effect while Python is loaded."""
    names = ("PYTHON", "COV_", "COVERAGE_", *_FIXED)
    return {name: value for name, value in env.items() if os.fsdecode(name).startswith(names)}


def _take_orphans(take: bool) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(take), 0, 0, 0)
