"""Programs with python-socketio, as anybody has them. No line is for this cluster.

python worker.py REDIS_URL script SID          one that says everything that a write-only manager can
python worker.py REDIS_URL worker FIRST LAST   one that forks for each task, as Celery does, and emits in the child
"""

import os
import sys

import socketio


def script(url: str, sid: str) -> None:
    manager = socketio.RedisManager(url, write_only=True)
    manager.emit("news", {"n": 1})
    manager.emit("news", ("two", 2), room=sid)
    manager.emit("news", b"\xff\x00", to=sid)
    manager.enter_room(sid, "/", "lounge")
    manager.emit("news", "to a room", room="lounge")
    manager.emit("news", "not to that one", skip_sid=sid)
    manager.leave_room(sid, "/", "lounge")
    manager.emit("news", "to nobody", room="lounge")
    manager.emit("news", "elsewhere", namespace="/other")
    manager.close_room("lounge", "/")
    manager.emit("news", None)


def worker(url: str, first: int, last: int) -> None:
    manager = socketio.RedisManager(url, write_only=True)  # made before the fork, as in a module of tasks
    for number in range(first, last):
        child = os.fork()
        if child == 0:
            manager.emit("number", number)
            os._exit(0)
        os.waitpid(child, 0)


if __name__ == "__main__":
    url, what, *rest = sys.argv[1:]
    if what == "script":
        script(url, *rest)
    else:
        worker(url, *map(int, rest))
