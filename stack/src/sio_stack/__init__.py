"""A whole cluster on one machine: Valkey, nginx, io-nodes and app-nodes as child processes.

May import `sio_cluster`. `sio_stack.probe`, which runs in a process of its own, loads applications as both services do.

make run                                     python -m sio_stack
async with Stack(io_nodes=2) as stack: ...   tests, benchmarks
"""

from sio_stack.settings import StackError
from sio_stack.stack import Stack

__all__ = ["Stack", "StackError"]
