"""A program that prints what it sees of itself as JSON, for tests of `tests.warm`. It ends as its last word says:
"wait" waits for a signal, and a number is its exit status."""

import atexit
import json
import os
import signal
import sys
import time
from pathlib import Path

IS_MAIN = __name__ == "__main__"


def look() -> dict[str, object]:
    return {
        "parent": os.getppid(),
        "leads a session": os.getsid(0) == os.getpid(),
        "leads a group": os.getpgid(0) == os.getpid(),
        "argv": sys.argv,
        "command": sys.orig_argv,
        "path": sys.path,
        "env": dict(os.environ),
        "folder": str(Path.cwd()),
        "files": [[number, _kind(number)] for number in map(int, os.listdir("/proc/self/fd")) if _kind(number)],
        "threads": len(os.listdir("/proc/self/task")),
        "signals": {name: str(signal.getsignal(signal.Signals[name])) for name in ("SIGINT", "SIGTERM", "SIGPIPE")},
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "stdout": [sys.stdout.isatty(), sys.stdout.encoding, sys.stdout.line_buffering],
        "module": [sys.modules["__main__"].__spec__ is not None, Path(__file__).name],
        "loaded": sorted(name for name in ("aiohttp", "pytest", "rich", "tests.warm") if sys.modules.get(name)),
    }


def _kind(number: int) -> str:
    """Empty for the one that lists the folder."""
    try:
        target = os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""
    return target.split(":")[0]


if IS_MAIN:
    atexit.register(lambda: print("bye"))
    print(json.dumps(look()), flush=True)
    if sys.argv[-1] == "wait":
        time.sleep(100)
    sys.exit(int(sys.argv[-1]))
