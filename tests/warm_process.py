"""The process that `tests.warm` forks: `python warm_process.py KIND FD`. It imports nothing of the tests.

KIND is a module, as for `python -m`, or the path of a command. After its imports it says "ready" on the socket FD. For
each request there, it starts one process and answers with its id. It ends when the other end is closed.
"""

import ctypes
import gc
import importlib
import os
import pickle
import runpy
import signal
import socket
import sys
import time
from typing import Any

_PR_SET_PDEATHSIG = 1
_FILES = 4
_MOST_BYTES = 1 << 20
_ADOPTED_S = 10
_COMMANDS = {"app-node": ("app_node.cli",), "sio-cluster": ("sio_cluster.cli", "app_node.commands")}
"""What the commands import."""


def main(kind: str, requests: socket.socket) -> None:
    """Returns in each process that was forked when its program has ended, and in this one at the end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started it
    sys.path[0] = os.getcwd()  # not the folder of this file
    gc.disable()
    command = os.path.basename(kind)
    for module in _COMMANDS.get(command, (kind,)):
        importlib.import_module(module)
    gc.collect()
    gc.freeze()  # so that nobody who looks for garbage writes into the pages that all share
    gc.enable()
    requests.send(b"ready")
    while True:
        message, files, _, _ = socket.recv_fds(requests, _MOST_BYTES, _FILES)
        if not message:
            return
        if _forks(requests):
            requests.close()
            break
        for file in files:
            os.close(file)
    request: tuple[Any, ...] = pickle.loads(message)
    _become(files, *request)


def _forks(requests: socket.socket) -> bool:
    """True in the new process, whose parent has ended then, or does so now."""
    told, tell = os.pipe()
    if between := os.fork():
        os.close(tell)
        answer = os.read(told, 16)
        os.close(told)
        os.waitpid(between, 0)  # before that, the new process is not a child of who asked
        requests.send(answer)
        return False
    os.close(told)
    if pid := os.fork():
        os.write(tell, str(pid).encode())
        os._exit(0)
    os.close(tell)
    return True


def _become(
    files: list[int], argv: tuple[str, ...], env: dict[bytes, bytes], cwd: str, new_session: bool, orphan_signal: int,
    parent: int,
) -> None:  # fmt: skip
    """What happens between fork and exec, and then what Python does with a command line."""
    *standard, waited_for = files
    for number, file in enumerate(standard):
        os.dup2(file, number)
        os.close(file)
    if new_session:
        os.setsid()
    until = time.monotonic() + _ADOPTED_S
    while os.getppid() != parent:
        if time.monotonic() > until:
            os._exit(1)
        time.sleep(0.0005)
    if orphan_signal:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, orphan_signal)
        if os.getppid() != parent:
            os._exit(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(cwd)
    os.close(waited_for)
    os.environb.clear()
    os.environb.update(env)
    sys.orig_argv = list(argv)
    _run(argv)


def _run(argv: tuple[str, ...]) -> Any:
    if argv[1:2] != ("-m",):
        sys.argv = list(argv)
        sys.path[0] = os.path.dirname(argv[0])
        return runpy.run_path(argv[0], run_name="__main__")
    module = argv[2]
    package, _, name = module.rpartition(".")
    sys.argv = list(argv[2:])
    sys.path[0] = os.getcwd()
    del sys.modules[module]  # it runs once more, as `python -m` runs it
    delattr(sys.modules[package], name)
    return runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
