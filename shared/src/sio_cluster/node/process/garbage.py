"""Python's garbage collector, set for a process that handles many small messages."""

import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sio_cluster.node.rest import rest

YOUNG: Final = 10_000
"""So many objects more than there were after the last pass begin the next one."""
_OLD: Final = 4_000
"""What is older is looked through after so many times `2 * YOUNG` objects, and if it has grown by a quarter."""

BUSY_S: Final = 0.1
IDLE_S: Final = 0.5
"""How often `look_often` looks."""
_BUSY_SHARE: Final = 0.02
"""A process is busy if it takes more than this share of a core."""


@contextmanager
def importing() -> Iterator[None]:
    """For the imports of a whole node: no garbage is collected meanwhile.

    They make some hundred thousand objects, all of which stay. Looking through them again and again took a tenth of the
    CPU that a node needs to start (measured).
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def tune_garbage_collector() -> None:
    """Call once, after everything is imported and before anything is served.

    Each message makes many small objects that live for a moment. Python's default settings look through them so often
    that an event cost an app-node twice as much (measured). Objects that exist now stay for ever: they are left out.

    What has just come is looked through when there are `YOUNG` objects more, and once more together with the next as
    many. Nobody is served meanwhile, and when thousands of clients come, all of it stays. With 80,000 objects at a
    time, a node stood still for 40 to 55 ms again and again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, 0, _OLD)


async def look_often() -> None:
    """A loop for as long as the process lives: keeps passes small where objects go while others come.

    Python begins a pass when the number of objects has grown by `YOUNG`. Where as many old ones go as new ones come, it
    does not grow, and the pass that comes at last looks through all the new ones: 52,000 when the clients of a dead
    io-node came back, which took an app-node 55 ms. So a busy process looks through the new ones ten times a second.
    """
    used_s = time.thread_time()
    pause_s = IDLE_S
    while True:
        await rest(pause_s)
        now_s = time.thread_time()
        is_busy = now_s - used_s > _BUSY_SHARE * pause_s
        used_s = now_s
        if is_busy:
            gc.collect(1)
        pause_s = BUSY_S if is_busy else IDLE_S
